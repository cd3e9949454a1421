//! Tests of topics that are unsubscribed from in parts while frames wait.

use super::*;

/// PROTOCOL 3: messages that are dropped or written while a topic is being unsubscribed from are told like those from
/// before.
#[test]
fn topics_are_marked_a_part_at_a_time() {
    let mut desk = Desk::with(&[("d.a", 1), ("d.a", 2), ("d.a", 3), ("d.b", 1)]);
    let unsubscribed = |topic: &TopicName| topic.as_str() == "d.a";
    assert_eq!(desk.outbox.mark_unsubscribed(2, unsubscribed), 2);
    assert_eq!(desk.offer("d.b", 2, 3 * FRAME_BYTES), Offered::GaveWay);
    assert_eq!((desk.waiting(), desk.gaps()), (["d.a 3", "d.b 1", "d.b 2"].map(str::to_owned).to_vec(), vec![(1, 2)]));
    while desk.outbox.mark_unsubscribed(1, unsubscribed) == 1 {}
    assert_eq!(desk.gaps(), [(1, 2)], "told before the last message of the ended subscription");
    desk.fill(&[("d.a", 9)]);
    desk.send_first();
    assert_eq!(desk.outbox.mark_unsubscribed(1, unsubscribed), 1);
    desk.outbox.begin_marking();
    assert_eq!(
        (desk.outbox.mark_unsubscribed(usize::MAX, unsubscribed), desk.gaps()),
        (4, vec![(1, 2)]),
        "three frames, and a topic with a gap"
    );
    (0..3).for_each(|_| desk.send_first());
    assert_eq!((desk.outbox.mark_unsubscribed(usize::MAX, unsubscribed), desk.gaps()), (1, vec![]), "nothing waits that it is told before");
}

/// Marking a topic examines every waiting frame once, in parts of the requested size.
#[test]
fn marking_examines_every_frame_once() {
    let mut desk = Desk::new();
    (0..1_000).for_each(|number| desk.fill(&[("x.a", number + 1)]));
    let mut parts = Vec::new();
    loop {
        parts.push(desk.outbox.mark_unsubscribed(256, |_| true));
        if parts.last() < Some(&256) {
            break;
        }
    }
    assert_eq!(parts, [256, 256, 256, 232]);
}
