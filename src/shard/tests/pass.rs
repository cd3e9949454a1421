//! What is given to sessions is written once, in order, and given up when all have it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::message;
use crate::clock::{Clock, Timestamp};
use crate::shard::pass::{Chain, LINKS_MAX, Pass};

const SLOTS: usize = 6;

#[derive(Debug, Clone)]
enum Step {
    /// A message for the slots of this mask.
    Give(u8),
    /// So many slots are written to.
    Flush(usize),
    /// A slot's session has ended, or its chain went elsewhere.
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u8..1 << SLOTS).prop_map(Step::Give),
        2 => (0..SLOTS).prop_map(Step::Flush),
        1 => (0..SLOTS).prop_map(Step::Drop),
    ]
}

/// A pass and what it should be: for each slot the frames that it has not been written.
#[derive(Default)]
struct Checked {
    pass: Pass,
    chains: [Chain; SLOTS],
    owed: [Vec<u32>; SLOTS],
    /// By frame the offset of its message, until it is given up.
    waiting: BTreeMap<u32, u64>,
    given: u64,
}

impl Checked {
    fn give(&mut self, mask: u8, clock: &Clock) {
        self.given += 1;
        let frame = self.pass.add_message(&message("a", self.given, clock));
        self.waiting.insert(frame, self.given);
        for slot in (0..SLOTS).filter(|slot| mask & (1 << slot) != 0) {
            self.pass.link(slot as u32, &mut self.chains[slot], frame);
            self.owed[slot].push(frame);
        }
    }

    fn flush(&mut self, slots: usize) {
        self.pass.mark();
        let mut frames = Vec::new();
        for _ in 0..slots {
            let Some(slot) = self.pass.next_dirty().map(|slot| slot as usize) else { break };
            self.pass.frames_of(self.chains[slot], &mut frames);
            self.pass.unlink(&mut self.chains[slot]);
            assert_eq!(frames, self.owed[slot]);
            assert!(frames.iter().all(|frame| self.pass.rule(*frame).is_some()), "a message was given up too early");
            self.owed[slot].clear();
        }
        let Self { pass, owed, waiting, .. } = self;
        pass.settle(|message| {
            let frame = *waiting.iter().find(|(_, offset)| **offset == message.position.offset.0).expect("given up once").0;
            waiting.remove(&frame);
            assert!(!owed.iter().flatten().any(|owed| *owed == frame), "somebody still waits for it");
        });
        if pass.is_empty() {
            assert_eq!(pass.room(100, 1 << 20), (100, 1 << 20), "nothing waits");
            pass.clear();
        }
    }
}

proptest! {
    /// DESIGN: a message that comes in the middle of a flush joins what waits for the same sessions.
    #[test]
    fn whatever_comes_during_a_flush_is_written_once(steps in prop::collection::vec(step(), 1..60)) {
        let (mut checked, clock) = (Checked::default(), Clock::by_hand(Timestamp(0)));
        for step in steps {
            match step {
                Step::Give(mask) => checked.give(mask, &clock),
                Step::Flush(slots) => checked.flush(slots),
                Step::Drop(slot) => {
                    checked.pass.unlink(&mut checked.chains[slot]);
                    checked.owed[slot].clear();
                }
            }
        }
        checked.flush(usize::MAX);
        prop_assert!(checked.owed.iter().all(Vec::is_empty) && checked.waiting.is_empty());
    }
}

/// No more is taken in than leaves, and a pass that has grown large is to end.
#[test]
fn a_pass_takes_in_as_much_as_leaves() {
    let (mut checked, clock) = (Checked::default(), Clock::by_hand(Timestamp(0)));
    checked.give(0b11, &clock);
    checked.give(0b10, &clock);
    let (messages, bytes) = checked.pass.room(3, 1_000);
    assert!(messages == 1 && bytes < 1_000, "{messages} {bytes}");
    checked.flush(1);
    assert_eq!(checked.pass.room(3, 1_000).0, 1, "the second slot waits for both");
    checked.flush(1);
    assert_eq!(checked.pass.room(3, 1_000), (3, 1_000));
    for _ in 0..LINKS_MAX {
        checked.pass.link(0, &mut checked.chains[0], 0);
    }
    assert!(checked.pass.is_full(), "its memory is to be used anew first");
}
