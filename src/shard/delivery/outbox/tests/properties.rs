//! The outbox against the plain model, under any actions.

use proptest::prelude::*;

use super::plain::{Entry, Kind, Plain};
use super::*;

#[derive(Debug, Clone)]
enum Act {
    Offer(usize),
    /// Messages of a topic that were dropped before they were queued.
    Dropped(usize, u64),
    Shrink(usize),
    Age,
    Begin(usize),
    Send,
    Tell(usize),
    Reply,
    Unsubscribe(usize),
}

const TOPICS: [&str; 6] = ["c.a", "c.aged", "d.a", "d.aged", "x.a", "x.aged"];

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..TOPICS.len()).prop_map(Act::Offer),
        2 => (0..TOPICS.len(), 1_u64..4).prop_map(|(topic, count)| Act::Dropped(topic, count)),
        1 => (1_usize..1_000).prop_map(Act::Shrink),
        1 => Just(Act::Age),
        1 => (1..FRAME_BYTES).prop_map(Act::Begin),
        1 => Just(Act::Send),
        2 => (0_usize..4).prop_map(Act::Tell),
        1 => Just(Act::Reply),
        1 => (0..TOPICS.len()).prop_map(Act::Unsubscribe),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// PROTOCOL 3, 7 and 9: after any actions, the outbox has the frames of the plain model, in order, and the same
    /// gaps. (Held messages that were dropped: a later subscription was told of the gaps of an ended one, or not of its
    /// own.) Each queued message waits or has one end, counted for its rule, and the byte counts are those of the
    /// waiting frames.
    #[test]
    fn each_message_has_one_end(acts in prop::collection::vec(act(), 1..150), bytes_max in 1_usize..1_500) {
        let (mut desk, mut plain) = (Desk::new(), Plain::default());
        let (mut offered, mut dropped) = ([0_u64; TOPICS.len()], [0_u64; TOPICS.len()]);
        let mut members = [(SessionId::random(), false), (SessionId::random(), false)];
        let mut delivered = [0; 3];
        for act in acts {
            match act {
                Act::Offer(topic) => {
                    offered[topic] += 1;
                    let (topic, offset, at) = (TOPICS[topic], offered[topic] + dropped[topic], desk.clock.moment());
                    let _ = desk.offer(topic, offset, bytes_max);
                    let kind = Kind::Message { topic: topic.into(), offset, at, unsubscribed: None };
                    plain.offer(Entry { name: format!("{topic} {offset}"), kind }, bytes_max);
                }
                Act::Dropped(topic, count) => {
                    let from = offered[topic] + dropped[topic] + 1;
                    dropped[topic] += count;
                    let _ = desk.offer_dropped(TOPICS[topic], from..=from + count - 1);
                    plain.offer_dropped(TOPICS[topic], from, from + count - 1);
                }
                Act::Shrink(bytes) => {
                    let _ = desk.outbox.shrink(bytes, DropReason::Slow, &mut desk.tally);
                    plain.shrink(bytes);
                }
                Act::Age => {
                    desk.clock.advance(Duration::from_millis(600));
                    desk.outbox.end_aged(desk.clock.moment(), &mut desk.tally);
                    plain.end_aged(desk.clock.moment());
                }
                Act::Begin(bytes) if !desk.outbox.is_empty() => {
                    drop(desk.outbox.take_gaps_before_next()); // the gaps are told before the frame is written
                    desk.outbox.backlog.set_accepted_bytes(bytes);
                    plain.begin();
                }
                Act::Begin(_) => {}
                Act::Send => {
                    let first = desk.waiting().first().and_then(|name| "cdx".find(name.chars().next()?));
                    first.into_iter().for_each(|rule| delivered[rule] += 1);
                    desk.send_first();
                    plain.send_first();
                }
                Act::Tell(which) => {
                    let (session, there) = &mut members[which % 2];
                    // Mostly alternating, and sometimes the same change again.
                    *there = if which < 2 { !*there } else { true };
                    let (session, joined) = (*session, *there);
                    desk.tell(joined, session, None);
                    plain.offer(Entry { name: "-".into(), kind: Kind::Change { session, joined } }, usize::MAX);
                }
                Act::Reply => {
                    let _ = desk.outbox.offer(queued(FrameKind::Reply), bytes_max, &mut desk.tally);
                    plain.offer(Entry { name: "-".into(), kind: Kind::Reply }, bytes_max);
                }
                Act::Unsubscribe(topic) => {
                    desk.mark_unsubscribed(|topic_name| topic_name == TOPICS[topic]);
                    plain.mark_unsubscribed(TOPICS[topic]);
                }
            }
            prop_assert_eq!((desk.waiting(), desk.gaps()), plain.told());
            prop_assert_eq!(desk.outbox.bytes(), desk.waiting().len() * FRAME_BYTES);
        }
        let bytes = desk.outbox.bytes() as i64;
        prop_assert_eq!(desk.figure("outbox_bytes"), bytes);
        for (index, (label, topics)) in [("c", 0..2), ("d", 2..4), ("x", 4..6)].into_iter().enumerate() {
            let routed: u64 = offered[topics].iter().sum();
            prop_assert_eq!(desk.books(label).iter().sum::<i64>() + delivered[index], routed as i64);
        }
        desk.outbox.abandon(usize::MAX, &mut desk.tally);
        prop_assert_eq!(desk.figure("outbox_bytes"), 0);
    }
}
