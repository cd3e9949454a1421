//! The sweep: one visit to every session for pings, lost pongs, stuck outboxes, deadlines and ends. No session has a
//! timer.

use std::time::Duration;

use crate::codes::CloseCode;
use crate::config::Limits;
use crate::metrics::{CloseReason, LimitKey};
use crate::shard::slot::Finding;
use crate::shard::state::ShardState;

/// The longest time between two sweeps.
const SWEEP_INTERVAL_MAX: Duration = Duration::from_millis(500);
/// The shortest time between two sweeps.
const SWEEP_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// The time between two sweeps: an eighth of the shortest time-out, so that nothing is later than that.
pub fn sweep_interval(limits: &Limits) -> Duration {
    let Limits { ping_interval, pong_timeout, write_timeout, auth_timeout, message_timeout, handshake_timeout, .. } = limits;
    let shortest = [ping_interval, pong_timeout, write_timeout, auth_timeout, message_timeout, handshake_timeout].into_iter().min();
    (shortest.copied().unwrap_or(SWEEP_INTERVAL_MAX) / 8).clamp(SWEEP_INTERVAL_MIN, SWEEP_INTERVAL_MAX)
}

/// What is due for the session in `slot`, if anything.
pub fn due_for(state: &ShardState, slot: u32) -> Option<Finding> {
    let stuck_for = state.delivery.outgoing.stuck_for(slot, state.env.now);
    let limits = &state.env.config.limits;
    let heartbeat = state.delivery.outgoing.encoding(slot)?.heartbeat(limits);
    let found = state.table.get(slot)?.finding(heartbeat, limits.write_timeout, state.env.now, stuck_for)?;
    // A client can't answer a Ping that is still in the outbox. Such a session is closed by `write_timeout` when its
    // socket accepts nothing more.
    (found != Finding::Silent || !state.delivery.outgoing.ping_waits(slot)).then_some(found)
}

/// Does what is due for the session in `slot`.
pub fn act_on(state: &mut ShardState, slot: u32, found: Finding) {
    match found {
        Finding::LingerOver => state.end(slot, CloseReason::Gone),
        Finding::DrainDue => {
            state.release_all_held(slot); // the messages that an interval holds belong to the outbox that is flushed
            state.close(slot, CloseCode::GoingAway, "the gateway is going away", CloseReason::GoingAway);
        }
        Finding::Stuck => {
            state.env.tally.limit_hit(LimitKey::WriteTimeout);
            state.cut_off(slot, CloseCode::SlowConsumer, "nothing was read in time", CloseReason::Slow);
        }
        Finding::Silent => {
            state.env.tally.limit_hit(LimitKey::PongTimeout);
            state.cut_off(slot, CloseCode::NoPong, "no sign of life after a ping", CloseReason::PongTimeout);
        }
        Finding::Ping => {
            let now = state.env.now;
            if let Some(connection) = state.table.get_mut(slot) {
                connection.liveness().note_ping(now);
            }
            state.delivery.queue_heartbeat(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::shard::context::SessionContext;
    use crate::shard::reader::Reader;
    use crate::shard::tests::bench::Bench;

    /// A reader whose deadline has always passed.
    struct Late(Arc<AtomicUsize>);

    impl Reader for Late {
        fn on_open(&mut self, context: &mut SessionContext<'_>) {
            context.set_deadline(Some(context.now()));
        }
        fn on_deadline(&mut self, context: &mut SessionContext<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
            context.set_deadline(Some(context.now()));
        }
    }

    /// PROTOCOL 5: a deadline that is due in every sweep hides neither a due Ping nor its missing answer. (A client
    /// that renewed its deadline for ever was never pinged.)
    #[test]
    fn a_deadline_hides_no_ping() {
        let (mut bench, deadlines) = (Bench::new(), Arc::<AtomicUsize>::default());
        let slot = bench.state().table.end();
        bench.replace(Late(Arc::clone(&deadlines)));
        let (interval, timeout) = {
            let limits = &bench.state().env.config.limits;
            (limits.ping_interval, limits.pong_timeout)
        };
        for (after, has_ping) in [(Duration::ZERO, false), (interval, true)] {
            bench.state().env.clock().advance(after);
            bench.state().begin_tick();
            bench.sessions.sweep();
            assert_eq!(!bench.state().delivery.owes_nothing(slot), has_ping, "after {after:?}");
        }
        bench.state().env.clock().advance(timeout);
        bench.state().begin_tick();
        bench.sessions.sweep();
        assert_eq!((bench.state().table.is_open(slot), deadlines.load(Ordering::Relaxed)), (false, 3));
    }
}
