//! Signals: what the operator asks of a running gateway.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that the gateway hears, from the moment it is made: one that comes earlier than anybody waits is kept.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// They ask for nothing. Without a handler each would end the process.
    _without_meaning: [Signal; 3],
}

/// What the operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// SIGTERM.
    Drain,
    /// SIGINT: a drain too; from a terminal, somebody waits for its end.
    Interrupt,
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
            _without_meaning: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?, signal(SignalKind::alarm())?],
        })
    }

    /// The next order.
    pub async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.terminate.recv() => Order::Drain,
            _ = self.interrupt.recv() => Order::Interrupt,
            _ = self.hang_up.recv() => Order::Reload,
        }
    }

    /// The next SIGTERM or SIGINT; a SIGHUP is kept for [`next`](Self::next).
    pub async fn end_ordered(&mut self) -> Order {
        tokio::select! {
            _ = self.terminate.recv() => Order::Drain,
            _ = self.interrupt.recv() => Order::Interrupt,
        }
    }
}
