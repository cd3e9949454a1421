//! SIGTERM: nobody comes in any more, and every session is closed at its own moment (PROTOCOL section 6).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::admission::Admission;
use crate::config::Live;
use crate::shard::Shards;

/// What a drain may take beyond `server.drain`: a session that doesn't answer its Close is dropped after 2 s.
const GRACE: Duration = Duration::from_secs(3);

/// The signals that the gateway hears, from the moment it is made: one that comes earlier than anybody waits is kept.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// SIGTERM or SIGINT.
    End,
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

    /// The next wish.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::End,
            _ = self.interrupt.recv() => Wish::End,
            _ = self.hang_up.recv() => Wish::Reload,
        }
    }

    async fn end(&mut self) {
        while self.next().await != Wish::End {}
    }
}

/// Drains until no session is left, or until a second signal.
pub async fn drain(signals: &mut Signals, admission: &Arc<Admission>, shards: &Arc<Shards>, live: &Arc<Live>) {
    admission.begin_drain();
    let over = live.load().server.drain;
    tracing::info!(?over, "draining");
    tokio::select! {
        drained = tokio::time::timeout(over.saturating_add(GRACE), shards.drain(over)) => match drained {
            Ok(()) => tracing::info!("drained"),
            Err(_) => tracing::warn!("sessions were left at the end of the drain"),
        },
        () = signals.end() => tracing::warn!("a second signal; sessions are dropped"),
    }
}
