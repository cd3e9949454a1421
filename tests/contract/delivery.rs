//! PROTOCOL 7: what each rule does for a slow session, and that nobody else notices.

use serde_json::{Value, json};

use crate::gateway::{Gateway, Session, Setup, eventually};

/// How many messages a test publishes; far past the outbox and what the kernel holds.
const COUNT: usize = 600;

/// The size of each, in bytes.
const BYTES: usize = 5_000;

fn gateway() -> Gateway {
    Setup::new().without_rates().limits("outbox_bytes = 50000").start()
}

/// The numbers that the messages begin with, and for each gap its first and last offset.
fn read_to_last(session: &mut Session, last: usize) -> Vec<(u64, u64, bool)> {
    let mut seen = Vec::new();
    loop {
        let event = session.receive();
        if event["op"] == "gap" {
            seen.push((event["from"].as_u64().unwrap(), event["to"].as_u64().unwrap(), true));
            continue;
        }
        let offset = event["offset"].as_u64().unwrap_or_else(|| panic!("neither gap nor message: {event}"));
        seen.push((offset, offset, false));
        if offset == last as u64 {
            return seen;
        }
    }
}

/// PROTOCOL 7: `conflate`: the last value arrives, in order, and no gap is told.
#[test]
fn a_slow_session_gets_the_latest_where_the_rule_conflates() {
    let gateway = gateway();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["quotes.A"]);
    gateway.publish_many("quotes.A", COUNT, BYTES);
    let seen = read_to_last(&mut slow, COUNT);
    assert!(seen.len() < COUNT && seen.iter().all(|(.., gap)| !gap), "{} events", seen.len());
    assert!(seen.is_sorted_by_key(|(from, ..)| *from), "in order");
    gateway.expect_limit_hit("outbox_bytes");
    gateway.expect_metric("messages_conflated_total{rule=\"quotes.>\"}", (COUNT - seen.len()) as f64);
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

/// PROTOCOL 7: `drop_oldest`: each drop is told by a `gap`, before the topic's next message, exactly.
#[test]
fn a_slow_session_is_told_its_gaps_where_the_oldest_is_dropped() {
    let gateway = gateway();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["test.a"]);
    gateway.publish_many("test.a", COUNT, BYTES);
    let mut next = 1;
    let seen = read_to_last(&mut slow, COUNT);
    for (from, to, _) in &seen {
        assert_eq!(*from, next, "no message and no gap says what became of {next}");
        next = to + 1;
    }
    let dropped: u64 = seen.iter().filter(|(.., gap)| *gap).map(|(from, to, _)| to - from + 1).sum();
    assert!(dropped > 0, "nothing was dropped");
    gateway.expect_limit_hit("outbox_bytes");
    gateway.expect_metric("messages_dropped_total{rule=\"test.>\",reason=\"slow\"}", dropped as f64);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: a gap has these members.
#[test]
fn a_gap_names_topic_and_range() {
    let gateway = gateway();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["test.a"]);
    gateway.publish_many("test.a", COUNT, BYTES);
    let gap = std::iter::repeat_with(|| slow.receive()).find(|event| event["op"] == "gap").unwrap();
    assert_eq!(gap, json!({"op": "gap", "topic": "test.a", "from": gap["from"], "to": gap["to"]}));
    let next = slow.receive();
    assert_eq!(next["offset"].as_u64(), gap["to"].as_u64().map(|to| to + 1), "the gap is just before the next message");
    gateway.expect_accounts_closed();
}

/// PROTOCOL 4: drops are silent in the raw dialect.
#[test]
fn drops_are_silent_in_the_raw_dialect() {
    let gateway = gateway();
    let mut raw = gateway.slow_session_at("/raw/test.a");
    gateway.publish_many("test.a", COUNT, BYTES);
    let number = |payload: &str| payload.trim_matches('"').split('_').next().unwrap().parse::<usize>();
    let numbers = std::iter::repeat_with(|| number(&raw.next_message().unwrap().text()).expect("payloads alone come"));
    let mut seen = 0;
    for number in numbers {
        seen += 1;
        if number == COUNT {
            break;
        }
    }
    assert!(seen < COUNT, "nothing was dropped");
    gateway.expect_accounts_closed();
}

/// PROTOCOL 7: `replay`: a slow session reads on from history as it takes more; nothing is lost, and next to nothing is queued. It is
/// what a rule with a history does that says nothing else.
#[test]
fn a_slow_session_reads_on_from_history_where_the_rule_replays() {
    for lines in ["history = 1000", "history = 1000\non_slow = \"replay\""] {
        let gateway = Setup::new().without_rates().limits("outbox_bytes = 50000").rule("chat.>", lines).start();
        let (mut slow, mut fast) = (gateway.slow_session(), gateway.session());
        slow.subscribe(&["chat.a"]);
        fast.subscribe(&["chat.a"]);
        gateway.publish_many("chat.a", COUNT, BYTES);
        let heard = read_to_last(&mut fast, COUNT);
        assert_eq!(heard, (1..=COUNT as u64).map(|offset| (offset, offset, false)).collect::<Vec<_>>());
        let slowest = gateway.admin("/v1/sessions?limit=1").json()["sessions"][0]["outbox_bytes"].as_u64().unwrap();
        assert!(slowest < 150_000, "{slowest} bytes are queued");
        gateway.publish_many("chat.a", 2, 10);
        let heard = read_to_last(&mut slow, COUNT + 2);
        assert_eq!(heard, (1..=COUNT as u64 + 2).map(|offset| (offset, offset, false)).collect::<Vec<_>>());
        gateway.publish("chat.a", "1");
        let live = slow.receive();
        assert_eq!((&live["offset"], &live["replay"]), (&json!(COUNT + 3), &Value::Null), "it has caught up");
        gateway.expect_accounts_closed();
    }
}

