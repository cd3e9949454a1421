//! Tests of the outbox: which frames give way, in which order, and that each message has one end.

use std::time::Duration;

use proptest::prelude::*;

use super::backlog::PONGS_MAX;
use super::*;
use crate::clock::{Clock, Timestamp};
use crate::config::Rule;
use crate::hub::PresenceChange;
use crate::metrics::Metrics;
use crate::position::{Epoch, Offset, Position};
use crate::session_id::{Member, SessionId};

mod gap;
mod plain;
mod unsubscribing;

use plain::{Entry, Kind, Plain};

const FRAME_BYTES: usize = 100;

/// The `max_age` of the rules that have one.
const MAX_AGE: Duration = Duration::from_secs(1);

/// An outbox, a rule for each `on_slow`, and the metrics.
struct Desk {
    outbox: Outbox,
    tally: Tally,
    metrics: Arc<Metrics>,
    clock: Clock,
    epoch: Epoch,
}

impl Desk {
    fn new() -> Self {
        let (metrics, clock) = (Arc::new(Metrics::new()), Clock::by_hand(Timestamp(1_000)));
        let (outbox, tally) = (Outbox::new(clock.moment()), Tally::new(Arc::clone(&metrics)));
        Self { outbox, tally, metrics, clock, epoch: Epoch::random() }
    }

    /// A message of `topic`. The first token of the topic gives the rule: `c` conflates, `d` drops the oldest, any
    /// other disconnects. A second token `aged` gives a `max_age` of 1 s.
    fn message(&self, topic: &str, offset: u64) -> Arc<QueuedMessage> {
        let label = topic.split('.').next().unwrap_or_default();
        let on_slow = match label {
            "c" => OnSlow::Conflate,
            "d" => OnSlow::DropOldest,
            _ => OnSlow::Disconnect,
        };
        let max_age = topic.contains("aged").then_some(MAX_AGE);
        let id = self.metrics.rule(&format!("{label}.>"));
        Arc::new(QueuedMessage {
            topic: TopicName::parse(topic).unwrap(),
            position: Position { epoch: self.epoch, offset: Offset(offset) },
            moment: self.clock.moment(),
            rule: Arc::new(Rule { id, on_slow, max_age, ..Rule::plain(None) }),
        })
    }

    fn offer(&mut self, topic: &str, offset: u64, bytes_max: usize) -> Offered {
        let kind = FrameKind::Message(self.message(topic, offset));
        self.outbox.offer(Queued { frame: vec![0; FRAME_BYTES].into(), kind }, bytes_max, &mut self.tally)
    }

    /// Offers each message, with room for all.
    fn fill(&mut self, messages: &[(&str, u64)]) {
        for (topic, offset) in messages {
            assert_eq!(self.offer(topic, *offset, usize::MAX), Offered::Queued);
        }
    }

    fn tell(&mut self, joined: bool, session: SessionId, user: Option<&str>) {
        let member = Member { session, user: user.map(Into::into), info: None };
        let change = Arc::new(PresenceChange { topic: TopicName::parse("p").unwrap(), member, joined });
        let queued = Queued { frame: vec![0; FRAME_BYTES].into(), kind: FrameKind::Presence(change) };
        assert_eq!(self.outbox.offer(queued, usize::MAX, &mut self.tally), Offered::Queued);
    }

    /// Gives up all frames except a partly written one.
    fn cut_off(&mut self) {
        let begun = self.outbox.take_begun(self.clock.moment(), &mut self.tally);
        std::mem::replace(&mut self.outbox, begun).abandon(usize::MAX, &mut self.tally);
    }

    /// Leaves the topics for which `is_gone` holds, in parts of two frames or topics.
    fn mark_unsubscribed(&mut self, is_gone: impl Fn(&str) -> bool) {
        while self.outbox.mark_unsubscribed(2, |topic| is_gone(topic.as_str())) == 2 {}
    }

    /// Has the socket accept the first frame.
    fn send_first(&mut self) {
        self.outbox.backlog.set_begun(0);
        if let Some(queued) = self.outbox.backlog.remove(self.outbox.backlog.queue().first(), &mut self.tally) {
            book_end(&queued, End::Delivered, &mut self.tally);
        }
    }

    fn waiting(&self) -> Vec<String> {
        let name = |queued: &Queued| queued.message().map(|message| format!("{} {}", message.topic, message.position.offset));
        self.outbox.backlog.queue().iter().map(|(_, queued)| name(queued).unwrap_or_else(|| "-".to_owned())).collect()
    }

    fn gaps(&self) -> Vec<(u64, u64)> {
        {
            let mut gaps: Vec<Gap> = self.outbox.gaps.iter().collect();
            gaps.sort_by(|one, other| (one.topic.as_str(), one.from).cmp(&(other.topic.as_str(), other.from)));
            gaps.iter().map(|gap| (gap.from.0, gap.to.0)).collect()
        }
    }

