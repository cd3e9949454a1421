//! Tests of the subscribers, of the write batch (each frame is written once, in order, and then released), and of
//! changes of presence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::presence_queue::WATCHERS_PER_PART;
use super::subscribers::{Ended, Subscribers};
use super::write_batch::{Chain, FrameNumber, LINKS_MAX, WriteBatch};
use crate::clock::{Clock, Timestamp};
use crate::hub::PresenceChange;
use crate::session_id::{Member, SessionId};
use crate::shard::tests::bench::Bench;
use crate::shard::tests::{message, name, pattern};

const SLOTS: usize = 6;

#[derive(Debug, Clone)]
enum Step {
    /// Adds a message for the slots of this mask.
    Give(u8),
    /// Writes to this number of slots.
    Flush(usize),
    /// Drops the chain of this slot.
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u8..1 << SLOTS).prop_map(Step::Give),
        2 => (0..SLOTS).prop_map(Step::Flush),
        1 => (0..SLOTS).prop_map(Step::Drop),
    ]
}

/// A write batch and its expected content: the frames that each slot is owed.
#[derive(Default)]
struct Checked {
    batch: WriteBatch,
    chains: [Chain; SLOTS],
    owed: [Vec<FrameNumber>; SLOTS],
    /// The offset of each frame's message, until the frame is released.
    waiting: BTreeMap<FrameNumber, u64>,
    given: u64,
}

impl Checked {
    fn give(&mut self, mask: u8, clock: &Clock) {
        self.given += 1;
        let frame = self.batch.add_message(&message("a", self.given, clock), false);
        self.waiting.insert(frame, self.given);
        for slot in (0..SLOTS).filter(|slot| mask & (1 << slot) != 0) {
            self.batch.link(slot as u32, &mut self.chains[slot], frame);
            self.owed[slot].push(frame);
        }
    }

    fn flush(&mut self, slots: usize) {
        self.batch.mark();
        let mut frames = Vec::new();
        for _ in 0..slots {
            let Some(slot) = self.batch.next_dirty().map(|slot| slot as usize) else { break };
            self.batch.frames_of(self.chains[slot], &mut frames);
            self.batch.unlink(&mut self.chains[slot]);
            assert_eq!(frames.iter().map(|frame| frame.number()).collect::<Vec<_>>(), self.owed[slot]);
            assert!(frames.iter().all(|frame| self.batch.rule(*frame).is_some()), "a message was given up too early");
            self.owed[slot].clear();
        }
        let Self { batch, owed, waiting, .. } = self;
        batch.release_written(|message| {
            let frame = *waiting.iter().find(|(_, offset)| **offset == message.position.offset.0).expect("given up once").0;
            waiting.remove(&frame);
            assert!(!owed.iter().flatten().any(|owed| *owed == frame), "somebody still waits for it");
        });
        if batch.is_empty() {
            assert_eq!(batch.room(100, 1 << 20), (100, 1 << 20), "nothing waits");
            batch.clear();
        }
    }
}

proptest! {
    /// DESIGN: a message that comes during a flush joins the frames that wait for the same sessions, and each frame is
    /// written once.
    #[test]
    fn a_message_during_a_flush_is_written_once(steps in prop::collection::vec(step(), 1..60)) {
        let (mut checked, clock) = (Checked::default(), Clock::by_hand(Timestamp(0)));
        for step in steps {
            match step {
                Step::Give(mask) => checked.give(mask, &clock),
                Step::Flush(slots) => checked.flush(slots),
                Step::Drop(slot) => {
                    checked.batch.unlink(&mut checked.chains[slot]);
                    checked.owed[slot].clear();
                }
            }
        }
        checked.flush(usize::MAX);
        prop_assert!(checked.owed.iter().all(Vec::is_empty) && checked.waiting.is_empty());
    }
}

/// A batch accepts no more messages than were released, and a large batch has to end.
#[test]
fn a_batch_accepts_as_much_as_it_releases() {
    let (mut checked, clock) = (Checked::default(), Clock::by_hand(Timestamp(0)));
    checked.give(0b11, &clock);
    checked.give(0b10, &clock);
    let (messages, bytes) = checked.batch.room(3, 1_000);
    assert!(messages == 1 && bytes < 1_000, "{messages} {bytes}");
    checked.flush(1);
    assert_eq!(checked.batch.room(3, 1_000).0, 1, "the second slot waits for both");
    checked.flush(1);
    assert_eq!(checked.batch.room(3, 1_000), (3, 1_000));
    let frame = checked.batch.add_message(&message("a", 9, &clock), false);
    for _ in 0..LINKS_MAX {
        checked.batch.link(0, &mut checked.chains[0], frame);
    }
    assert!(checked.batch.is_full(), "its memory is to be used anew first");
}

fn takers(subscribers: &Subscribers, topic: &str) -> (BTreeSet<u32>, BTreeSet<u32>) {
    let (mut slots, mut watchers) = (BTreeSet::new(), BTreeSet::new());
    subscribers.lists(&name(topic), |subscribed| {
        assert!(subscribed.slots.is_sorted());
        slots.extend(&subscribed.slots);
    });
    subscribers.announced_to(&name(topic), 1, 0..u32::MAX, |slot| _ = watchers.insert(slot));
    (slots, watchers)
}

