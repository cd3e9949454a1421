//! The signals that the gateway handles.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The handled signals. A signal that comes before a call of [`next`](Self::next) is kept.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// SIGUSR1, SIGUSR2 and SIGALRM have no effect. Without a handler each would end the process.
    _without_meaning: [Signal; 3],
}

/// The action that a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalAction {
    /// SIGTERM.
    Drain,
    /// SIGINT: a drain, and an immediate one from a terminal.
    Interrupt,
    /// SIGHUP.
    Reload,
}

impl Signals {
    /// Installs the handlers.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            _without_meaning: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?, signal(SignalKind::alarm())?],
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.terminate.recv() => SignalAction::Drain,
            _ = self.interrupt.recv() => SignalAction::Interrupt,
            _ = self.hang_up.recv() => SignalAction::Reload,
        }
    }

    /// Waits for the next SIGTERM or SIGINT. A SIGHUP is kept for [`next`](Self::next).
    pub async fn next_end(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.terminate.recv() => SignalAction::Drain,
            _ = self.interrupt.recv() => SignalAction::Interrupt,
        }
    }
}