    /// The value of `series`, given without its prefix.
    fn figure(&mut self, series: &str) -> i64 {
        self.tally.hand_over();
        let text = self.metrics.render();
        text.lines().find_map(|line| line.strip_prefix(&format!("belfry_{series} "))?.parse().ok()).unwrap_or(0)
    }

    /// `[waiting, conflated, dropped as slow, dropped by age, dropped at the close]` of the rule `label.>`.
    fn books(&mut self, label: &str) -> [i64; 5] {
        let dropped = |reason| format!("messages_dropped_total{{reason=\"{reason}\",rule=\"{label}.>\"}}");
        [
            self.figure(&format!("outbox_messages{{rule=\"{label}.>\"}}")),
            self.figure(&format!("messages_conflated_total{{rule=\"{label}.>\"}}")),
            self.figure(&dropped("slow")),
            self.figure(&dropped("age")),
            self.figure(&dropped("closed")),
        ]
    }
}

/// PROTOCOL 7: past the bound, queued `conflate` messages are conflated: the newest takes the place of the oldest.
#[test]
fn the_newest_message_takes_the_place_of_the_oldest() {
    let mut desk = Desk::new();
    desk.fill(&[("c.a", 1), ("x.a", 1), ("c.b", 1), ("c.a", 2), ("c.b", 2)]);
    assert_eq!(desk.offer("c.a", 3, 3 * FRAME_BYTES), Offered::GaveWay);
    assert_eq!(desk.waiting(), ["c.a 3", "x.a 1", "c.b 2"]);
    assert_eq!((desk.gaps(), desk.outbox.bytes()), (vec![], 3 * FRAME_BYTES));
    assert_eq!((desk.books("c"), desk.figure("outbox_bytes")), ([2, 3, 0, 0, 0], 3 * FRAME_BYTES as i64));
}

/// PROTOCOL 7: up to the bound no message is conflated or dropped.
#[test]
fn no_message_gives_way_up_to_the_bound() {
    let mut desk = Desk::new();
    desk.fill(&[("c.a", 1), ("d.a", 1)]);
    assert_eq!(desk.offer("c.a", 2, 3 * FRAME_BYTES), Offered::Queued);
    assert_eq!(desk.waiting(), ["c.a 1", "d.a 1", "c.a 2"]);
}

/// PROTOCOL 7: if no rule frees enough, the queue overflows. An empty outbox accepts one frame of any size.
#[test]
fn messages_that_may_not_give_way_overflow_the_outbox() {
    let mut desk = Desk::new();
    assert_eq!(desk.offer("x.a", 1, FRAME_BYTES / 2), Offered::Queued);
    assert_eq!(desk.offer("x.a", 2, FRAME_BYTES / 2), Offered::Overflowed);
    desk.cut_off();
    assert_eq!((desk.books("x"), desk.outbox.bytes()), ([0, 0, 0, 0, 2], 0));
}

/// RFC 6455 §5.2: a partly written frame is completed, whatever gives way behind it.
#[test]
fn a_partly_written_frame_never_gives_way() {
    let mut desk = Desk::new();
    let begun = Queued { frame: vec![0; FRAME_BYTES].into(), kind: FrameKind::Message(desk.message("c.aged", 1)) };
    desk.outbox.begin(begun, 10, &mut desk.tally);
    desk.fill(&[("c.aged", 2), ("d.aged", 1)]);
    assert_eq!(desk.offer("c.aged", 3, 2 * FRAME_BYTES), Offered::GaveWay);
    assert_eq!((desk.waiting().len(), desk.waiting()[0].as_str()), (2, "c.aged 1"));
    desk.clock.advance(Duration::from_secs(2));
    desk.outbox.end_aged(desk.clock.moment(), &mut desk.tally);
    assert_eq!(desk.waiting()[0], "c.aged 1");
    desk.cut_off();
    assert_eq!(desk.waiting(), ["c.aged 1"]);
    desk.outbox.abandon(usize::MAX, &mut desk.tally);
    assert!(desk.outbox.is_done() && desk.figure("outbox_bytes") == 0);
}

