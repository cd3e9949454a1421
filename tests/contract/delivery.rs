//! PROTOCOL 7: the effect of each `on_slow` on a slow session, and none on other sessions.

use serde_json::{Value, json};

use crate::gateway::{Gateway, Session, Setup, eventually};

/// The number of messages that a test publishes. Their size is far past the outbox and the socket's buffers.
const COUNT: usize = 600;

/// The size of each message, in bytes.
const BYTES: usize = 5_000;

fn gateway() -> Gateway {
    Setup::new().without_rates().limits("outbox_bytes = 50000").start()
}

/// A message, whose bounds are its offset, or a gap. Both bounds are included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    from: u64,
    to: u64,
    is_gap: bool,
}

impl Range {
    fn message(offset: u64) -> Self {
        Self { from: offset, to: offset, is_gap: false }
    }
}

/// Reads messages and gaps up to the message with the offset `last`.
fn read_to_last(session: &mut Session, last: usize) -> Vec<Range> {
    let mut ranges = Vec::new();
    loop {
        let event = session.receive();
        if event["op"] == "gap" {
            ranges.push(Range { from: event["from"].as_u64().unwrap(), to: event["to"].as_u64().unwrap(), is_gap: true });
            continue;
        }
        let offset = event["offset"].as_u64().unwrap_or_else(|| panic!("neither gap nor message: {event}"));
        ranges.push(Range::message(offset));
        if offset == last as u64 {
            return ranges;
        }
    }
}

/// Asserts that each offset is in exactly one message or gap, in order from 1.
fn expect_contiguous(ranges: &[Range]) {
    let mut next = 1;
    for range in ranges {
        assert_eq!(range.from, next, "{next} is in no message and in no gap, or in two: {ranges:?}");
        next = range.to + 1;
    }
}

/// PROTOCOL 7: `conflate`: the newest message arrives, offsets rise, and there is no gap.
#[test]
fn conflate_delivers_the_newest_message() {
    let gateway = gateway();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["quotes.A"]);
    gateway.publish_many("quotes.A", COUNT, BYTES);
    let received = read_to_last(&mut slow, COUNT);
    assert!(received.len() < COUNT && received.iter().all(|range| !range.is_gap), "{} events", received.len());
    assert!(received.is_sorted_by_key(|range| range.from), "{received:?}");
    gateway.expect_limit_hit("outbox_bytes");
    gateway.expect_metric("messages_conflated_total{rule=\"quotes.>\"}", (COUNT - received.len()) as f64);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 7: `conflate`: each topic keeps its newest.
#[test]
fn conflation_keeps_the_newest_of_each_topic() {
    let gateway = gateway();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["quotes.>"]);
    for _ in 0..COUNT / 15 {
        ["quotes.A", "quotes.B", "quotes.C"].into_iter().for_each(|topic| gateway.publish_many(topic, 5, BYTES));
    }
    let mut newest = std::collections::BTreeMap::new();
    while newest.values().filter(|offset| **offset == (COUNT / 3) as u64).count() < 3 {
        let event = slow.receive();
        newest.insert(event["topic"].to_string(), event["offset"].as_u64().unwrap());
    }
    gateway.expect_accounts_closed();
}

/// PROTOCOL 7: `drop_oldest`: a `gap` before the topic's next message has each dropped message, and no other.
#[test]
fn drop_oldest_sends_gaps_for_dropped_messages() {
    let gateway = gateway();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["test.a"]);
    gateway.publish_many("test.a", COUNT, BYTES);
    let received = read_to_last(&mut slow, COUNT);
    expect_contiguous(&received);
    let dropped: u64 = received.iter().filter(|range| range.is_gap).map(|range| range.to - range.from + 1).sum();
    assert!(dropped > 0, "nothing was dropped");
    gateway.expect_limit_hit("outbox_bytes");
    gateway.expect_metric("messages_dropped_total{rule=\"test.>\",reason=\"slow\"}", dropped as f64);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: a gap has a topic and two bounds.
#[test]
fn a_gap_names_topic_and_range() {
    let gateway = gateway();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["test.a"]);
    gateway.publish_many("test.a", COUNT, BYTES);
    let gap = std::iter::repeat_with(|| slow.receive()).find(|event| event["op"] == "gap").unwrap();
    assert_eq!(gap, json!({"op": "gap", "topic": "test.a", "from": gap["from"], "to": gap["to"]}));
    let next = slow.receive();
    assert_eq!(next["offset"].as_u64(), gap["to"].as_u64().map(|to| to + 1), "the gap ends before the next message");
    gateway.expect_accounts_closed();
}

/// PROTOCOL 4: the raw dialect has no event for dropped messages.
#[test]
fn the_raw_dialect_has_no_gaps() {
    let gateway = gateway();
    let mut raw = gateway.slow_session_at("/raw/test.a");
    gateway.publish_many("test.a", COUNT, BYTES);
    let number = |payload: &str| payload.trim_matches('"').split('_').next().unwrap().parse::<usize>();
    let mut numbers = std::iter::repeat_with(|| number(&raw.next_message().unwrap().text()).expect("a payload begins with its number"));
    let before_last = numbers.by_ref().take_while(|number| *number != COUNT).count();
    assert!(before_last < COUNT - 1, "nothing was dropped");
    gateway.expect_accounts_closed();
}

