//! Tests of gaps: what is dropped is told exactly, before which message, and in bounded memory.

use super::*;

/// PROTOCOL 7: if conflating frees too little, the oldest of `conflate` and `drop_oldest` topics are dropped, with
/// gaps.
#[test]
fn the_oldest_are_dropped_with_exact_gaps() {
    let mut desk = Desk::with(&[("d.a", 1), ("d.a", 2), ("x.a", 1), ("d.b", 7), ("d.a", 3)]);
    assert_eq!(desk.offer("d.a", 4, 3 * FRAME_BYTES), Offered::GaveWay);
    assert_eq!(desk.waiting(), ["x.a 1", "d.a 3", "d.a 4"]);
    assert_eq!(desk.gaps(), [(1, 2), (7, 7)]);
    assert_eq!(desk.books("d"), [2, 0, 3, 0, 0]);
}

/// PROTOCOL 3: a gap of dropped messages is told before a later gap in history, as before a message.
#[test]
fn a_gap_is_told_before_a_later_one_in_history() {
    let mut desk = Desk::with(&[("d.a", 2), ("x.a", 1)]);
    assert_eq!(desk.outbox.shrink(FRAME_BYTES, DropReason::Slow, &mut desk.tally), Offered::GaveWay);
    let (topic, at) = (TopicName::parse("d.a").unwrap(), |offset| Position { epoch: desk.epoch, offset: Offset(offset) });
    assert_eq!(desk.outbox.take_gaps_before_replay(&topic, at(2)), [], "history begins with what was dropped");
    let dropped = Gap { topic: topic.clone(), from: Offset(2), to: Offset(2) };
    assert_eq!(desk.outbox.take_gaps_before_replay(&topic, at(41)), [dropped]);
}

/// PROTOCOL 3: a gap is told before the next message of its topic, and not before a message of another topic.
#[test]
fn a_gap_waits_for_its_topics_next_message() {
    let mut desk = Desk::with(&[("d.a", 1), ("x.a", 1), ("d.a", 2)]);
    assert_eq!(desk.outbox.shrink(2 * FRAME_BYTES, DropReason::Slow, &mut desk.tally), Offered::GaveWay);
    assert_eq!(desk.outbox.take_gaps_before_next(), [], "the next message is another topic's");
    desk.send_first();
    let topic = TopicName::parse("d.a").unwrap();
    assert_eq!(desk.outbox.take_gaps_before_next(), [Gap { topic, from: Offset(1), to: Offset(1) }]);
    assert_eq!(desk.outbox.take_gaps_before_next(), [], "it is told once");
}

/// PROTOCOL 3: a topic's live messages come after its replay, so a gap of live messages is told behind the replay.
#[test]
fn a_gap_of_live_messages_waits_for_the_end_of_the_replay() {
    let mut desk = Desk::new();
    let replayed = queued(FrameKind::Replayed(desk.message("d.a", 3)));
    assert_eq!(desk.outbox.offer(replayed, usize::MAX, &mut desk.tally), Offered::Queued);
    desk.fill(&[("d.a", 4), ("d.a", 5)]);
    assert_eq!(desk.outbox.shrink(FRAME_BYTES, DropReason::Slow, &mut desk.tally), Offered::GaveWay);
    assert_eq!((desk.waiting(), desk.gaps()), (vec!["d.a 3".to_owned(), "d.a 5".to_owned()], vec![(4, 4)]));
    assert_eq!(desk.outbox.take_gaps_before_next(), [], "3 is replayed first");
    desk.send_first();
    assert_eq!(desk.outbox.take_gaps_before_next().len(), 1);
}

/// PROTOCOL 3: messages before `unsubscribed` belong to the ended subscription, so a gap between them is told, even if
/// the messages were dropped after the topic was left (it was not told). It is not told before messages of a later
/// subscription.
#[test]
fn a_topic_that_was_left_is_told_of_gaps_to_its_end() {
    let mut desk = Desk::with(&[("d.a", 1), ("d.a", 2), ("d.a", 3)]);
    desk.mark_unsubscribed(|_| true);
    desk.fill(&[("d.a", 4)]);
    desk.mark_unsubscribed(|_| true);
    assert_eq!(desk.offer("x.a", 1, 3 * FRAME_BYTES), Offered::GaveWay);
    assert_eq!((desk.waiting(), desk.gaps()), (["d.a 3", "d.a 4", "x.a 1"].map(str::to_owned).to_vec(), vec![(1, 2)]));
    assert_eq!(desk.offer("x.a", 2, 3 * FRAME_BYTES), Offered::GaveWay);
    assert_eq!((desk.waiting(), desk.gaps()), (["d.a 4", "x.a 1", "x.a 2"].map(str::to_owned).to_vec(), vec![]));
}

/// The memory of gaps is bounded like that of frames: a session that is owed gaps of too many topics is cut off. (The
/// bound was 65,536 gaps, several times the memory of an outbox.)
#[test]
fn gaps_are_bounded() {
    let mut desk = Desk::new();
    let overflowed = (0..10_000).find(|number| desk.offer(&format!("d.{number}"), 1, 2 * FRAME_BYTES) == Offered::Overflowed);
    assert!(desk.outbox.gap_bytes() > gaps::BYTES_LEAST, "{overflowed:?}");
    assert!(desk.outbox.gap_bytes() < gaps::BYTES_LEAST + 200, "{}", desk.outbox.gap_bytes());
    desk.cut_off();
    assert_eq!(desk.outbox.gap_bytes(), 0);
}

