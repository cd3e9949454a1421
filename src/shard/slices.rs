//! Commands that are carried out in slices: the queue of sessions, and the steps of a tick for all of them.

use std::collections::VecDeque;

use foldhash::HashSet;

use super::uncharged_work::UnchargedWork;

/// The steps of a tick, each of about a microsecond. The bound keeps live messages from waiting for the long commands of many sessions.
const STEPS_PER_TICK: usize = 512;

/// The steps of a tick for small commands that do not wait for the queue. Past these they do, because many sessions may
/// send small commands at the same time.
const SMALL_STEPS_PER_TICK: usize = 512;

/// The steps after which the next session of the queue has its turn.
const STEPS_PER_TURN: usize = 256;

/// About the most commands of all sessions in a tick: some milliseconds.
const COMMANDS_PER_TICK: usize = 2_048;

/// The commands that a session may have carried out in a tick, however many sessions have sent some.
const COMMANDS_PER_CALL_MIN: usize = 4;

/// The queue of sessions that wait for their next slice.
#[derive(Debug)]
pub struct Slices {
    waiting: VecDeque<u32>,
    /// The slots in `waiting`.
    known: HashSet<u32>,
    /// The slot whose turn it is.
    current: Option<u32>,
    /// The steps that are left of its turn.
    turn_left: usize,
    steps_left: usize,
    small_left: usize,
    /// Whether the last slice takes its steps from those of small commands.
    spends_small: bool,
    commands_per_call: usize,
    uncharged: UnchargedWork,
}

impl Default for Slices {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            known: HashSet::default(),
            current: None,
            turn_left: 0,
            steps_left: 0,
            small_left: SMALL_STEPS_PER_TICK,
            spends_small: false,
            commands_per_call: COMMANDS_PER_TICK,
            uncharged: UnchargedWork::default(),
        }
    }
}

impl Slices {
    /// Begins a tick with all its steps.
    pub fn begin_tick(&mut self) {
        (self.steps_left, self.small_left, self.current) = (STEPS_PER_TICK, SMALL_STEPS_PER_TICK, None);
    }

    /// Whether the session in `slot` may run a slice now: it has its turn, or the queue is empty and the tick has steps left.
    pub fn may_run_slice(&mut self, slot: u32) -> bool {
        self.spends_small = false;
        self.current == Some(slot) && self.turn_left > 0 || self.has_steps()
    }

    /// Whether the session in `slot` may run a small command now. It does not wait for the queue as long as the tick has
    /// steps for such commands.
    pub fn may_run_small(&mut self, slot: u32) -> bool {
        let may = self.may_run_slice(slot) || self.small_left > 0;
        self.spends_small = may && !self.may_run_slice(slot);
        may
    }

    /// Whether the queue is empty and the tick has steps left.
    pub fn has_steps(&self) -> bool {
        self.waiting.is_empty() && self.steps_left > 0
    }

    /// Splits the commands of a tick among `sessions` sessions that have sent something.
    pub fn share_commands(&mut self, sessions: usize) {
        self.commands_per_call = (COMMANDS_PER_TICK / sessions.max(1)).max(COMMANDS_PER_CALL_MIN);
    }

    /// The most commands that one call of a reader is to carry out.
    pub fn commands_per_call(&self) -> u32 {
        self.commands_per_call as u32
    }

    /// Queues the session in `slot` behind the sessions that wait already.
    pub fn wait(&mut self, slot: u32) {
        if self.known.insert(slot) {
            self.waiting.push_back(slot);
        }
    }

    /// Counts steps that a slice took.
    pub fn spend(&mut self, steps: usize) {
        let left = if self.spends_small { &mut self.small_left } else { &mut self.steps_left };
        *left = left.saturating_sub(steps);
        self.turn_left = self.turn_left.saturating_sub(steps);
    }

    /// Takes the next session from the queue, if the tick has steps left.
    pub fn next(&mut self) -> Option<u32> {
        self.current = self.waiting.front().copied().filter(|_| self.steps_left > 0);
        if let Some(slot) = self.current {
            self.turn_left = STEPS_PER_TURN;
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

    /// A tick has a bounded number of steps for all sessions together, and no session runs a second slice before the others.
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

    /// Small commands do not wait for the queue, as long as the tick has steps for them. (They never waited: those of a
    /// hundred sessions stopped a shard for 0.3 s.)
    #[test]
    fn small_commands_have_steps_of_their_own() {
        const COST: usize = 64;
        let mut slices = Slices::default();
        slices.begin_tick();
        slices.wait(1);
        let run = |slices: &mut Slices| {
            let may = slices.may_run_small(2);
            slices.spend(if may { COST } else { 0 });
            may
        };
        assert_eq!((0..100).filter(|_| run(&mut slices)).count(), SMALL_STEPS_PER_TICK / COST);
        slices.wait(2);
        assert_eq!((slices.next(), slices.may_run_slice(1)), (Some(1), true), "the queue has its own steps");
        slices.spend(COST);
        assert_eq!(slices.next(), Some(2));
        assert_eq!((0..100).filter(|_| run(&mut slices)).count(), (STEPS_PER_TICK - COST) / COST, "a turn, and what is left of the tick");
    }
}
