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
        drained = tokio::time::timeout(over.saturating_add(GRACE), all_left(admission, shards, over)) => match drained {
            Ok(()) => tracing::info!("drained"),
            Err(_) => tracing::warn!("sessions were left at the end of the drain"),
        },
        () = signals.end() => tracing::warn!("a second signal; sessions are dropped"),
    }
}

/// Done when no session is left. A shard knows of one whose 101 is on its way only once it is there; so they are asked again then.
async fn all_left(admission: &Admission, shards: &Shards, over: Duration) {
    loop {
        let nobody_was_in = admission.is_empty();
        shards.drain(over).await;
        if nobody_was_in {
            return; // whoever was closing then had its socket with a shard, which has waited for it
        }
        admission.emptied().await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::super::testing::{self, Parts};
    use super::*;

    /// PROTOCOL 6: the drain waits for a session whose 101 is on its way as it begins, which is told `draining` and closed with
    /// 1001 like all others. (The process could end before that, and if it did not, the session was told nothing.)
    #[tokio::test]
    async fn a_session_on_its_way_is_told_and_waited_for() {
        let mut config = testing::config();
        config.server.drain = Duration::from_millis(300);
        let parts = Parts::new(config);
        let mut signals = Signals::new().unwrap();
        let expected = parts.expect(Ok(None)).await;
        let mut draining = pin!(drain(&mut signals, &parts.admission, &parts.shards, &parts.surroundings.live));
        tokio::select! { biased; () = &mut draining => panic!("it did not wait"), () = parts.let_turns_pass() => {} }
        tokio::select! { biased; () = &mut draining => panic!("it did not wait"), () = std::future::ready(()) => {} }
        let mut client = parts.arrive(expected).await;
        let leaving = async move { client.read_to_close().await };
        let (heard, ()) = tokio::join!(leaving, draining);
        assert_eq!(heard.iter().map(|(op, _)| op.as_str()).collect::<Vec<_>>(), ["welcome", "draining", "1001"]);
        assert!(parts.admission.is_empty());
    }
}