/// PROTOCOL 3 and 7: what a slow session loses of a topic without a break is one gap, however often its interval ends.
/// (Each interval added a gap, until the session was cut off.)
#[test]
fn what_is_dropped_without_a_break_is_one_gap() {
    let mut desk = Desk::with(&[("x.a", 1)]);
    for offset in (0..5_000).map(|interval| interval * 3) {
        assert_eq!(desk.offer("d.a", offset + 1, usize::MAX), Offered::Queued);
        assert_eq!(desk.outbox.shrink(FRAME_BYTES, DropReason::Slow, &mut desk.tally), Offered::GaveWay);
        assert_eq!(desk.offer_dropped("d.a", offset + 2..=offset + 3), Offered::Queued);
    }
    assert_eq!((desk.waiting(), desk.gaps()), (vec!["x.a 1".to_owned()], vec![(1, 15_000)]));
}

/// PROTOCOL 3: a session with a gap to be told and no queued frame does not count as slow.
#[test]
fn a_gap_alone_is_not_slow() {
    let mut desk = Desk::with(&[("d.a", 1), ("x.a", 1)]);
    desk.outbox.book_slow(desk.clock.moment(), &mut desk.tally);
    assert_eq!(desk.figure("slow_sessions"), 1);
    assert_eq!(desk.outbox.shrink(FRAME_BYTES, DropReason::Slow, &mut desk.tally), Offered::GaveWay);
    desk.send_first();
    desk.outbox.book_slow(desk.clock.moment(), &mut desk.tally);
    assert_eq!((desk.figure("slow_sessions"), desk.gaps(), desk.outbox.is_done()), (0, vec![(1, 1)], false));
    desk.clock.advance(Duration::from_secs(60));
    desk.fill(&[("d.a", 2)]);
    desk.outbox.book_slow(desk.clock.moment(), &mut desk.tally);
    assert_eq!((desk.figure("slow_sessions"), desk.outbox.moved_at()), (1, desk.clock.moment()), "it has only begun to stand still");
    desk.outbox.abandon(usize::MAX, &mut desk.tally);
    assert_eq!(desk.figure("slow_sessions"), 0);
}

/// An outbox is given up in steps, with its untold gaps. (All gaps were forgotten in the step of the last frame.)
#[test]
fn gaps_are_given_up_in_steps() {
    let mut desk = Desk::new();
    let topics: Vec<String> = (0..10).map(|number| format!("d.{number}")).collect();
    topics.iter().for_each(|topic| desk.fill(&[(topic, 1)]));
    assert_eq!(desk.offer("d.last", 1, FRAME_BYTES), Offered::GaveWay);
    assert_eq!((desk.waiting().len(), desk.outbox.steps_to_abandon()), (1, 11));
    let steps: Vec<usize> = std::iter::from_fn(|| Some(desk.outbox.abandon(4, &mut desk.tally)).filter(|&steps| steps > 0)).collect();
    assert_eq!(steps, [4, 4, 3]);
    assert!(desk.outbox.is_done());
}

/// PROTOCOL 3: a gap belongs to one epoch of its topic. In a later epoch, the epoch itself tells the loss.
#[test]
fn a_gap_is_of_its_epoch() {
    let mut desk = Desk::with(&[("d.a", 7), ("x.a", 1)]);
    assert_eq!(desk.outbox.shrink(FRAME_BYTES, DropReason::Slow, &mut desk.tally), Offered::GaveWay);
    desk.send_first();
    desk.epoch = Epoch::random();
    desk.fill(&[("d.a", 8), ("x.a", 2)]);
    assert_eq!(desk.outbox.take_gaps_before_next(), []);
    assert_eq!(desk.outbox.shrink(FRAME_BYTES, DropReason::Slow, &mut desk.tally), Offered::GaveWay);
    assert_eq!((desk.gaps(), desk.outbox.gaps.iter().count()), (vec![(8, 8)], 1));
}

/// PROTOCOL 3: gaps are exact until one topic has so many that they are extended over conflated messages.
#[test]
fn the_gaps_of_one_topic_are_bounded() {
    let mut desk = Desk::new();
    let rule = Arc::clone(&desk.message("c.a", 1).rule);
    for offset in (1..=99).step_by(2) {
        let mut message = desk.message("c.a", offset);
        if let Some(message) = Arc::get_mut(&mut message) {
            message.rule = Arc::clone(&rule);
        }
        desk.outbox.gaps.note(&message);
    }
    let gaps = desk.gaps();
    assert_eq!((gaps.len(), gaps[..2].to_vec(), gaps[15]), (16, vec![(1, 1), (3, 3)], (31, 99)));
    desk.outbox.gaps.note(&desk.message("c.a", 102));
    assert_eq!(desk.gaps()[16], (102, 102), "under another rule an older one may wait");
}