/// PROTOCOL 7: `replay`: where history has moved on, a gap says what did not come; what comes and the gaps are all there was.
#[test]
fn a_gap_tells_where_history_has_moved_on() {
    let gateway = Setup::new().without_rates().rule("chat.>", "history = 50\non_slow = \"replay\"").start();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["chat.a"]);
    gateway.publish_many("chat.a", COUNT, BYTES);
    let heard = read_to_last(&mut slow, COUNT);
    let mut next = 1;
    for &(from, to, _) in &heard {
        assert_eq!(from, next, "{heard:?}");
        next = to + 1;
    }
    assert!(heard.iter().any(|&(_, _, is_gap)| is_gap) && next == COUNT as u64 + 1);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 7: under an interval the newest message is queued, as the interval has it, and no other.
#[test]
fn a_paced_topic_is_not_read_on() {
    let gateway = Setup::new().without_rates().limits("outbox_bytes = 50000").rule("chat.>", "history = 1000").start();
    let mut slow = gateway.slow_session();
    slow.subscribe_with(&["chat.a"], json!({"interval_ms": 10}));
    gateway.publish_many("chat.a", COUNT, BYTES);
    let heard = read_to_last(&mut slow, COUNT);
    assert!(heard.len() < COUNT / 2, "{} of {COUNT}", heard.len());
    gateway.expect_accounts_closed();
}

/// PROTOCOL 7 and 6: `disconnect`: 4004, out of the accounts at once; and then recovery works.
#[test]
fn a_slow_session_is_closed_and_recovers_where_the_rule_disconnects() {
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
    assert_eq!(offsets, (1..=offsets.len() as u64).collect::<Vec<_>>(), "what came came without a hole");
    let last = events.last().expect("some came");
    let mut back = gateway.session();
    let entries = back.subscribe_with(&["chat.a"], json!({"since": {"chat.a": {"epoch": last["epoch"], "offset": last["offset"]}}}));
    assert_eq!(entries[0]["recovered"], true);
    let rest: Vec<_> = back.receive_all(COUNT - events.len()).iter().map(|event| event["offset"].as_u64().unwrap()).collect();
    assert_eq!(rest, (offsets.len() as u64 + 1..=COUNT as u64).collect::<Vec<_>>());
    gateway.expect_accounts_closed();
}

/// PROTOCOL 6: a session that reads again at once sees its 4004.
#[test]
fn a_slow_session_that_reads_sees_4004() {
    let gateway = Setup::new().without_rates().limits("outbox_bytes = 50000").start();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["chat.a"]);
    gateway.publish_many("chat.a", COUNT, BYTES);
    assert_eq!(slow.read_to_close().1, 4004);
    gateway.expect_accounts_closed();
}

/// P4: one slow session does not slow another.
#[test]
fn another_session_does_not_notice_a_slow_one() {
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

/// PROTOCOL 7: where queued messages of `conflate` topics free enough, a message of a `disconnect` topic closes nothing.
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

/// PROTOCOL 7: `max_age`: what is too old in the queue is dropped, told by a gap, counted as `age`.
#[test]
fn what_is_too_old_is_given_up() {
    let rule = "history = 0\non_slow = \"drop_oldest\"\nmax_age = \"100ms\"";
    let gateway = Setup::new().without_rates().rule("test.aged", rule).start();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["test.aged"]);
    gateway.publish_many("test.aged", 150, BYTES);
    eventually("some to be given up for their age", || {
        (gateway.metrics().value("messages_dropped_total{rule=\"test.aged\",reason=\"age\"}") > 0.0).then_some(())
    });
    let last = gateway.publish("test.aged", "1");
    let mut next = 1;
    for (from, to, _) in read_to_last(&mut slow, usize::try_from(last.offset).unwrap()) {
        assert_eq!(from, next, "no message and no gap says what became of {next}");
        next = to + 1;
    }
    gateway.expect_accounts_closed();
}

/// PROTOCOL 7: past `outbox_total_bytes` a shard trims its fullest outboxes as their rules allow, reason `total`.
#[test]
fn all_outboxes_together_are_bounded() {
    let setup = Setup::new().without_rates().limits("outbox_total_bytes = 200000\noutbox_bytes = 4000000");
    let gateway = setup.start();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["test.a"]);
    gateway.publish_many("test.a", COUNT, BYTES);
    gateway.expect_limit_hit("outbox_total_bytes");
    let mut next = 1;
    for (from, to, _) in read_to_last(&mut slow, COUNT) {
        assert_eq!(from, next, "no message and no gap says what became of {next}");
        next = to + 1;
    }
    assert!(gateway.metrics().value("messages_dropped_total{rule=\"test.>\",reason=\"total\"}") > 0.0);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 6 and 7: past the total, where a rule would disconnect: 1013.
#[test]
fn past_the_total_a_session_is_told_to_try_again_later() {
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

/// PROTOCOL 9: what a closing session leaves is dropped with `reason="closed"`.
#[test]
fn what_a_closing_session_leaves_is_dropped() {
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

/// PROTOCOL 9: `outbox_bytes` and `slow_sessions` tell of a session that stands still, and of its recovery.
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
    assert_eq!(offsets, (1..=150).map(Value::from).collect::<Vec<_>>(), "below the bound nothing is lost");
    gateway.expect_metric("slow_sessions", 0.0);
    gateway.expect_metric("outbox_bytes", 0.0);
    gateway.expect_accounts_closed();
}
