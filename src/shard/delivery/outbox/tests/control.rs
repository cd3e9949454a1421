//! Tests of frames that are no messages: replies, joins and leaves, Pongs and pings.

use super::*;
use crate::shard::delivery::outbox::backlog::PONGS_MAX;

/// PROTOCOL 7: the bound counts messages only; a reply or a Pong behind them does not exceed it.
#[test]
fn a_reply_drops_no_message() {
    let mut desk = Desk::new();
    let begun = Queued { frame: vec![0; 10 * FRAME_BYTES].into(), kind: FrameKind::Message(desk.message("c.a", 1)) };
    desk.outbox.begin(begun, 10, &mut desk.tally);
    assert_eq!(desk.offer("c.a", 2, FRAME_BYTES), Offered::GaveWay);
    let reply = queued(FrameKind::Reply);
    assert_eq!(desk.outbox.offer(reply, FRAME_BYTES, &mut desk.tally), Offered::Queued);
}

/// PROTOCOL 3: a queued join and leave of one member cancel out; those of another user name do not.
#[test]
fn a_join_and_a_leave_cancel_out() {
    let (mut desk, session) = (Desk::new(), SessionId::random());
    desk.tell(true, session, None);
    desk.tell(true, SessionId::random(), None);
    desk.tell(false, session, None);
    assert_eq!((desk.waiting().len(), desk.outbox.bytes()), (1, FRAME_BYTES));
    desk.tell(false, session, Some("ann"));
    desk.tell(true, session, Some("bob"));
    assert_eq!(desk.waiting().len(), 3, "a leave and a join under another name are both told");
    desk.outbox.abandon(usize::MAX, &mut desk.tally);
    let change = PresenceChange { topic: TopicName::parse("p").unwrap(), member: Member { session, user: None, info: None }, joined: true };
    let begun = queued(FrameKind::Presence(Arc::new(change)));
    desk.outbox.begin(begun, 1, &mut desk.tally);
    desk.tell(false, session, None);
    assert_eq!(desk.waiting().len(), 2, "what has begun is no more cancelled");
}

/// The leave of a member whose join waits before a list of members is told, because the list has shown the member. (The
/// leave cancelled the join, and the client kept the member.)
#[test]
fn a_join_before_a_list_of_members_does_not_cancel_out() {
    let (mut desk, session) = (Desk::new(), SessionId::random());
    desk.tell(true, session, None);
    let answer = queued(FrameKind::Members);
    assert_eq!(desk.outbox.offer(answer, usize::MAX, &mut desk.tally), Offered::Queued);
    desk.tell(false, session, None);
    assert_eq!(desk.waiting().len(), 3);
    desk.tell(true, session, None);
    assert_eq!(desk.waiting().len(), 2, "the leave is behind the answer");
}

/// RFC 6455 §5.5.3: the last of many waiting Pongs answers the newest Ping.
#[test]
fn pongs_are_bounded() {
    let mut desk = Desk::new();
    for number in 0..100_u8 {
        let queued = Queued { frame: vec![number; 2].into(), kind: FrameKind::Pong };
        assert_eq!(desk.outbox.offer(queued, 0, &mut desk.tally), Offered::Queued);
    }
    assert_eq!((desk.waiting().len(), desk.outbox.bytes()), (PONGS_MAX, 2 * PONGS_MAX));
    assert_eq!(desk.outbox.backlog.queue().iter().last().unwrap().1.frame[0], 99);
}

/// PROTOCOL 7: replies are never dropped and don't count against the bound.
#[test]
fn replies_never_give_way() {
    let mut desk = Desk::new();
    let reply = || Queued { frame: vec![0; 10 * FRAME_BYTES].into(), kind: FrameKind::Reply };
    assert_eq!(desk.outbox.offer(reply(), FRAME_BYTES, &mut desk.tally), Offered::Queued);
    desk.fill(&[("d.a", 1)]);
    assert_eq!(desk.offer("d.a", 2, FRAME_BYTES), Offered::GaveWay);
    assert_eq!(desk.waiting(), ["-", "d.a 2"]);
}

/// Mapping of Centrifugo's protocol, section 1: a ping goes right behind a partly written frame, and metrics stay
/// right.
#[test]
fn a_ping_goes_before_waiting_frames() {
    let ping = || Queued { frame: vec![0; 2].into(), kind: FrameKind::Ping };
    let mut desk = Desk::with(&[("d.a", 1), ("d.a", 2), ("c.b", 1)]);
    desk.outbox.push_next(ping(), &mut desk.tally);
    assert_eq!(desk.waiting(), ["-", "d.a 1", "d.a 2", "c.b 1"]);
    desk.send_first();
    desk.outbox.backlog.set_accepted_bytes(10);
    desk.outbox.push_next(ping(), &mut desk.tally);
    assert_eq!(desk.waiting(), ["d.a 1", "-", "d.a 2", "c.b 1"]);
    assert!(desk.outbox.has_ping());
    assert_eq!((desk.outbox.bytes(), desk.figure("outbox_bytes"), desk.books("d")[0]), (302, 302, 2));
    desk.send_first();
    assert!(desk.outbox.has_ping());
    desk.send_first();
    assert!(!desk.outbox.has_ping());
    assert_eq!(desk.offer("c.b", 2, 2 * FRAME_BYTES), Offered::GaveWay);
    assert_eq!(desk.waiting(), ["d.a 2", "c.b 2"], "what conflates still does");
}
