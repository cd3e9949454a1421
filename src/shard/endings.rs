//! What was kept for sessions that have ended: it is given up a share in each tick, however much it is.

use super::catchup::CatchUp;
use super::delivery::EndedOutboxes;
use super::pacing::Pacing;
use crate::metrics::Tally;

/// Frames, held messages and cursors that are given up in a tick: some tens of microseconds.
const PER_TICK: usize = 512;

/// Where more has ended than [`PER_TICK`] times this, a tick gives up one part in so many: memory is not to wait for long.
const PARTS: usize = 32;

/// How much of it this tick may give up yet.
#[derive(Debug)]
pub struct Endings {
    left_in_tick: usize,
}

impl Default for Endings {
    fn default() -> Self {
        Self { left_in_tick: PER_TICK }
    }
}

impl Endings {
    /// A tick begins.
    pub fn begin_tick(&mut self, outboxes: &EndedOutboxes, pacing: &Pacing, catch_up: &CatchUp) {
        let ended = outboxes.frames() + pacing.ended() + catch_up.ended();
        self.left_in_tick = PER_TICK.max(ended / PARTS);
    }

    /// Gives up as much as this tick may.
    pub fn give_up(&mut self, outboxes: &mut EndedOutboxes, pacing: &mut Pacing, catch_up: &mut CatchUp, tally: &mut Tally) {
        let left = &mut self.left_in_tick;
        *left -= outboxes.give_up(*left, tally);
        *left -= pacing.give_up_ended(*left, tally);
        *left -= catch_up.give_up_ended(*left);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::PER_TICK;
    use crate::metrics::CloseReason;
    use crate::shard::tests::bench::Bench;
    use crate::shard::tests::{name, pattern};

    /// What a session has that ends is given up in shares, whether its client has gone or it was cut off: frames that wait for its
    /// socket, messages that an interval holds, and cursors into histories. (It was given up at once.)
    #[test]
    fn what_a_session_had_is_given_up_in_shares() {
        const TOPICS: usize = 1_000;
        const HELD: usize = 300;
        for is_cut_off in [false, true] {
            let mut bench = Bench::new();
            (0..TOPICS).for_each(|number| bench.publish(&format!("h.{number}")));
            (0..TOPICS).for_each(|number| bench.subscribe_with(0, &format!("h.{number}"), 1));
            let (paced, interval) = (pattern("c.*"), Some(Duration::from_secs(1)));
            assert!(bench.context().take_place(&paced).is_ok());
            bench.context().subscribe_pattern(&paced, interval);
            bench.context().set_interval(&paced, interval);
            bench.context().follow_intervals();
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
                state.give_up_ended();
                ticks += 1;
            }
            assert!(((2 * TOPICS + HELD) / PER_TICK..10).contains(&ticks), "{ticks} ticks");
        }
    }
}
