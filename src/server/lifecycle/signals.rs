//! Signals: what the operator asks of a running gateway.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that the gateway hears, from the moment it is made: one that comes earlier than anybody waits is kept.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What the operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// SIGTERM or SIGINT.
    Drain,
    /// SIGHUP.
    Reload,
}

impl Signals {
    /// Begins to listen.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next order.
    pub async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.terminate.recv() => Order::Drain,
            _ = self.interrupt.recv() => Order::Drain,
            _ = self.hang_up.recv() => Order::Reload,
        }
    }

    /// The next order to drain; reloads are passed over.
    pub async fn drain_ordered(&mut self) {
        while self.next().await != Order::Drain {}
    }
}
