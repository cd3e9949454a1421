//! Turns: which session is read next, and for how long. A tick reads for a bounded time, whatever the sessions have
//! sent.

use std::collections::VecDeque;
use std::time::Duration;

use foldhash::HashSet;

use crate::clock::Moment;

/// The time for reading in a tick. Live messages wait for it.
const TIME_PER_TICK: Duration = Duration::from_micros(512);

/// In this part of the time, sessions that have just sent something go before those with unused input; in the rest of
/// the time after them. So a session with few commands does not wait for the bursts of all others, and neither kind
/// keeps the other from its turn.
const FRESH_TIME: Duration = Duration::from_micros(256);

/// The shortest turn. A turn lasts longer if few sessions share the time of the tick, and by some commands in any case.
const TURN_MIN: Duration = Duration::from_micros(64);

/// The most commands that are carried out without a look at the clock, which costs as much as a tenth of a short one.
const UNTIMED_MAX: u32 = 7;

/// If the commands between two looks at the clock took longer than this, the next look comes after one command.
const LONG: Duration = Duration::from_micros(8);

/// The slots whose sessions are to be read. Each is in one of the two queues, once.
#[derive(Default)]
pub struct Turns {
    /// Slots of sessions whose input is all used so far.
    fresh: VecDeque<u32>,
    /// Slots of sessions with input that they could not use in an earlier turn.
    behind: VecDeque<u32>,
    /// The slots in both queues.
    queued: HashSet<u32>,
    /// The moment at which the reading of this tick ends.
    tick_ends: Moment,
    /// The moment at which the turn under way ends.
    turn_ends: Moment,
    /// The last look at the clock.
    looked_at: Moment,
    /// How many commands were to be carried out without a look, and how many of these are left.
    untimed: (u32, u32),
}

impl Turns {
    /// Queues `slot` behind the others of its kind, if it is not queued already.
    pub fn add(&mut self, slot: u32, has_unused_input: bool) {
        if self.queued.insert(slot) {
            if has_unused_input { &mut self.behind } else { &mut self.fresh }.push_back(slot);
        }
    }

    /// Begins the reading of a tick.
    pub fn begin_tick(&mut self, now: Moment) {
        self.tick_ends = now + TIME_PER_TICK;
    }

    /// Takes the next slot and begins its turn. `None`: no slot is queued, or the time for reading in this tick is
    /// over.
    pub fn next(&mut self, now: Moment) -> Option<u32> {
        let left = self.tick_ends.since(now);
        if left.is_zero() {
            return None;
        }
        let (first, second) =
            if left > TIME_PER_TICK - FRESH_TIME { (&mut self.fresh, &mut self.behind) } else { (&mut self.behind, &mut self.fresh) };
        let slot = first.pop_front().or_else(|| second.pop_front())?;
        self.queued.remove(&slot);
        self.begin(now);
        Some(slot)
    }

    /// Begins a turn, also of a session that was not queued here. A session alone has all the time that is left in the
    /// tick.
    pub fn begin(&mut self, now: Moment) {
        let share = self.tick_ends.since(now) / (self.queued.len() as u32 + 1);
        self.turn_ends = self.tick_ends.min(now + share.max(TURN_MIN));
        (self.looked_at, self.untimed) = (now, (0, 0));
    }

    /// Whether the turn under way is over. A command was carried out since the last call. `now` reads the clock; it is
    /// called less often while commands are short.
    pub fn is_over(&mut self, now: impl FnOnce() -> Moment) -> bool {
        let (untimed, left) = &mut self.untimed;
        if *left > 0 {
            *left -= 1;
            return false;
        }
        let now = now();
        let are_short = now.since(std::mem::replace(&mut self.looked_at, now)) < LONG;
        *untimed = if are_short { (2 * *untimed + 1).min(UNTIMED_MAX) } else { 0 };
        *left = *untimed;
        now >= self.turn_ends
    }

    /// Whether no slot is queued.
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// The queued slots, in no particular order.
    pub fn queued(&self) -> impl Iterator<Item = u32> {
        self.queued.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Timestamp};

    /// The slots of one tick whose turns take `each`.
    fn tick(turns: &mut Turns, each: Duration) -> Vec<u32> {
        let clock = Clock::by_hand(Timestamp(0));
        turns.begin_tick(clock.moment());
        let next = || {
            let slot = turns.next(clock.moment())?;
            clock.advance(each);
            Some(slot)
        };
        std::iter::from_fn(next).collect()
    }

    /// Sessions with few commands go before those with many, and neither kind waits for ever for the other.
    #[test]
    fn both_kinds_of_sessions_have_turns_in_each_tick() {
        let mut turns = Turns::default();
        (1..=100).for_each(|slot| turns.add(slot, true));
        (101..=200).for_each(|slot| turns.add(slot, false));
        assert_eq!(tick(&mut turns, TURN_MIN), [101, 102, 103, 104, 1, 2, 3, 4]);
        turns.add(201, false);
        assert_eq!(tick(&mut turns, TURN_MIN), [105, 106, 107, 108, 5, 6, 7, 8], "the rest keeps its order");
    }

    /// A slot that is woken again while it is queued keeps its place and has one turn.
    #[test]
    fn a_slot_is_queued_once() {
        let mut turns = Turns::default();
        [1, 2, 1].into_iter().for_each(|slot| turns.add(slot, false));
        turns.add(1, true);
        assert_eq!(tick(&mut turns, TURN_MIN), [1, 2]);
        assert!(turns.is_empty());
    }

    /// The time of a tick is shared among the sessions that wait; one that is alone has all of it.
    #[test]
    fn few_sessions_have_long_turns() {
        let now = Clock::by_hand(Timestamp(0)).moment();
        for (sessions, turn) in [(1, TIME_PER_TICK), (2, TIME_PER_TICK / 2), (100, TURN_MIN)] {
            let mut turns = Turns::default();
            (0..sessions).for_each(|slot| turns.add(slot, false));
            turns.begin_tick(now);
            assert_eq!(turns.next(now), Some(0));
            assert!(!turns.is_over(|| (now + turn).before(Duration::from_nanos(1))) && turns.is_over(|| now + turn));
        }
    }

    /// The clock is not looked at after each short command, and after each long one.
    #[test]
    fn short_commands_are_timed_together() {
        let clock = Clock::by_hand(Timestamp(0));
        let mut turns = Turns::default();
        turns.begin_tick(clock.moment());
        turns.begin(clock.moment());
        let mut looks = |takes| {
            let mut looks = 0;
            for _ in 0..32 {
                clock.advance(takes);
                turns.is_over(|| {
                    looks += 1;
                    clock.moment()
                });
            }
            looks
        };
        assert_eq!(looks(Duration::from_nanos(500)), 6);
        assert!(looks(LONG) >= 32 - UNTIMED_MAX);
    }
}