/// PROTOCOL 3 and 7: the newest message of a `conflate` topic is delivered, even if it is too long to wait beside the
/// partly written frame. (It was dropped, and without a later message, silently.) A message that may not be conflated
/// still overflows.
#[test]
fn the_newest_waits_behind_a_long_frame() {
    let mut desk = Desk::new();
    let begun = Queued { frame: vec![0; 10 * FRAME_BYTES].into(), kind: FrameKind::Message(desk.message("c.a", 1)) };
    desk.outbox.begin(begun, 10, &mut desk.tally);
    for offset in 2..5 {
        assert_eq!(desk.offer("c.a", offset, 10 * FRAME_BYTES), Offered::GaveWay);
    }
    assert_eq!((desk.waiting(), desk.gaps()), (["c.a 1", "c.a 4"].map(str::to_owned).to_vec(), vec![]));
    assert_eq!(desk.outbox.shrink(0, DropReason::Total, &mut desk.tally), Offered::GaveWay);
    assert_eq!(desk.waiting(), ["c.a 1"], "where the total is passed, it gives way");
    assert_eq!(desk.offer("x.a", 1, 10 * FRAME_BYTES), Offered::Overflowed);
}

/// PROTOCOL 7: a message older than `max_age` is conflated or dropped as its rule says; under `disconnect` it is
/// dropped with a gap. The newest message of a `conflate` topic goes out at any age.
#[test]
fn messages_past_max_age_give_way_as_their_rule_says() {
    let mut desk = Desk::new();
    desk.fill(&[("c.aged", 1), ("c.aged", 2), ("d.aged", 1), ("x.aged", 1), ("x.b", 1)]);
    desk.clock.advance(Duration::from_millis(1_001));
    desk.fill(&[("d.aged", 2)]);
    desk.outbox.end_aged(desk.clock.moment(), &mut desk.tally);
    assert_eq!(desk.waiting(), ["c.aged 2", "x.b 1", "d.aged 2"]);
    assert_eq!(desk.gaps(), [(1, 1), (1, 1)]);
    assert_eq!((desk.books("c"), desk.books("d"), desk.books("x")), ([1, 1, 0, 0, 0], [1, 0, 0, 1, 0], [1, 0, 0, 1, 0]));
}

/// PROTOCOL 3: after an unsubscribe and another subscribe, waiting messages of the topic belong to the ended
/// subscription. (The topic told gaps from before, and new messages came before their `subscribed`.)
#[test]
fn a_topic_subscribed_again_begins_anew() {
    let mut desk = Desk::new();
    desk.fill(&[("x.a", 1), ("c.a", 10)]);
    desk.mark_unsubscribed(|topic| topic == "c.a");
    desk.fill(&[("x.a", 2), ("c.a", 12)]);
    assert_eq!(desk.offer("c.a", 13, 4 * FRAME_BYTES), Offered::GaveWay);
    assert_eq!(desk.waiting(), ["x.a 1", "c.a 10", "x.a 2", "c.a 13"]);
    assert_eq!(desk.offer("x.a", 3, 4 * FRAME_BYTES), Offered::GaveWay);
    assert_eq!((desk.waiting(), desk.gaps()), (["x.a 1", "x.a 2", "c.a 13", "x.a 3"].map(str::to_owned).to_vec(), vec![]));
}