/// PROTOCOL 7: `replay`, the default of a rule with history: a slow session reads on from history. It misses no
/// message, and its outbox stays small.
#[test]
fn replay_reads_on_from_history() {
    for lines in ["history = 1000", "history = 1000\non_slow = \"replay\""] {
        let gateway = Setup::new().without_rates().limits("outbox_bytes = 50000").rule("chat.>", lines).start();
        let (mut slow, mut fast) = (gateway.slow_session(), gateway.session());
        slow.subscribe(&["chat.a"]);
        fast.subscribe(&["chat.a"]);
        gateway.publish_many("chat.a", COUNT, BYTES);
        assert_eq!(read_to_last(&mut fast, COUNT), (1..=COUNT as u64).map(Range::message).collect::<Vec<_>>());
        let slowest = gateway.admin("/v1/sessions?limit=1").json()["sessions"][0]["outbox_bytes"].as_u64().unwrap();
        assert!(slowest < 150_000, "{slowest} bytes are queued");
        gateway.publish_many("chat.a", 2, 10);
        assert_eq!(read_to_last(&mut slow, COUNT + 2), (1..=COUNT as u64 + 2).map(Range::message).collect::<Vec<_>>());
        gateway.publish("chat.a", "1");
        let live = slow.receive();
        assert_eq!((&live["offset"], &live["replay"]), (&json!(COUNT + 3), &Value::Null), "it has caught up");
        gateway.expect_accounts_closed();
    }
}

/// PROTOCOL 7: `replay`: a `gap` has the messages that history no longer has.
#[test]
fn replay_sends_a_gap_where_history_has_moved_on() {
    let gateway = Setup::new().without_rates().rule("chat.>", "history = 50\non_slow = \"replay\"").start();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["chat.a"]);
    gateway.publish_many("chat.a", COUNT, BYTES);
    let received = read_to_last(&mut slow, COUNT);
    expect_contiguous(&received);
    assert!(received.iter().any(|range| range.is_gap), "history had all messages");
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3 and 7: `interval_ms` conflates, also where the rule has `replay`.
#[test]
fn an_interval_conflates_where_the_rule_replays() {
    let gateway = Setup::new().without_rates().limits("outbox_bytes = 50000").rule("chat.>", "history = 1000").start();
    let mut slow = gateway.slow_session();
    slow.subscribe_with(&["chat.a"], json!({"interval_ms": 10}));
    gateway.publish_many("chat.a", COUNT, BYTES);
    let received = read_to_last(&mut slow, COUNT);
    assert!(received.len() < COUNT / 2, "{} of {COUNT}", received.len());
    gateway.expect_accounts_closed();
}

