//! Tests of deflate with history over whole sessions. After any events, a client with exactly its window inflates the
//! messages that were published. Deflate has no checksum, so a wrong reference would show only in the text.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use base64::Engine;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config as Cases, TestRunner};

use super::bench::{HEAD, arrived_with, new_session, parts_with};
use super::{name, pattern};
use crate::clock::Moment;
use crate::config::{Config, Deflate, Limits, OnSlow, Rule, Rules, TopicDeflate};
use crate::dialect::{Dialect, Encoding, Event};
use crate::frame::ServerWindow;
use crate::frame::exact_inflater::Client;
use crate::hub::{Attempt, PayloadKind, Publication, ReplayRequest};
use crate::metrics::{CloseReason, Metrics, PublishSource};
use crate::session_id::Member;
use crate::shard::context::SessionContext;
use crate::shard::delivery::PLANTED;
use crate::shard::intake::{Inbox, Item, NewSession};
use crate::shard::sessions::Sessions;
use crate::shard::slot::Metered;
use crate::shard::upkeep::bound_paced;

/// Two topics of each rule: history with `conflate`, with `drop_oldest`, with `replay`; compressed alone; not
/// compressed.
const TOPICS: [&str; 10] = ["c.a", "c.b", "d.a", "d.b", "k.a", "k.b", "a.a", "a.b", "o.a", "o.b"];

const PATTERNS: [&str; 6] = ["c.>", "d.*", "k.>", "a.>", "o.>", "*.a"];

/// The most sessions.
const SESSIONS_MAX: usize = 5;

#[derive(Debug, Clone)]
enum Step {
    /// A session begins with a window of `bits` bits, kept or not. A raw session gets payloads alone.
    Join {
        bits: Option<u8>,
        is_kept: bool,
        is_raw: bool,
    },
    /// A session subscribes to a topic or pattern, with the newest `last` messages or an interval.
    Subscribe {
        who: usize,
        what: usize,
        last: usize,
        interval: bool,
    },
    Unsubscribe {
        who: usize,
        what: usize,
    },
    /// Several messages of one topic are published; the session `except` does not get them.
    Publish {
        topic: usize,
        payload: Payload,
        times: usize,
        except: Option<usize>,
    },
    /// A session gets a reply of `bytes` bytes, compressed alone.
    Reply {
        who: usize,
        bytes: usize,
    },
    /// A session's socket accepts `bytes` bytes from now on.
    Room {
        who: usize,
        bytes: usize,
    },
    /// This number of sessions is written to.
    Flush(usize),
    /// Held messages become due, sockets are written to, and unneeded texts are given up.
    Turn,
    /// A session ends.
    Leave(usize),
}

#[derive(Debug, Clone)]
enum Payload {
    Quote(usize),
    Long(usize),
    /// A payload too long to be copied into a write, even compressed, of pseudorandom numbers with this seed.
    Large(u64),
    Noise(Vec<u8>),
}

