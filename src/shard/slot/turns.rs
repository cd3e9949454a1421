//! Turns: which session is read next, and for how long. A tick reads for a bounded time, whatever the sessions have
//! sent.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;

/// The time for reading in a tick. Live messages wait for it.
pub const TIME_PER_TICK: Duration = Duration::from_micros(512);

/// In this part of the time, interactive sessions go before bulk sessions; in the rest of the time after them. So a
/// session with few commands does not wait for the bursts of all others.
const INTERACTIVE_TIME: Duration = Duration::from_micros(256);

/// The shortest turn. A turn lasts longer if few sessions share the time of the tick, and for one command, or one part
/// of a long command, in any case.
const TURN_MIN: Duration = Duration::from_micros(64);

/// The time of a tick for sessions that begin, of which many may begin with a long subscribe.
const OPENING_TIME: Duration = Duration::from_micros(256);

/// The slots whose sessions are to be read. Each is in one of the two queues, once.
#[derive(Default)]
pub struct Turns {
    /// Slots of sessions that used all they had sent in their last turns.
    interactive: VecDeque<u32>,
    /// Slots of sessions whose last turns ended before that.
    bulk: VecDeque<u32>,
    /// Whether a slot is in one of the queues, by slot.
    is_queued: Vec<bool>,
    /// The ticks that have begun since a bulk session had a turn, or since none waited.
    bulk_waits: u32,
    /// The moment at which the reading of this tick ends. The first turn sets it.
    tick_ends: Option<Moment>,
    /// The moment at which the turn under way ends.
    turn_ends: Moment,
    /// The moment at which the time of this tick for sessions that begin is over. The first that begins sets it.
    openings_end: Option<Moment>,
    /// Whether the turn under way is that of a session that begins after `openings_end`.
    begins_late: bool,
}

impl Turns {
    /// Queues `slot` behind the others of its kind, if it is not queued already.
    pub fn add(&mut self, slot: u32, is_bulk: bool) {
        let index = slot as usize;
        if index >= self.is_queued.len() {
            self.is_queued.resize(index + 1, false);
        }
        if !std::mem::replace(&mut self.is_queued[index], true) {
            if is_bulk { &mut self.bulk } else { &mut self.interactive }.push_back(slot);
        }
    }

    /// Begins the reading of a tick. Its time begins with its first turn.
    pub fn begin_tick(&mut self) {
        self.tick_ends = None;
        self.bulk_waits = if self.bulk.is_empty() { 0 } else { self.bulk_waits + 1 };
    }

    /// Takes the next slot and begins its turn. `None`: no slot is queued, or the time for reading in this tick is over.
    /// A single turn may take all the time, if its first command does. So the first turn is a bulk session's if none had
    /// one in the last tick, and neither kind keeps the other from its turn. `now` reads the clock.
    pub fn next(&mut self, now: impl FnOnce() -> Moment) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        let now = now();
        let tick_ends = *self.tick_ends.get_or_insert(now + TIME_PER_TICK);
        let left = tick_ends.since(now);
        if left.is_zero() {
            return None;
        }
        let bulk_first = left <= TIME_PER_TICK - INTERACTIVE_TIME || self.bulk_waits > 1;
        let slot = if self.interactive.is_empty() || bulk_first && !self.bulk.is_empty() {
            self.bulk_waits = 0;
            self.bulk.pop_front()?
        } else {
            self.interactive.pop_front()?
        };
        self.is_queued[slot as usize] = false;
        self.begins_late = false;
        let share = left / ((self.interactive.len() + self.bulk.len()) as u32 + 1);
        self.turn_ends = tick_ends.min(now + share.max(TURN_MIN));
        Some(slot)
    }

    /// Gives sessions that begin the time of another tick.
    pub fn begin_openings(&mut self) {
        self.openings_end = None;
    }

    /// Begins the turn of a session that begins, and may do so with a subscribe. The turns of all such sessions in a
    /// tick share [`OPENING_TIME`].
    pub fn begin_opening(&mut self, now: Moment) {
        let openings_end = *self.openings_end.get_or_insert(now + OPENING_TIME);
        self.begins_late = now >= openings_end;
        self.turn_ends = openings_end.min(now + TURN_MIN);
    }

    /// Whether the session that has its turn begins so late in the tick that it leaves a long command to its next turn.
    pub fn begins_late(&self) -> bool {
        self.begins_late
    }

    /// Whether the turn under way is over.
    pub fn is_over(&self, now: Moment) -> bool {
        now >= self.turn_ends
    }

    /// Whether no slot is queued.
    pub fn is_empty(&self) -> bool {
        self.interactive.is_empty() && self.bulk.is_empty()
    }

    /// Whether `slot` is queued.
    pub fn is_queued(&self, slot: u32) -> bool {
        self.is_queued.get(slot as usize).is_some_and(|is_queued| *is_queued)
    }

    /// The queued slots, in no particular order.
    pub fn queued(&self) -> impl Iterator<Item = u32> {
        self.interactive.iter().chain(&self.bulk).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Timestamp};

    /// The slots of one tick whose turns take `each`.
    fn tick(turns: &mut Turns, each: Duration) -> Vec<u32> {
        let clock = Clock::by_hand(Timestamp(0));
        turns.begin_tick();
        let next = || {
            let slot = turns.next(|| clock.moment())?;
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
            turns.begin_tick();
            assert_eq!(turns.next(|| now), Some(0));
            assert!(!turns.is_over((now + turn).before(Duration::from_nanos(1))) && turns.is_over(now + turn));
        }
    }

    /// A tick whose first turn takes all its time leaves the first turn of the next tick to the other kind. (Bulk sessions
    /// had no turn while there was always an interactive session with such a command.)
    #[test]
    fn long_turns_of_one_kind_do_not_keep_the_other_from_its_turn() {
        let mut turns = Turns::default();
        (1..=3).for_each(|slot| turns.add(slot, true));
        let slots: Vec<u32> = (101..=106)
            .flat_map(|slot| {
                turns.add(slot, false);
                tick(&mut turns, TIME_PER_TICK)
            })
            .collect();
        assert_eq!(slots, [101, 1, 102, 2, 103, 3]);
    }

    /// The time of a tick begins with its first turn.
    #[test]
    fn the_time_of_a_tick_is_for_reading() {
        let clock = Clock::by_hand(Timestamp(0));
        let mut turns = Turns::default();
        turns.begin_tick();
        (0..50_000).for_each(|slot| turns.add(slot, false));
        clock.advance(TIME_PER_TICK);
        assert_eq!(turns.next(|| clock.moment()), Some(0));
    }
}