/// PROTOCOL 6 and 7: `disconnect`: the session is closed with 4004 and leaves the accounts at once. A new session
/// recovers.
#[test]
fn disconnect_closes_a_session_which_can_recover() {
    let setup = Setup::new().without_rates().limits("outbox_bytes = 50000").rule("chat.>", "history = 1000\non_slow = \"disconnect\"");
    let gateway = setup.start();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["chat.a"]);
    gateway.publish_many("chat.a", COUNT, BYTES);
    gateway.expect_metric("sessions_closed_total{reason=\"slow\"}", 1.0);
    gateway.expect_metric("sessions", 0.0);
    gateway.expect_limit_hit("outbox_bytes");
    let (events, code) = slow.read_to_close();
    assert!(code == 4004 || code == 1006, "closed with {code}");
    let offsets: Vec<_> = events.iter().map(|event| event["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, (1..=offsets.len() as u64).collect::<Vec<_>>(), "the messages before the Close have no hole");
    let last = events.last().expect("messages came before the Close");
    let mut resumed = gateway.session();
    let entries = resumed.subscribe_with(&["chat.a"], json!({"since": {"chat.a": {"epoch": last["epoch"], "offset": last["offset"]}}}));
    assert_eq!(entries[0]["recovered"], true);
    let rest: Vec<_> = resumed.receive_all(COUNT - events.len()).iter().map(|event| event["offset"].as_u64().unwrap()).collect();
    assert_eq!(rest, (offsets.len() as u64 + 1..=COUNT as u64).collect::<Vec<_>>());
    gateway.expect_accounts_closed();
}

/// PROTOCOL 6: a client that reads within 2 s of its Close gets the 4004.
#[test]
fn a_slow_client_that_reads_gets_4004() {
    let gateway = Setup::new().without_rates().limits("outbox_bytes = 50000").start();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["chat.a"]);
    gateway.publish_many("chat.a", COUNT, BYTES);
    assert_eq!(slow.read_to_close().1, 4004);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 7: a slow session costs another session no message.
#[test]
fn a_slow_session_costs_another_no_message() {
    let gateway = gateway();
    let (mut slow, mut fast) = (gateway.slow_session(), gateway.session());
    slow.subscribe(&["chat.a", "test.a"]);
    fast.subscribe(&["chat.a"]);
    for round in 0..COUNT as u64 / 10 {
        gateway.publish_many("chat.a", 2, BYTES);
        gateway.publish_many("test.a", 8, BYTES);
        let offsets: Vec<_> = fast.receive_all(2).iter().map(|event| event["offset"].as_u64().unwrap()).collect();
        assert_eq!(offsets, [2 * round + 1, 2 * round + 2]);
    }
    gateway.expect_metric("sessions_closed_total{reason=\"slow\"}", 1.0);
    fast.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 7: a message of a `disconnect` topic does not close the session where conflating other topics frees enough.
#[test]
fn conflation_makes_room_for_other_rules() {
    let gateway = gateway();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["quotes.>", "chat.a"]);
    gateway.publish_many("quotes.A", COUNT, BYTES);
    gateway.publish("chat.a", "1");
    let chat = std::iter::repeat_with(|| slow.receive()).find(|event| event["topic"] == "chat.a").unwrap();
    assert_eq!(chat["offset"], 1);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 7: a queued message older than `max_age` is dropped with a gap, and counted with `reason="age"`.
#[test]
fn messages_past_max_age_are_dropped() {
    let rule = "history = 0\non_slow = \"drop_oldest\"\nmax_age = \"100ms\"";
    let gateway = Setup::new().without_rates().rule("test.aged", rule).start();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["test.aged"]);
    gateway.publish_many("test.aged", 150, BYTES);
    eventually("messages to be dropped for their age", || {
        (gateway.metrics().value("messages_dropped_total{rule=\"test.aged\",reason=\"age\"}") > 0.0).then_some(())
    });
    let last = gateway.publish("test.aged", "1");
    expect_contiguous(&read_to_last(&mut slow, usize::try_from(last.offset).unwrap()));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 7: past `outbox_total_bytes` a shard trims its fullest outboxes by their rules, with `reason="total"`.
#[test]
fn all_outboxes_together_are_bounded() {
    let setup = Setup::new().without_rates().limits("outbox_total_bytes = 200000\noutbox_bytes = 4000000");
    let gateway = setup.start();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["test.a"]);
    gateway.publish_many("test.a", COUNT, BYTES);
    gateway.expect_limit_hit("outbox_total_bytes");
    expect_contiguous(&read_to_last(&mut slow, COUNT));
    assert!(gateway.metrics().value("messages_dropped_total{rule=\"test.>\",reason=\"total\"}") > 0.0);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 6 and 7: past `outbox_total_bytes`, a session whose rule is `disconnect` is closed with 1013.
#[test]
fn past_the_total_disconnect_closes_with_1013() {
    let setup = Setup::new().without_rates().limits("outbox_total_bytes = 200000\noutbox_bytes = 4000000");
    let gateway = setup.start();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["chat.a"]);
    gateway.publish_many("chat.a", COUNT, BYTES);
    gateway.expect_metric("sessions_closed_total{reason=\"too_full\"}", 1.0);
    let (_, code) = slow.read_to_close();
    assert!(code == 1013 || code == 1006, "closed with {code}");
    gateway.expect_accounts_closed();
}

/// PROTOCOL 9: the queued messages of a session that ends are dropped with `reason="closed"`.
#[test]
fn queued_messages_of_an_ended_session_are_dropped() {
    let gateway = Setup::new().without_rates().start();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["test.a"]);
    gateway.publish_many("test.a", 150, BYTES);
    gateway.expect_metric("messages_routed_total{rule=\"test.>\"}", 150.0);
    slow.cut();
    gateway.expect_metric("sessions", 0.0);
    gateway.expect_accounts_closed();
    let samples = gateway.metrics();
    assert!(samples.value("messages_dropped_total{rule=\"test.>\",reason=\"closed\"}") > 0.0);
    assert_eq!((samples.value("outbox_messages{rule=\"test.>\"}"), samples.value("outbox_bytes")), (0.0, 0.0));
}

/// PROTOCOL 9: `outbox_bytes` and `slow_sessions` rise for a client that does not read, and fall once it has read.
#[test]
fn a_slow_session_shows_in_the_metrics() {
    let gateway = Setup::new().without_rates().start();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["test.a"]);
    gateway.publish_many("test.a", 150, BYTES);
    eventually("the session to be slow", || {
        let samples = gateway.metrics();
        (samples.value("slow_sessions") == 1.0 && samples.value("outbox_bytes") > 0.0).then_some(())
    });
    let offsets: Vec<Value> = slow.receive_all(150).iter().map(|event| event["offset"].clone()).collect();
    assert_eq!(offsets, (1..=150).map(Value::from).collect::<Vec<_>>(), "below the bound nothing is dropped");
    gateway.expect_metric("slow_sessions", 0.0);
    gateway.expect_metric("outbox_bytes", 0.0);
    gateway.expect_accounts_closed();
}