impl Payload {
    /// The payload of the message number `time` of several.
    fn bytes(&self, time: usize) -> Vec<u8> {
        match self {
            Self::Quote(step) => {
                let step = step + time;
                let (price, volume) = (18_700 + step * 37 % 500, step * 7_919 % 5_000);
                format!(r#"{{"stock_id":"AAPL","price":{}.{:02},"volume":{volume},"ts":17322336{step:05}}}"#, price / 100, price % 100)
                    .into()
            }
            Self::Long(bytes) => format!("[{}1]", "187.30,18,".repeat(bytes / 10)).into_bytes(),
            Self::Large(seed) => {
                let numbers = std::iter::successors(Some(seed + time as u64), |number| {
                    Some(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number >> 29)
                });
                let bytes: Vec<u8> = numbers.take(550).flat_map(u64::to_le_bytes).collect();
                base64::engine::general_purpose::STANDARD.encode(bytes).into_bytes()
            }
            Self::Noise(bytes) => bytes.clone(),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..SESSIONS_MAX;
    let payload = prop_oneof![
        24 => (0usize..100_000).prop_map(Payload::Quote),
        3 => (10usize..9_000).prop_map(Payload::Long),
        1 => any::<u32>().prop_map(|seed| Payload::Large(u64::from(seed))),
        3 => prop::collection::vec(any::<u8>(), 0..400).prop_map(Payload::Noise),
    ];
    let topic = prop_oneof![5 => 0..6usize, 1 => 6..TOPICS.len()];
    let room = prop_oneof![3 => Just(1_usize), 3 => 2..80_usize, 2 => 80..2_000_usize, 4 => Just(1 << 30)];
    let bits = prop_oneof![6 => (8u8..=15).prop_map(Some), 2 => Just(Some(15)), 1 => Just(None)];
    prop_oneof![
        2 => (bits, prop::bool::weighted(0.85), prop::bool::weighted(0.2))
            .prop_map(|(bits, is_kept, is_raw)| Step::Join { bits, is_kept, is_raw }),
        6 => (who.clone(), 0..TOPICS.len() + PATTERNS.len(), 0usize..4, prop::bool::weighted(0.2))
            .prop_map(|(who, what, last, interval)| Step::Subscribe { who, what, last, interval }),
        1 => (who.clone(), 0..TOPICS.len() + PATTERNS.len()).prop_map(|(who, what)| Step::Unsubscribe { who, what }),
        24 => (topic, payload, 1..6usize, prop::option::weighted(0.1, who.clone()))
            .prop_map(|(topic, payload, times, except)| Step::Publish { topic, payload, times, except }),
        2 => (who.clone(), 0usize..900).prop_map(|(who, bytes)| Step::Reply { who, bytes }),
        8 => (who.clone(), room).prop_map(|(who, bytes)| Step::Room { who, bytes }),
        10 => prop_oneof![4 => Just(usize::MAX), 1 => 1usize..3].prop_map(Step::Flush),
        3 => Just(Step::Turn),
        1 => who.prop_map(Step::Leave),
    ]
}

/// One session as its client sees it.
struct Seen {
    slot: u32,
    member: Member,
    dialect: Dialect,
    window: Option<ServerWindow>,
    socket: Metered,
    /// The number of accepted bytes that were read.
    read: usize,
    client: Client,
    /// The offset of the newest live message, by topic.
    newest: HashMap<String, u64>,
    messages: u64,
}

/// A shard with its sessions, and the published messages.
struct Stage {
    sessions: Sessions,
    inbox: Arc<Inbox>,
    seen: Vec<Seen>,
    /// The epoch and the payload of each offset from 1 on, by topic.
    published: HashMap<String, Vec<(String, Vec<u8>)>>,
    metrics: Arc<Metrics>,
    sent: Counts,
}

/// The numbers of messages that clients were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    /// Compressed messages that refer to earlier ones.
    referring: u64,
    /// Compressed messages that stand alone.
    alone: u64,
}

impl Stage {
    fn new() -> Self {
        let rule = |text, on_slow, deflate| Rule { on_slow, deflate, history: 20, ..Rule::plain(Some(pattern(text).into())) };
        let rules = Rules::new(vec![
            rule("c.>", OnSlow::Conflate, TopicDeflate::History),
            rule("d.>", OnSlow::DropOldest, TopicDeflate::History),
            rule("k.>", OnSlow::Replay, TopicDeflate::History),
            rule("a.>", OnSlow::DropOldest, TopicDeflate::Alone),
            rule("o.>", OnSlow::DropOldest, TopicDeflate::Off),
        ]);
        let limits = Limits { outbox_bytes: 4_000, reference_bytes: 9_000, ..Limits::default() };
        let deflate = Deflate { references: 3, topics: 4, threshold: 100, ..Deflate::default() };
        let (parts, inbox) = parts_with(&Config { rules, limits, deflate, ..Config::default() });
        let metrics = Arc::clone(&parts.metrics);
        Self {
            sessions: Sessions::new(parts),
            inbox,
            seen: Vec::new(),
            published: HashMap::new(),
            metrics,
            sent: Counts { referring: 0, alone: 0 },
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            &Step::Join { bits, is_kept, is_raw } => self.join(bits.map(|bits| ServerWindow { bits, is_kept }), is_raw),
            &Step::Subscribe { who, what, last, interval } => self.subscribe(who, what, last, interval),
            &Step::Unsubscribe { who, what } => {
                let pattern = pattern(what_name(what));
                if let Some((mut context, _)) = self.context(who) {
                    context.unsubscribe(&[pattern]);
                }
            }
            Step::Publish { topic, payload, times, except } => {
                (0..*times).for_each(|time| self.publish(TOPICS[*topic], payload.bytes(time), *except));
            }
            &Step::Reply { who, bytes } => {
                if let Some((mut context, _)) = self.context(who) {
                    let message = "something went wrong, ".repeat(bytes / 22);
                    context.send(&Event::Error { id: None, code: crate::codes::ErrorCode::BadRequest, message: &message });
                }
            }
            &Step::Room { who, bytes } => {
                if let Some(seen) = self.seen.get(who) {
                    seen.socket.meter().room = bytes;
                    let slot = seen.slot;
                    if self.sessions.state.delivery.owes_nothing(slot) {
                        self.sessions.state.write_outbox(slot);
                    }
                }
            }
            &Step::Flush(sessions) => {
                self.sessions.state.flush(sessions);
            }
            Step::Turn => self.turn(),
            &Step::Leave(who) => {
                if who < self.seen.len() {
                    let seen = self.seen.swap_remove(who);
                    self.sessions.state.end(seen.slot, CloseReason::Gone);
                    self.sessions.drop_closing();
                }
            }
        }
    }

    fn join(&mut self, window: Option<ServerWindow>, is_raw: bool) {
        if self.seen.len() == SESSIONS_MAX {
            return;
        }
        let dialect = if is_raw { Dialect::Raw } else { Dialect::Json };
        let session = NewSession { encoding: Encoding::websocket(dialect, window), ..new_session() };
        let member = Member { session: session.id, user: None, info: None };
        let (socket, arrived) = arrived_with(b"");
        self.sessions.begin(session, arrived);
        let state = &self.sessions.state;
        let slot = state.table.open().find(|(_, connection)| connection.id() == member.session).map(|(slot, _)| slot).unwrap();
        self.sessions.state.flush(usize::MAX);
        let read = socket.meter().taken.len();
        assert_eq!(read, HEAD.len());
        let client = Client::new(window.map_or(15, |window| window.bits));
        self.seen.push(Seen { slot, member, dialect, window, socket, read, client, newest: HashMap::new(), messages: 0 });
    }

    fn context(&mut self, who: usize) -> Option<(SessionContext<'_>, Member)> {
        let seen = self.seen.get(who)?;
        self.sessions
            .state
            .table
            .is_open(seen.slot)
            .then(|| (SessionContext::new(&mut self.sessions.state, seen.slot), seen.member.clone()))
    }

    fn subscribe(&mut self, who: usize, what: usize, last: usize, interval: bool) {
        let Some((mut context, member)) = self.context(who) else { return };
        let pattern = pattern(what_name(what));
        if context.is_subscribed(&pattern) || context.reserve_subscription(&pattern).is_err() {
            return;
        }
        let interval = interval.then(|| Duration::from_millis(50));
        let wanted = ReplayRequest { last: Some(last), ..ReplayRequest::default() };
        match pattern.as_name() {
            Some(topic) => {
                let start = context.subscribe(&topic, &member, wanted, interval).unwrap();
                context.begin(start);
            }
            None => context.subscribe_pattern(&pattern, interval),
        }
        context.set_interval(&pattern, interval);
        context.adapt_intervals();
    }

    fn publish(&mut self, topic: &str, payload: Vec<u8>, except: Option<usize>) {
        let kind = match str::from_utf8(&payload) {
            Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => PayloadKind::Json,
            Ok(_) => PayloadKind::Text,
            Err(_) => PayloadKind::Binary,
        };
        let except = except.and_then(|who| self.seen.get(who)).map(|seen| seen.member.session);
        let publication = Publication { except, ..Publication::new(&payload, kind, PublishSource::Http) };
        let published = self.sessions.state.env.hub().try_publish(&name(topic), &publication, Waker::noop());
        let Ok(Attempt::Published(position)) = published else { panic!("nothing bounds what is published") };
        let payloads = self.published.entry(topic.to_owned()).or_default();
        payloads.push((position.epoch.to_string(), payload));
        assert_eq!(position.offset.0, payloads.len() as u64, "topics with history live on");
        let mut share = VecDeque::new();
        self.inbox.take(&mut share, usize::MAX, usize::MAX, Moment::default());
        for item in share {
            self.sessions.state.env.count_item();
            if let Item::Message(message) = item {
                self.sessions.state.fan_out(&message);
            }
        }
        bound_paced(&mut self.sessions.state);
    }

    fn turn(&mut self) {
        self.sessions.state.env.now = self.sessions.state.env.now + Duration::from_millis(30);
        self.sessions.state.send_due();
        self.sessions.state.flush(usize::MAX);
        self.sessions.state.serve_history(8);
        let state = &mut self.sessions.state;
        state.delivery.sweep_references(&mut state.env.tally);
        for slot in self.seen.iter().map(|seen| seen.slot).collect::<Vec<_>>() {
            if self.sessions.state.delivery.owes_nothing(slot) {
                self.sessions.state.write_outbox(slot);
            }
        }
        self.sessions.drop_closing();
    }

    /// Reads the bytes that the sockets accepted. The error says what a client did not understand.
    fn read(&mut self) -> Result<(), String> {
        for seen in &mut self.seen {
            let taken = seen.socket.meter().taken[seen.read..].to_vec();
            let mut frames = &taken[..];
            while let Some((first, payload, rest)) = whole_frame(frames) {
                seen.read += frames.len() - rest.len();
                frames = rest;
                let is_compressed = first & 0x40 != 0;
                if is_compressed && seen.window.is_none_or(|window| !window.is_kept) {
                    let bits = seen.window.ok_or("nothing was agreed on")?.bits;
                    seen.client = Client::new(bits);
                }
                let text = if is_compressed { seen.client.read(payload)? } else { payload.to_vec() };
                if first & 0x0f == 0x08 {
                    continue;
                }
                if seen.check(&text, &self.published)? && is_compressed {
                    let told = if seen.client.refers() { &mut self.sent.referring } else { &mut self.sent.alone };
                    *told += 1;
                }
            }
        }
        Ok(())
    }

    /// Writes everything, until no session is owed a frame.
    fn finish(&mut self) -> Result<(), String> {
        for seen in &self.seen {
            seen.socket.meter().room = 1 << 40;
        }
        for _ in 0..40 {
            self.turn();
        }
        self.read()?;
        for seen in &self.seen {
            if seen.read != seen.socket.meter().taken.len() {
                return Err("a frame is not whole".to_owned());
            }
        }
        self.sessions.state.env.tally.hand_over();
        let text = self.metrics.render();
        let counted = |how: &str| {
            let name = format!("belfry_deflate_messages_total{{how=\"{how}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(name.as_str())).unwrap().parse().unwrap()
        };
        let counted = Counts { referring: counted("history"), alone: counted("alone") };
        if counted == self.sent { Ok(()) } else { Err(format!("{counted:?} were counted, and there were {:?}", self.sent)) }
    }
}

impl Seen {
    /// Checks that `text` is a message as it was published (`true`) or a notice (`false`).
    fn check(&mut self, text: &[u8], published: &HashMap<String, Vec<(String, Vec<u8>)>>) -> Result<bool, String> {
        self.messages += 1;
        if self.dialect == Dialect::Raw {
            let known = published.values().flatten().any(|(_, payload)| payload == text);
            return if known { Ok(true) } else { Err(format!("never published: {}", text.escape_ascii())) };
        }
        let told = || text.escape_ascii().to_string();
        let event: serde_json::Value = serde_json::from_slice(text).map_err(|error| format!("{error}: {}", told()))?;
        if event["op"] != "message" {
            return if text.starts_with(b"{\"op\":\"") && !event["op"].is_null() { Ok(false) } else { Err(told()) };
        }
        let (topic, offset) = (event["topic"].as_str().unwrap_or_default().to_owned(), event["offset"].as_u64().unwrap_or(0));
        let payload = published.get(&topic).and_then(|payloads| payloads.get(offset.checked_sub(1)? as usize)).ok_or_else(told)?;
        let (epoch, payload) = payload;
        let replay = event["replay"] == true;
        let replayed = if replay { r#","replay":true"# } else { "" };
        let envelope = format!(r#"{{"op":"message","topic":"{topic}","epoch":"{epoch}","offset":{offset}{replayed},"data"#);
        let rest = text.strip_prefix(envelope.as_bytes()).ok_or_else(told)?;
        let is_right = match str::from_utf8(payload) {
            Ok(json) if serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok() => *rest == [b"\":", json.as_bytes(), b"}"].concat(),
            Ok(text) => event["data"] == text,
            Err(_) => event["data_base64"] == base64::engine::general_purpose::STANDARD.encode(payload),
        };
        let before = if replay { None } else { self.newest.insert(topic, offset) };
        let rises = before.is_none_or(|before| before < offset);
        if is_right && rises { Ok(true) } else { Err(format!("not what was published, after {before:?}: {}", told())) }
    }
}

fn what_name(what: usize) -> &'static str {
    TOPICS.iter().chain(&PATTERNS).nth(what).unwrap()
}

/// The first byte and the payload of the first frame, and the bytes behind it, if the frame is complete.
fn whole_frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&short, rest) = rest.split_first()?;
    let (length, rest) = match short {
        126 => rest.split_first_chunk::<2>().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?,
        127 => rest.split_first_chunk::<8>().map(|(length, rest)| (u64::from_be_bytes(*length) as usize, rest))?,
        short => (usize::from(short), rest),
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    Some((first, payload, rest))
}

/// Plays one case. Returns the number of messages that refer to earlier ones.
fn play(steps: &[Step]) -> Result<u64, String> {
    let mut stage = Stage::new();
    for step in steps {
        stage.take(step);
        stage.read()?;
    }
    stage.finish()?;
    Ok(stage.sent.referring)
}

/// Two sessions that subscribe to most topics, and then any steps.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let with_sessions = |steps: Vec<Step>| {
        let begin = (0..2).flat_map(|who| {
            let join = Step::Join { bits: Some(15 - 3 * who as u8), is_kept: true, is_raw: false };
            let subscribe = move |what| Step::Subscribe { who, what: TOPICS.len() + what, last: 0, interval: false };
            [join].into_iter().chain((0..3).map(subscribe))
        });
        begin.chain(steps).collect()
    };
    prop::collection::vec(step(), 20..100).prop_map(with_sessions)
}

/// With any messages, topics, joins, missed messages, compressed replies, sockets that accept one byte at a time, and
/// outboxes that begin and end anywhere, each client with exactly the agreed window inflates the messages that were
/// published.
#[test]
fn every_client_reads_what_was_published() {
    std::thread::scope(|scope| (0..2).for_each(|_| _ = scope.spawn(read_what_was_published)));
}

/// Half of the cases.
fn read_what_was_published() {
    let referring = Cell::new(0);
    let mut runner = TestRunner::new(Cases { cases: 1_000, failure_persistence: None, ..Cases::default() });
    let tested = runner.run(&steps(), |steps| {
        referring.set(referring.get() + play(&steps).map_err(TestCaseError::fail)?);
        Ok(())
    });
    assert!(tested.is_ok(), "{tested:?}");
    assert!(referring.get() > 10_000, "{} messages refer to earlier ones", referring.get());
}

/// Control: the same cases find a position that is off by one.
#[test]
fn a_position_that_is_off_by_one_is_found_out() {
    PLANTED.set(1);
    let mut values = TestRunner::deterministic();
    let found = (0..200).filter(|_| play(&steps().new_tree(&mut values).unwrap().current()).is_err()).count();
    PLANTED.set(0);
    assert!(found > 20, "{found} of 200 cases found it");
}

fn one_session(steps: Vec<Step>) -> Vec<Step> {
    let join = Step::Join { bits: Some(15), is_kept: true, is_raw: false };
    let subscribe = |what| Step::Subscribe { who: 0, what: TOPICS.len() + what, last: 0, interval: false };
    let first = Step::Publish { topic: 0, payload: Payload::Quote(1), times: 1, except: None };
    [join, subscribe(0), subscribe(3), first, Step::Flush(usize::MAX)].into_iter().chain(steps).collect()
}

fn quotes(topic: usize, times: usize) -> Step {
    Step::Publish { topic, payload: Payload::Quote(2), times, except: None }
}

/// Messages beside one that is too long to be copied refer to earlier ones and are counted. (None of them had a
/// reference, and none was counted.)
#[test]
fn messages_beside_a_long_frame_refer_and_are_counted() {
    let large = |seed| Step::Publish { topic: 6, payload: Payload::Large(seed), times: 1, except: None };
    let steps = vec![quotes(0, 2), large(7), quotes(1, 2), large(8), quotes(0, 1), Step::Flush(usize::MAX)];
    assert_eq!(play(&one_session(steps)), Ok(4));
}

/// A partly written frame is completed as it was made, and is counted as that once it is written. The frames behind it
/// have no references.
#[test]
fn a_frame_that_waits_with_its_reference_is_counted() {
    for room in [1, 10, 30, 60, 100] {
        let steps = vec![Step::Room { who: 0, bytes: room }, quotes(0, 3), Step::Flush(usize::MAX), Step::Room { who: 0, bytes: 1 << 30 }];
        let whole = (room / 28) as u64;
        let referring = play(&one_session(steps)).unwrap();
        assert!((1..=whole + 1).contains(&referring), "{referring} with room for {room} bytes");
    }
}