/// PROTOCOL 7: the bound counts messages only; a reply or a Pong behind them does not exceed it.
#[test]
fn a_reply_drops_no_message() {
    let mut desk = Desk::new();
    let begun = Queued { frame: vec![0; 10 * FRAME_BYTES].into(), kind: FrameKind::Message(desk.message("c.a", 1)) };
    desk.outbox.begin(begun, 10, &mut desk.tally);
    assert_eq!(desk.offer("c.a", 2, FRAME_BYTES), Offered::GaveWay);
    let reply = Queued { frame: vec![0; FRAME_BYTES].into(), kind: FrameKind::Reply };
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
    let begun = Queued { frame: vec![0; FRAME_BYTES].into(), kind: FrameKind::Presence(Arc::new(change)) };
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
    let answer = Queued { frame: vec![0; FRAME_BYTES].into(), kind: FrameKind::Members };
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

/// The cost of an offer does not grow with the number of waiting frames: 100,000 offers that each replace a message, to
/// an outbox of 10,000 topics at its bound and to one of 100 topics.
#[test]
fn an_offer_to_a_full_outbox_costs_the_same_however_much_waits() {
    let per_offer = |topics: usize, rule: &str| {
        let mut desk = Desk::new();
        let names: Vec<String> = (0..topics).map(|topic| format!("{rule}.{topic}")).collect();
        let mut offered = 0;
        let mut rounds = |desk: &mut Desk, offers: usize| {
            for _ in 0..offers {
                let _ = desk.offer(&names[offered % topics], (offered / topics) as u64 + 1, topics * FRAME_BYTES);
                offered += 1;
            }
        };
        rounds(&mut desk, topics);
        let begun = std::time::Instant::now();
        rounds(&mut desk, 100_000);
        (begun.elapsed(), desk.waiting().len(), desk.outbox.backlog.queue().end() - desk.outbox.backlog.queue().first())
    };
    for rule in ["c", "d"] {
        let ((few, ..), (many, waiting, places)) = (per_offer(100, rule), per_offer(10_000, rule));
        assert_eq!((waiting, places as usize), (10_000, 10_000), "what gave way leaves no room behind");
        println!("{rule}: 100,000 offers in {few:?} with 100 topics, in {many:?} with 10,000");
        // A pass over the queue for each offer would make it a hundred times as long.
        assert!(many < few * 20, "rule {rule}: {few:?} with 100 topics, {many:?} with 10,000");
    }
}

#[derive(Debug, Clone)]
enum Act {
    Offer(usize),
    Shrink(usize),
    Age,
    Begin(usize),
    Send,
    Tell(usize),
    Reply,
    LeaveTopic(usize),
}

const TOPICS: [&str; 6] = ["c.a", "c.aged", "d.a", "d.aged", "x.a", "x.aged"];

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..TOPICS.len()).prop_map(Act::Offer),
        1 => (1_usize..1_000).prop_map(Act::Shrink),
        1 => Just(Act::Age),
        1 => (1..FRAME_BYTES).prop_map(Act::Begin),
        1 => Just(Act::Send),
        2 => (0_usize..4).prop_map(Act::Tell),
        1 => Just(Act::Reply),
        1 => (0..TOPICS.len()).prop_map(Act::LeaveTopic),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// PROTOCOL 3, 7 and 9: after any actions, the outbox has the frames of the plain model, in order, and the same
    /// gaps. Each queued message waits or has one end, counted for its rule, and the byte counts are those of the
    /// waiting frames.
    #[test]
    fn each_message_has_one_end(acts in prop::collection::vec(act(), 1..150), bytes_max in 1_usize..1_500) {
        let (mut desk, mut plain) = (Desk::new(), Plain::default());
        let mut offered = [0_u64; TOPICS.len()];
        let mut members = [(SessionId::random(), false), (SessionId::random(), false)];
        let mut delivered = [0; 3];
        for act in acts {
            match act {
                Act::Offer(topic) => {
                    offered[topic] += 1;
                    let (topic, offset, at) = (TOPICS[topic], offered[topic], desk.clock.moment());
                    let _ = desk.offer(topic, offset, bytes_max);
                    plain.offer(Entry { name: format!("{topic} {offset}"), kind: Kind::Message { topic: topic.into(), offset, at, unsubscribed: None } }, bytes_max);
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
                    desk.outbox.backlog.set_begun(bytes);
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
                    let reply = Queued { frame: vec![0; FRAME_BYTES].into(), kind: FrameKind::Reply };
                    let _ = desk.outbox.offer(reply, bytes_max, &mut desk.tally);
                    plain.offer(Entry { name: "-".into(), kind: Kind::Reply }, bytes_max);
                }
                Act::LeaveTopic(topic) => {
                    desk.mark_unsubscribed(|unsubscribed| unsubscribed == TOPICS[topic]);
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

/// Mapping of Centrifugo's protocol, section 1: a ping goes right behind a partly written frame, and metrics stay
/// right.
#[test]
fn a_ping_goes_before_waiting_frames() {
    let ping = || Queued { frame: vec![0; 2].into(), kind: FrameKind::Ping };
    let mut desk = Desk::new();
    desk.fill(&[("d.a", 1), ("d.a", 2), ("c.b", 1)]);
    desk.outbox.push_next(ping(), &mut desk.tally);
    assert_eq!(desk.waiting(), ["-", "d.a 1", "d.a 2", "c.b 1"]);
    desk.send_first();
    desk.outbox.backlog.set_begun(10);
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

/// Mapping of Centrifugo's protocol, section 5: the messages of a lapsed subscription are dropped, except a partly
/// written one. A `conflate` topic has lost nothing.
#[test]
fn a_lapsed_subscription_leaves_the_outbox() {
    let mut desk = Desk::new();
    desk.fill(&[("d.a", 1), ("d.a", 2), ("d.b", 1), ("c.c", 1), ("d.a", 3)]);
    desk.outbox.backlog.set_begun(10);
    assert_eq!(desk.offer("d.a", 4, 5 * FRAME_BYTES), Offered::GaveWay);
    let lost = desk.outbox.take_lost();
    assert_eq!(lost.iter().map(TopicName::as_str).collect::<Vec<_>>(), ["d.a"]);
    desk.outbox.drop_topics(&lost.into_iter().collect(), &mut desk.tally);
    assert_eq!(desk.waiting(), ["d.a 1", "d.b 1", "c.c 1"]);
    assert!(desk.gaps().is_empty());
    assert_eq!((desk.figure("outbox_bytes"), desk.books("d")), (300, [2, 0, 3, 0, 0]));
}
