//! Tests of the answers and events of PROTOCOL section 3.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::codes::ErrorCode;
use crate::hub::{About, PresenceChange};
use crate::position::{Epoch, Offset, Position};

fn published(payload: impl AsRef<[u8]>, kind: PayloadKind) -> Message {
    published_at(Offset(18), payload, kind)
}

fn published_at(offset: Offset, payload: impl AsRef<[u8]>, kind: PayloadKind) -> Message {
    let about = About::of_test("chat.大厅", Position { epoch: Epoch::random(), offset }, kind);
    Message::new(About { published_at: Timestamp(1_732_233_600_123), ..about }, payload.as_ref())
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut json = Vec::new();
    write(&mut json);
    String::from_utf8(json).unwrap()
}

fn event_text(event: &Event<'_>) -> String {
    written(|json| super::event(json, event))
}

fn message_event(payload: impl AsRef<[u8]>, kind: PayloadKind, replay: bool) -> String {
    let published = published(payload, kind);
    written(|json| message(json, &published, replay)).replace(published.position.epoch.as_str(), "EPOCH")
}

#[test]
fn the_members_of_a_message_have_a_fixed_order() {
    let start = r#"{"op":"message","topic":"chat.大厅","epoch":"EPOCH","offset":18,"#;
    assert_eq!(message_event("187.30", PayloadKind::Json, false), format!(r#"{start}"data":187.30}}"#));
    assert_eq!(message_event("187.30", PayloadKind::Json, true), format!(r#"{start}"replay":true,"data":187.30}}"#));
}

/// JSON text is copied unchanged. Other text becomes a string, and other bytes become Base64.
#[test]
fn payloads_are_written_by_their_kinds() {
    let ends = |payload: &'static [u8], kind, end: &str| {
        let event = message_event(payload, kind, false);
        assert!(event.ends_with(end), "{event} does not end in {end}");
    };
    ends(b"{\"a\": 1.0}", PayloadKind::Text, r#","data":{"a": 1.0}}"#);
    ends(b"hi \"you\"\n\x01", PayloadKind::Text, r#","data":"hi \"you\"\n\u0001"}"#);
    ends(b"", PayloadKind::Text, r#","data":""}"#);
    ends(b"[1]", PayloadKind::Binary, r#","data":[1]}"#);
    ends(b"hi", PayloadKind::Binary, r#","data":"hi"}"#);
    ends(b"\xff\xfe\xfd\xfc", PayloadKind::Binary, r#","data_base64":"//79/A=="}"#);
}

#[test]
fn replies_are_written_as_in_the_contract() {
    let topic = TopicName::parse("quotes.AAPL").unwrap();
    let patterns = [Pattern::parse("quotes.AAPL").unwrap(), Pattern::parse("chat.>").unwrap()];
    let position = Position { epoch: Epoch::random(), offset: Offset(17) };
    let topics = [
        SubscribedTopic { topic: patterns[0].clone(), position: Some(position), recovered: Some(true) },
        SubscribedTopic { topic: patterns[1].clone(), position: None, recovered: None },
        SubscribedTopic { topic: patterns[1].clone(), position: None, recovered: Some(false) },
    ];
    let id = Some(RequestId("1"));
    assert_eq!(
        event_text(&Event::Subscribed { id, topics: &topics }),
        format!(
            r#"{{"op":"subscribed","id":1,"topics":[{{"topic":"quotes.AAPL","epoch":"{}","offset":17,"recovered":true}},{{"topic":"chat.>"}},{{"topic":"chat.>","recovered":false}}]}}"#,
            position.epoch
        )
    );
    assert_eq!(
        event_text(&Event::Unsubscribed { id: None, topics: &patterns }),
        r#"{"op":"unsubscribed","topics":["quotes.AAPL","chat.>"]}"#
    );
    assert_eq!(event_text(&Event::Subscriptions { id, topics: &[] }), r#"{"op":"subscriptions","id":1,"topics":[]}"#);
    assert_eq!(
        event_text(&Event::Published { id: RequestId("\"x\""), topic: &topic, offset: Offset(18) }),
        r#"{"op":"published","id":"x","topic":"quotes.AAPL","offset":18}"#
    );
    assert_eq!(
        event_text(&Event::Authenticated { id, user: Some(&"a\"b".into()), expires: Some(5) }),
        r#"{"op":"authenticated","id":1,"user":"a\"b","expires":5}"#
    );
    assert_eq!(event_text(&Event::Pong { id: None }), r#"{"op":"pong"}"#);
    assert_eq!(
        event_text(&Event::Error { id, code: ErrorCode::NotAllowed, message: "no \\" }),
        r#"{"op":"error","id":1,"code":"not_allowed","message":"no \\"}"#
    );
}

#[test]
fn events_are_written_as_in_the_contract() {
    let topic = TopicName::parse("chat.lobby").unwrap();
    let session = SessionId::random();
    assert_eq!(
        event_text(&Event::Welcome { session, ping_interval: Duration::from_secs(30), max_message_bytes: 65_536 }),
        format!(r#"{{"op":"welcome","session":"{session}","ping_interval_ms":30000,"max_message_bytes":65536}}"#)
    );
    let member = Member { session, user: None, info: None };
    let mut change = PresenceChange { topic: topic.clone(), member: member.clone(), joined: true };
    let tail = format!(r#","topic":"chat.lobby","member":{{"session":"{session}","user":null}}}}"#);
    assert_eq!(event_text(&Event::PresenceChange(&change)), format!(r#"{{"op":"join"{tail}"#));
    change.joined = false;
    assert_eq!(event_text(&Event::PresenceChange(&change)), format!(r#"{{"op":"leave"{tail}"#));
    assert_eq!(
        event_text(&Event::Presence { id: Some(RequestId("5")), topic: &topic, members: &[member] }),
        format!(r#"{{"op":"presence","id":5,"topic":"chat.lobby","count":1,"members":[{{"session":"{session}","user":null}}]}}"#)
    );
    assert_eq!(
        event_text(&Event::Gap { topic: &topic, from: Offset(19), to: Offset(u64::MAX), epoch: None }),
        r#"{"op":"gap","topic":"chat.lobby","from":19,"to":18446744073709551615}"#
    );
    assert_eq!(
        event_text(&Event::Gap { topic: &topic, from: Offset(1), to: Offset(2), epoch: Epoch::parse("abcd1234") }),
        r#"{"op":"gap","topic":"chat.lobby","epoch":"abcd1234","from":1,"to":2}"#
    );
    assert_eq!(
        event_text(&Event::Draining { retry_after: Duration::from_micros(3_120_900) }),
        r#"{"op":"draining","retry_after_ms":3120}"#
    );
}

#[test]
fn a_history_has_more_only_if_messages_are_left() {
    let topic = TopicName::parse("a").unwrap();
    let mut page = HistoryPage { epoch: None, messages: Vec::new(), more: false };
    let id = Some(RequestId("4"));
    let empty = event_text(&Event::History { id, topic: &topic, page: &page });
    assert_eq!(empty, r#"{"op":"history","id":4,"topic":"a","epoch":null,"messages":[]}"#);
    let message = published("1.50", PayloadKind::Json);
    let epoch = message.position.epoch;
    page = HistoryPage { epoch: Some(epoch), messages: vec![message, published(b"\xff", PayloadKind::Binary)], more: true };
    assert_eq!(
        written(|json| history_members(json, 0, &topic, &page)),
        format!(
            r#""topic":"a","epoch":"{epoch}","messages":[{{"offset":18,"ts":1732233600123,"data":1.50}},{{"offset":18,"ts":1732233600123,"data_base64":"/w=="}}],"more":true"#
        )
    );
}

fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?",
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just("true".to_owned()),
        Just("\"\\uD800\\/\"".to_owned()),
        Just("null".to_owned()),
    ];
    leaf.prop_recursive(5, 30, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[ {}]", items.join(" ,"))),
            prop::collection::vec(inner, 0..4)
                .prop_map(|items| format!("{{{}}}", items.iter().map(|item| format!("\"k\" :{item}")).collect::<Vec<_>>().join(", "))),
        ]
    })
}

proptest! {
    /// PROTOCOL 3: `data` has the bytes that were published.
    #[test]
    fn any_json_is_copied_byte_for_byte(data in any_json()) {
        let publish = format!(r#"{{"op":"publish","topic":"a","data":{data},"id":1}}"#);
        let request = crate::dialect::native::request(publish.as_bytes()).unwrap();
        let crate::dialect::Command::Publish { data: read, .. } = request.command else { panic!("not a publish") };
        let event = message_event(read, PayloadKind::Json, false);
        let end = format!(r#""offset":18,"data":{data}}}"#);
        prop_assert!(event.ends_with(&end), "{} does not end in {}", event, end);
        prop_assert_eq!(message_event(read, PayloadKind::Text, false), event);
    }

    #[test]
    fn strings_round_trip(value: String) {
        let json = written(|json| string(json, &value));
        prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), value);
    }

    /// Whatever the payload is, the event is one JSON object.
    #[test]
    fn any_payload_makes_one_json_object(payload: Vec<u8>) {
        let event = message_event(payload, PayloadKind::Binary, true);
        prop_assert!(is_json_text(event.as_bytes()), "{}", event);
    }

    #[test]
    fn numbers_are_written_in_decimal(value: u64) {
        prop_assert_eq!(written(|json| number(json, value)), value.to_string());
    }
}

/// PROTOCOL 7: `outbox_bytes` counts the length of a frame, so the frame's buffer has no spare room.
#[test]
fn message_bytes_is_exact_unless_text_is_escaped() {
    for (payload, kind, exact) in [
        (&b"{\"price\":187.3}"[..], PayloadKind::Json, true),
        (b"hello", PayloadKind::Text, true),
        (b"hello", PayloadKind::Binary, true),
        (b"\xff\x00\x01", PayloadKind::Binary, true),
        (b"\xff\x00\x01\x02", PayloadKind::Binary, true),
        (b"17", PayloadKind::Text, false),
        (b"say \"hi\"", PayloadKind::Text, false),
    ] {
        for (offset, replay) in [(0, false), (9, true), (10, false), (u64::MAX, true)] {
            let published = published_at(Offset(offset), payload, kind);
            let is_exact = written(|json| message(json, &published, replay)).len() == message_bytes(&published, replay);
            assert_eq!(is_exact, exact, "{published:?}");
        }
    }
}