/// PROTOCOL 2: sessions are found by names and patterns. The first and the last subscription to each are reported.
#[test]
fn subscribers_are_found_by_name_and_by_pattern() {
    let mut subscribers = Subscribers::default();
    assert!(
        subscribers.add(&pattern("q.a"), 7, None, false)
            && subscribers.add(&pattern("q.*"), 7, None, false)
            && subscribers.add(&pattern("q.>"), 2, None, false)
    );
    assert!(!subscribers.add(&pattern("q.a"), 3, None, false) && !subscribers.add(&pattern("q.>"), 9, None, false));
    subscribers.watch(&pattern("q.a"), 3, true, 0);
    subscribers.watch(&pattern("q.>"), 9, true, 0);
    assert_eq!(takers(&subscribers, "q.a"), ([2, 3, 7, 9].into(), [3, 9].into()));
    assert_eq!(takers(&subscribers, "q.a.b"), ([2, 9].into(), [9].into()));
    subscribers.watch(&pattern("q.>"), 9, false, 0);
    assert_eq!((subscribers.remove(&pattern("q.a"), 3), subscribers.remove(&pattern("q.a"), 7)), (Some(false), Some(true)));
    assert_eq!(subscribers.remove(&pattern("q.a"), 7), None, "nobody is on it any more");
    assert_eq!((subscribers.remove(&pattern("q.>"), 2), subscribers.remove(&pattern("q.>"), 9)), (Some(false), Some(true)));
    assert_eq!(takers(&subscribers, "q.a"), ([7].into(), [].into()));
    let session = SessionId::from_number(1);
    assert!(subscribers.end_session(7, session) && !subscribers.end_session(8, session));
    let ended = [subscribers.next_ended(), subscribers.next_ended(), subscribers.next_ended()];
    let last = Ended::Subscription { session, pattern: pattern("q.*"), last: true };
    assert_eq!(ended, [Some(last), Some(Ended::Session { slot: 7 }), None]);
    assert_eq!(takers(&subscribers, "q.a"), ([].into(), [].into()));
}

/// A message that was held for many sessions is one frame, encoded once, for those that get it together.
#[test]
fn held_messages_share_a_frame() {
    let (mut batch, clock) = (WriteBatch::default(), Clock::by_hand(Timestamp(0)));
    let (held, newer) = (message("q.a", 1, &clock), message("q.a", 2, &clock));
    let frame = batch.share_message(&held);
    assert_eq!(batch.share_message(&held), frame);
    assert_ne!(batch.share_message(&newer), frame);
    batch.mark();
    assert_ne!(batch.share_message(&held), frame, "a frame before a mark may be given up before it is written");
}

/// A shard whose sessions, except the first, watch `p.>`, with `changes` changes of as many topics.
fn watched(sessions: usize, changes: usize) -> Bench {
    let mut bench = Bench::new();
    for _ in 0..sessions {
        let slot = bench.join();
        bench.state().add_subscription(slot, &pattern("p.>"), None);
        bench.state().watch(slot, &pattern("p.>"), true);
    }
    for number in 0..changes {
        let member = Member { session: SessionId::from_number(number as u64), user: None, info: None };
        bench.state().env.count_item();
        bench.state().on_presence_change(&Arc::new(PresenceChange { topic: name(&format!("p.{number}")), member, joined: true }));
    }
    bench
}

/// Changes of presence are told in parts, and each change is encoded once. A session that is owed something else waits
/// behind one part. (One command with 2,000 watchers held its shard for 3.1 s.)
#[test]
fn many_changes_are_told_to_many_in_parts() {
    const SESSIONS: usize = 2_000;
    const CHANGES: usize = 100;
    let mut bench = watched(SESSIONS, CHANGES);
    let (clock, mut ticks, mut longest) = (bench.state().env.clock(), 0, 0);
    while !bench.state().presence.is_empty() {
        clock.advance(Duration::from_millis(2));
        bench.state().begin_tick();
        bench.state().tell_changes();
        let delivery = &bench.state().delivery;
        let slots: Vec<u32> = (1..=SESSIONS as u32).filter(|&slot| !delivery.owes_nothing(slot)).collect();
        longest = longest.max(slots.len());
        let chains = slots.iter().map(|&slot| {
            let mut frames = Vec::new();
            delivery.batch.frames_of(delivery.outgoing.get(slot).unwrap().chain, &mut frames);
            frames
        });
        let mut different: Vec<_> = chains.collect();
        different.dedup();
        assert!(different.len() <= 3, "all of a part share their frames: the end of one round, and the beginning of the next");
        bench.flush();
        ticks += 1;
    }
    assert!(longest < 2 * WATCHERS_PER_PART, "{longest} sessions had something at once");
    let parts = SESSIONS.div_ceil(WATCHERS_PER_PART);
    assert!(ticks <= 2 * parts * (2 + CHANGES / 32), "{ticks} ticks, of which every other one rests");
}

/// Joins and leaves that come faster than they are told cancel out, and take no memory.
#[test]
fn joins_and_leaves_cancel_out_while_others_are_told() {
    let mut bench = watched(300, 2);
    let waiting = bench.state().presence.bytes();
    for number in 0..20_000 {
        let member = Member { session: SessionId::from_number(7), user: None, info: None };
        bench.state().env.count_item();
        bench.state().on_presence_change(&Arc::new(PresenceChange { topic: name("p.a"), member, joined: number % 2 == 0 }));
    }
    assert_eq!(bench.state().presence.bytes(), waiting);
}
