//! Release of what was kept for ended sessions, a bounded share in each tick.

use crate::metrics::Tally;
use crate::shard::catchup::CatchUp;
use crate::shard::delivery::EndedOutboxes;
use crate::shard::pacing::Pacing;

/// The frames, held messages and cursors that a tick gives up: some tens of microseconds.
const PER_TICK: usize = 512;

/// If more than `PARTS * PER_TICK` frames, held messages and cursors are left, a tick gives up one part in `PARTS` of
/// all, so that their memory is soon free.
const PARTS: usize = 32;

/// The budget of a tick.
#[derive(Debug)]
pub struct ReleaseBudget {
    left_in_tick: usize,
}

impl Default for ReleaseBudget {
    fn default() -> Self {
        Self { left_in_tick: PER_TICK }
    }
}

impl ReleaseBudget {
    /// Sets the budget of a tick that begins.
    pub fn begin_tick(&mut self, outboxes: &EndedOutboxes, pacing: &Pacing, catch_up: &CatchUp) {
        let ended = outboxes.steps() + pacing.ended() + catch_up.ended();
        self.left_in_tick = PER_TICK.max(ended / PARTS);
    }

    /// Gives up frames, held messages and cursors as far as the budget of the tick allows.
    pub fn release(&mut self, outboxes: &mut EndedOutboxes, pacing: &mut Pacing, catch_up: &mut CatchUp, tally: &mut Tally) {
        let left = &mut self.left_in_tick;
        *left -= outboxes.release(*left, tally);
        *left -= pacing.release_ended(*left, tally);
        *left -= catch_up.release_ended(*left);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::PER_TICK;
    use crate::metrics::CloseReason;
    use crate::shard::tests::bench::Bench;
    use crate::shard::tests::{name, pattern};

    /// The frames, held messages and cursors of a session are given up in shares when the session ends, whether its
    /// client has gone or it was cut off. (They were given up at once.)
    #[test]
    fn the_queues_of_an_ended_session_are_given_up_in_shares() {
        const TOPICS: usize = 1_000;
        const HELD: usize = 300;
        for is_cut_off in [false, true] {
            let mut bench = Bench::new();
            (0..TOPICS).for_each(|number| bench.publish(&format!("h.{number}")));
            (0..TOPICS).for_each(|number| bench.subscribe_with(0, &format!("h.{number}"), 1));
            let (paced, interval) = (pattern("c.*"), Some(Duration::from_secs(1)));
            assert!(bench.context().reserve_subscription(&paced).is_ok());
            bench.context().subscribe_pattern(&paced, interval);
            bench.context().set_interval(&paced, interval);
            bench.context().adapt_intervals();
            (0..2 * HELD).for_each(|number| bench.publish(&format!("c.{}", number % HELD)));
            (0..TOPICS).for_each(|_| bench.say(0));
            bench.flush();
            let state = bench.state();
            assert!(state.pacing.bytes(0) > 0 && state.catch_up.is_replaying_topic(0, &name("h.0")));
            state.begin_tick();
            if is_cut_off {
                state.cut_off_slow(0)
            } else {
                state.end(0, CloseReason::Gone)
            }
            let mut ticks = 1;
            while state.has_ended() {
                state.begin_tick();
                state.release_ended();
                ticks += 1;
            }
            assert!(((2 * TOPICS + HELD) / PER_TICK..10).contains(&ticks), "{ticks} ticks");
        }
    }
}
