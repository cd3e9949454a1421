//! Work of sessions that takes several turns: whose turn it is, and how much of it a tick does.

use std::collections::VecDeque;

use foldhash::HashSet;

use super::unpaid::Unpaid;

/// The steps of a tick, each of about a microsecond: where many sessions have long work, what is live does not wait for all of it.
const STEPS_PER_TICK: usize = 512;

/// Sessions with long work, in the order of their turns.
#[derive(Debug, Default)]
pub struct Slices {
    waiting: VecDeque<u32>,
    /// Those in `waiting`.
    known: HashSet<u32>,
    /// Whose turn it is now.
    current: Option<u32>,
    steps_left: usize,
    unpaid: Unpaid,
}

impl Slices {
    /// A tick begins.
    pub fn begin_tick(&mut self) {
        self.steps_left = STEPS_PER_TICK;
    }

    /// Whether the session in `slot` may do a slice now. Where nobody waits, it needs no turn as long as the tick lasts.
    pub fn takes_turn(&mut self, slot: u32) -> bool {
        self.current.take_if(|current| *current == slot).is_some() || self.has_steps()
    }

    /// Whether nobody waits for a turn and the tick has steps left.
    pub fn has_steps(&self) -> bool {
        self.waiting.is_empty() && self.steps_left > 0
    }

    /// The session in `slot` has more to do, after those who wait already.
    pub fn wait(&mut self, slot: u32) {
        if self.known.insert(slot) {
            self.waiting.push_back(slot);
        }
    }

    /// So many steps were taken.
    pub fn spend(&mut self, steps: usize) {
        self.steps_left = self.steps_left.saturating_sub(steps);
    }

    /// The session whose turn it is, if the tick has steps left.
    pub fn next(&mut self) -> Option<u32> {
        self.current = self.waiting.front().copied().filter(|_| self.steps_left > 0);
        if let Some(slot) = self.current {
            self.waiting.pop_front();
            self.known.remove(&slot);
        }
        self.current
    }

    /// What was done for sessions that they have not paid for yet.
    pub fn unpaid(&mut self) -> &mut Unpaid {
        &mut self.unpaid
    }

    /// How many sessions wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tick does a bounded number of steps for all sessions together, and nobody is served twice before the others.
    #[test]
    fn sessions_take_turns() {
        const COST: usize = STEPS_PER_TICK / 2;
        let mut slices = Slices::default();
        let mut served = Vec::new();
        (1..=3).for_each(|slot| slices.wait(slot));
        for _ in 0..3 {
            slices.begin_tick();
            while let Some(slot) = slices.next() {
                assert!(!slices.takes_turn(slot + 1) && slices.takes_turn(slot));
                slices.spend(COST);
                served.push(slot);
                slices.wait(slot);
            }
        }
        assert_eq!(served, [1, 2, 3, 1, 2, 3]);
    }

    /// Where nobody waits, a session goes on at once, as long as the tick has steps left.
    #[test]
    fn a_session_alone_needs_no_turn() {
        let mut slices = Slices::default();
        slices.begin_tick();
        assert!(slices.takes_turn(1));
        slices.spend(STEPS_PER_TICK);
        assert!(!slices.takes_turn(1) && slices.next().is_none());
    }
}
