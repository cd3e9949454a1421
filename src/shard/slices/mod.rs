//! Commands that are carried out in slices: the queue of sessions, and the steps of a tick for all of them.

mod release_budget;
mod uncharged_work;

pub use release_budget::ReleaseBudget;

use std::collections::VecDeque;

use foldhash::HashSet;

use uncharged_work::UnchargedWork;

/// The steps of a tick, each of about a microsecond. The bound keeps live messages from waiting for the long commands of
/// many sessions.
const STEPS_PER_TICK: usize = 512;

/// The queue of sessions that wait for their next slice.
#[derive(Debug, Default)]
pub struct Slices {
    waiting: VecDeque<u32>,
    /// The slots in `waiting`.
    known: HashSet<u32>,
    /// The slot that may run a slice now.
    current: Option<u32>,
    steps_left: usize,
    uncharged: UnchargedWork,
}

impl Slices {
    /// Begins a tick with all its steps.
    pub fn begin_tick(&mut self) {
        self.steps_left = STEPS_PER_TICK;
    }

    /// Whether the session in `slot` may run a slice now: it was taken from the queue, or the queue is empty and the tick
    /// has steps left.
    pub fn may_run_slice(&mut self, slot: u32) -> bool {
        self.current.take_if(|current| *current == slot).is_some() || self.has_steps()
    }

    /// Whether the queue is empty and the tick has steps left.
    pub fn has_steps(&self) -> bool {
        self.waiting.is_empty() && self.steps_left > 0
    }

    /// Queues the session in `slot` behind the sessions that wait already.
    pub fn wait(&mut self, slot: u32) {
        if self.known.insert(slot) {
            self.waiting.push_back(slot);
        }
    }

    /// Counts steps that a slice took.
    pub fn spend(&mut self, steps: usize) {
        self.steps_left = self.steps_left.saturating_sub(steps);
    }

    /// Takes the next session from the queue, if the tick has steps left.
    pub fn next(&mut self) -> Option<u32> {
        self.current = self.waiting.front().copied().filter(|_| self.steps_left > 0);
        if let Some(slot) = self.current {
            self.waiting.pop_front();
            self.known.remove(&slot);
        }
        self.current
    }

    /// Work that was done for sessions and is not charged yet.
    pub fn uncharged(&mut self) -> &mut UnchargedWork {
        &mut self.uncharged
    }

    /// The length of the queue.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tick has a bounded number of steps for all sessions together, and no session runs a second slice before the
    /// others.
    #[test]
    fn sessions_run_slices_in_order() {
        const COST: usize = STEPS_PER_TICK / 2;
        let mut slices = Slices::default();
        let mut served = Vec::new();
        (1..=3).for_each(|slot| slices.wait(slot));
        for _ in 0..3 {
            slices.begin_tick();
            while let Some(slot) = slices.next() {
                assert!(!slices.may_run_slice(slot + 1) && slices.may_run_slice(slot));
                slices.spend(COST);
                served.push(slot);
                slices.wait(slot);
            }
        }
        assert_eq!(served, [1, 2, 3, 1, 2, 3]);
    }

    /// A session that is alone continues at once, as long as the tick has steps left.
    #[test]
    fn a_session_alone_does_not_wait() {
        let mut slices = Slices::default();
        slices.begin_tick();
        assert!(slices.may_run_slice(1));
        slices.spend(STEPS_PER_TICK);
        assert!(!slices.may_run_slice(1) && slices.next().is_none());
    }
}
