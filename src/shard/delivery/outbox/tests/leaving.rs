//! Topics that are left while frames wait, a part of these at a time.

use super::*;

/// PROTOCOL 3: what is dropped, or goes out, while a topic is being left a part at a time is told like what was before.
#[test]
fn a_topic_is_left_a_part_at_a_time() {
    let mut desk = Desk::new();
    desk.fill(&[("d.a", 1), ("d.a", 2), ("d.a", 3), ("d.b", 1)]);
    let left = |topic: &TopicName| topic.as_str() == "d.a";
    assert_eq!(desk.outbox.leave(2, left), 2);
    assert_eq!(desk.offer("d.b", 2, 3 * FRAME_BYTES), Offered::GaveWay);
    assert_eq!((desk.waiting(), desk.gaps()), (["d.a 3", "d.b 1", "d.b 2"].map(str::to_owned).to_vec(), vec![(1, 2)]));
    while desk.outbox.leave(1, left) == 1 {}
    assert_eq!(desk.gaps(), [(1, 2)], "told before the last message of the ended subscription");
    desk.fill(&[("d.a", 9)]);
    desk.send_first();
    assert_eq!(desk.outbox.leave(1, left), 1);
    desk.outbox.begin_to_leave();
    assert_eq!((desk.outbox.leave(usize::MAX, left), desk.gaps()), (4, vec![(1, 2)]), "three frames, and a topic with a gap");
    (0..3).for_each(|_| desk.send_first());
    assert_eq!((desk.outbox.leave(usize::MAX, left), desk.gaps()), (1, vec![]), "nothing waits that it is told before");
}

/// What a leaving looks at is all that waits, once, in parts of the size that was asked for.
#[test]
fn a_leaving_looks_at_everything_once() {
    let mut desk = Desk::new();
    (0..1_000).for_each(|number| desk.fill(&[("x.a", number + 1)]));
    let mut parts = Vec::new();
    loop {
        parts.push(desk.outbox.leave(256, |_| true));
        if parts.last() < Some(&256) {
            break;
        }
    }
    assert_eq!(parts, [256, 256, 256, 232]);
}
