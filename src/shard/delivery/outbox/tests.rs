//! Tests of the outbox: which frames give way, in which order, and that each message has one end.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::*;
use crate::clock::{Clock, Timestamp};
use crate::config::Rule;
use crate::hub::PresenceChange;
use crate::metrics::Metrics;
use crate::position::{Epoch, Offset, Position};
use crate::session_id::{Member, SessionId};
use crate::shard::pacing::DroppedRange;

mod control;
mod gap;
mod plain;
mod properties;
mod unsubscribing;

const FRAME_BYTES: usize = 100;

/// The `max_age` of the rules that have one.
const MAX_AGE: Duration = Duration::from_secs(1);

/// A frame of the usual size.
fn queued(kind: FrameKind) -> Queued {
    Queued { frame: vec![0; FRAME_BYTES].into(), kind }
}

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

    /// A desk whose outbox has these messages.
    fn with(messages: &[(&str, u64)]) -> Self {
        let mut desk = Self::new();
        desk.fill(messages);
        desk
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
        let message = queued(FrameKind::Message(self.message(topic, offset)));
        self.outbox.offer(message, bytes_max, &mut self.tally)
    }

    /// Offers the notice that messages of `topic` were dropped before they were queued.
    fn offer_dropped(&mut self, topic: &str, offsets: RangeInclusive<u64>) -> Offered {
        let QueuedMessage { topic, position, rule, .. } = &*self.message(topic, *offsets.start());
        let (from, to) = (position.offset, Offset(*offsets.end()));
        let dropped = DroppedRange { topic: topic.clone(), epoch: position.epoch, from, to, rule: Arc::clone(rule) };
        self.outbox.offer(queued(FrameKind::Gap(Box::new(dropped))), usize::MAX, &mut self.tally)
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
        let change = queued(FrameKind::Presence(change));
        assert_eq!(self.outbox.offer(change, usize::MAX, &mut self.tally), Offered::Queued);
    }

    /// Gives up all frames except a partly written one.
    fn cut_off(&mut self) {
        let partly_written = self.outbox.take_partly_written(self.clock.moment(), &mut self.tally);
        std::mem::replace(&mut self.outbox, partly_written).abandon(usize::MAX, &mut self.tally);
    }

    /// Unsubscribes from the topics for which `is_gone` holds, in parts of two frames or topics.
    fn mark_unsubscribed(&mut self, is_gone: impl Fn(&str) -> bool) {
        while self.outbox.mark_unsubscribed(2, |topic| is_gone(topic.as_str())) == 2 {}
    }

    /// Has the socket accept the first frame.
    fn send_first(&mut self) {
        self.outbox.backlog.set_accepted_bytes(0);
        if let Some(queued) = self.outbox.backlog.remove(self.outbox.backlog.queue().first(), &mut self.tally) {
            book_end(&queued, End::Delivered, &mut self.tally);
        }
    }

    fn waiting(&self) -> Vec<String> {
        let name = |queued: &Queued| queued.message().map(|message| format!("{} {}", message.topic, message.position.offset));
        self.outbox.backlog.queue().iter().map(|(_, queued)| name(queued).unwrap_or_else(|| "-".to_owned())).collect()
    }

    fn gaps(&self) -> Vec<(u64, u64)> {
        let mut gaps: Vec<Gap> = self.outbox.gaps.iter().collect();
        gaps.sort_by(|one, other| (one.topic.as_str(), one.from).cmp(&(other.topic.as_str(), other.from)));
        gaps.iter().map(|gap| (gap.from.0, gap.to.0)).collect()
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
    let mut desk = Desk::with(&[("c.a", 1), ("x.a", 1), ("c.b", 1), ("c.a", 2), ("c.b", 2)]);
    assert_eq!(desk.offer("c.a", 3, 3 * FRAME_BYTES), Offered::GaveWay);
    assert_eq!(desk.waiting(), ["c.a 3", "x.a 1", "c.b 2"]);
    assert_eq!((desk.gaps(), desk.outbox.bytes()), (vec![], 3 * FRAME_BYTES));
    assert_eq!((desk.books("c"), desk.figure("outbox_bytes")), ([2, 3, 0, 0, 0], 3 * FRAME_BYTES as i64));
}

/// PROTOCOL 7: up to the bound no message is conflated or dropped.
#[test]
fn no_message_gives_way_up_to_the_bound() {
    let mut desk = Desk::with(&[("c.a", 1), ("d.a", 1)]);
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
    let begun = queued(FrameKind::Message(desk.message("c.aged", 1)));
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
    let mut desk = Desk::with(&[("c.aged", 1), ("c.aged", 2), ("d.aged", 1), ("x.aged", 1), ("x.b", 1)]);
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
    let mut desk = Desk::with(&[("x.a", 1), ("c.a", 10)]);
    desk.mark_unsubscribed(|topic| topic == "c.a");
    desk.fill(&[("x.a", 2), ("c.a", 12)]);
    assert_eq!(desk.offer("c.a", 13, 4 * FRAME_BYTES), Offered::GaveWay);
    assert_eq!(desk.waiting(), ["x.a 1", "c.a 10", "x.a 2", "c.a 13"]);
    assert_eq!(desk.offer("x.a", 3, 4 * FRAME_BYTES), Offered::GaveWay);
    assert_eq!((desk.waiting(), desk.gaps()), (["x.a 1", "x.a 2", "c.a 13", "x.a 3"].map(str::to_owned).to_vec(), vec![]));
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

/// Mapping of Centrifugo's protocol, section 5: the messages of a lapsed subscription are dropped, except a partly
/// written one. A `conflate` topic has lost nothing.
#[test]
fn a_lapsed_subscription_leaves_the_outbox() {
    let mut desk = Desk::with(&[("d.a", 1), ("d.a", 2), ("d.b", 1), ("c.c", 1), ("d.a", 3)]);
    desk.outbox.backlog.set_accepted_bytes(10);
    assert_eq!(desk.offer("d.a", 4, 5 * FRAME_BYTES), Offered::GaveWay);
    let lost = desk.outbox.take_lost();
    assert_eq!(lost.iter().map(TopicName::as_str).collect::<Vec<_>>(), ["d.a"]);
    desk.outbox.drop_topics(&lost.into_iter().collect(), &mut desk.tally);
    assert_eq!(desk.waiting(), ["d.a 1", "d.b 1", "c.c 1"]);
    assert!(desk.gaps().is_empty());
    assert_eq!((desk.figure("outbox_bytes"), desk.books("d")), (300, [2, 0, 3, 0, 0]));
}
