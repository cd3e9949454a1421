//! The drain: no new session is admitted, and each session is closed at its own time (PROTOCOL section 6).

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use super::signals::{SignalAction, Signals};
use crate::server::limits::Admission;
use crate::shard::Shards;

/// The time beyond `server.drain` until the drain ends. A session that does not answer its Close is dropped after 2 s.
const GRACE: Duration = Duration::from_secs(3);

/// The length of the drain that `action` asks for, where `server.drain` is `configured`. After a Ctrl-C on a terminal a
/// developer waits for the end, and few clients reconnect: every session is closed as soon as its outbox is written.
pub fn drain_time(action: SignalAction, configured: Duration) -> Duration {
    let on_terminal = || io::stdin().is_terminal() || io::stderr().is_terminal();
    if action == SignalAction::Interrupt && on_terminal() { Duration::ZERO } else { configured }
}

/// Drains for `over`, until no session is left, or until a second signal.
pub async fn drain(signals: &mut Signals, admission: &Arc<Admission>, shards: &Arc<Shards>, over: Duration) {
    admission.begin_drain();
    tracing::info!(?over, "draining; a second SIGINT or SIGTERM drops the sessions that are left");
    tokio::select! {
        drained = tokio::time::timeout(over.saturating_add(GRACE), all_left(admission, shards, over)) => match drained {
            Ok(()) => tracing::info!("drained"),
            Err(_) => tracing::warn!("sessions were left at the end of the drain"),
        },
        _ = signals.next_end() => tracing::warn!("a second signal; sessions are dropped"),
    }
}

/// Waits until no session is left. A shard learns of a session with a 101 under way only when its socket arrives, so
/// the shards are asked again then.
async fn all_left(admission: &Admission, shards: &Shards, over: Duration) {
    loop {
        let nobody_was_in = admission.is_empty();
        shards.drain(over).await;
        if nobody_was_in {
            return; // the socket of every closing session was in a shard, which has waited for it
        }
        admission.emptied().await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::super::testing::TestGateway;
    use super::*;
    use crate::config::Config;

    /// PROTOCOL 6: the drain waits for a session whose 101 is under way when it begins. The session is sent `draining`
    /// and closed with 1001 like all others. The bug: the process could end before, or the session was sent nothing.
    #[tokio::test]
    async fn a_drain_waits_for_a_session_that_is_being_upgraded() {
        let gateway = TestGateway::new(Config::default());
        let mut signals = Signals::new().unwrap();
        let expected = gateway.expect(Ok(None)).await;
        let mut draining = pin!(drain(&mut signals, &gateway.admission, &gateway.shards, Duration::from_millis(300)));
        tokio::select! { biased; () = &mut draining => panic!("the drain did not wait"), () = gateway.let_ticks_pass() => {} }
        tokio::select! { biased; () = &mut draining => panic!("the drain did not wait"), () = std::future::ready(()) => {} }
        let mut client = gateway.arrive(expected).await;
        let reading = async move { client.read_to_close().await };
        let (received, ()) = tokio::join!(reading, draining);
        assert_eq!(received.iter().map(|(op, _)| op.as_str()).collect::<Vec<_>>(), ["welcome", "draining", "1001"]);
        assert!(gateway.admission.is_empty());
    }
}
