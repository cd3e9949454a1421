//! Tests of the frames of streams.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::hub::{About, PayloadKind};
use crate::position::{Epoch, Offset, Position};
use crate::session_id::SessionId;
use crate::topic_name::{Pattern, TopicName};

const EVENTS: Framing = Framing::EventStream { is_chunked: true };
const LINES: Framing = Framing::Lines { is_chunked: true };

fn topic() -> TopicName {
    TopicName::parse("chat.a").unwrap()
}

fn at(offset: u64) -> Position {
    Position { epoch: Epoch::parse("k3f9x2ab").unwrap(), offset: Offset(offset) }
}

fn message(payload: impl AsRef<[u8]>, kind: PayloadKind) -> Message {
    Message::new(About::of_test("chat.a", at(18), kind), payload.as_ref())
}

/// The text in the chunks of `body`.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    while !body.is_empty() {
        let end = body.windows(2).position(|pair| pair == CRLF).unwrap();
        let bytes = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        let (chunk, rest) = body[end + 2..].split_at(bytes);
        text.extend_from_slice(chunk);
        body = rest.strip_prefix(CRLF).unwrap();
    }
    text
}

fn data_of(framing: Framing, payload: &[u8]) -> String {
    let encoding = Encoding { dialect: Dialect::Raw, framing };
    String::from_utf8(unchunked(&of_message(&message(payload, PayloadKind::Text), encoding, false))).unwrap()
}

/// The events that an EventSource dispatches for a stream's text: name, data and last `id` (the HTML standard, "Interpreting an event
/// stream").
fn events(text: &str) -> Vec<(String, String, String)> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut id) = (Vec::new(), String::new());
    let (mut name, mut data) = (String::new(), Vec::new());
    for line in text.split('\n') {
        if line.is_empty() {
            if !data.is_empty() {
                events.push((std::mem::take(&mut name), data.join("\n"), id.clone()));
            }
            (name, data) = (String::new(), Vec::new());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value.to_owned(),
            "data" => data.push(value.to_owned()),
            "id" => id = value.to_owned(),
            _ => {}
        }
    }
    events
}

/// PROTOCOL 11: a message is an event without a name, whose data is the native object. Its `id` is in the same chunk.
#[test]
fn a_message_has_its_id_in_the_same_chunk() {
    let message = message(r#"{"price":187.30}"#, PayloadKind::Json);
    let native = r#"{"op":"message","topic":"chat.a","epoch":"k3f9x2ab","offset":18,"data":{"price":187.30}}"#;
    let mut before_replay = StreamPosition::new([Pattern::parse("chat.a"), Pattern::parse("b.>")].map(Result::ok).into_iter());
    before_replay.advance(&topic(), at(18));
    for is_chunked in [true, false] {
        let framing = Framing::EventStream { is_chunked };
        let frame = of_message(&message, Encoding { dialect: Dialect::Json, framing }, false);
        let mut stamped = b"before".to_vec();
        let replaced = stamp(&mut stamped, &before_replay, &frame, framing);
        stamped.extend_from_slice(&frame[replaced..]);
        let text = if is_chunked { unchunked(&stamped[6..]) } else { stamped[6..].to_vec() };
        assert_eq!(String::from_utf8(text).unwrap(), format!("id: k3f9x2ab:18,-\ndata: {native}\n\n"));
    }
    let line = of_message(&message, Encoding { dialect: Dialect::Json, framing: LINES }, false);
    assert_eq!(unchunked(&line), format!("{native}\n").into_bytes());
}

/// PROTOCOL 11: in an event a line feed begins a further `data` line, and a carriage return becomes a line feed. In a line both become
/// spaces.
#[test]
fn line_ends_in_a_payload_are_replaced() {
    assert_eq!(data_of(EVENTS, b" a\nb\r\nc\r"), "data:  a\ndata: b\ndata: \ndata: c\ndata: \n\n");
    assert_eq!(data_of(LINES, b" a\nb\r\nc\r"), " a b  c \n");
}

/// PROTOCOL 11: events of the gateway have names, so that `onmessage` does not receive them.
#[test]
fn events_have_names() {
    let json = Encoding { dialect: Dialect::Json, framing: EVENTS };
    let text = |event: &Event<'_>, encoding| of_event(event, encoding).map(|frame| String::from_utf8(unchunked(&frame)).unwrap());
    let gap = Event::Gap { topic: &topic(), from: Offset(2), to: Offset(5), epoch: None };
    assert_eq!(text(&gap, json).unwrap(), "event: gap\ndata: {\"op\":\"gap\",\"topic\":\"chat.a\",\"from\":2,\"to\":5}\n\n");
    let welcome = Event::Welcome { session: SessionId::from_number(1), ping_interval: Duration::ZERO, max_message_bytes: 1 };
    assert_eq!(text(&welcome, json).unwrap(), ": belfry 0000000000000001\nretry: 2000\n\n");
    let draining = Event::Draining { retry_after: Duration::from_millis(3120) };
    assert_eq!(text(&draining, json).unwrap(), "retry: 3120\n\n");
    let lines = Encoding { framing: LINES, ..json };
    assert_eq!(text(&welcome, lines), None);
    assert_eq!(text(&draining, lines).unwrap(), "{\"op\":\"draining\",\"retry_after_ms\":3120}\n");
    let raw = Encoding { dialect: Dialect::Raw, framing: EVENTS };
    assert_eq!((text(&gap, raw), text(&gap, Encoding { dialect: Dialect::Raw, framing: LINES })), (None, None));
    assert_eq!(text(&draining, raw).unwrap(), "retry: 3120\n\n");
}

/// PROTOCOL 11: the first event has the position of each topic. A client that is disconnected before a replay resumes before the replay.
#[test]
fn the_first_event_has_the_position_of_the_stream() {
    let mut announced = StreamPosition::new([Pattern::parse("chat.a").ok()].into_iter());
    let mut before_replay = announced.clone();
    announced.advance(&topic(), at(18));
    before_replay.advance(&topic(), at(16));
    let encoding = Encoding { dialect: Dialect::Json, framing: EVENTS };
    let begun = |before_replay: &StreamPosition| {
        let event = Event::StreamBegun { topics: &[], announced: &announced, before_replay };
        String::from_utf8(unchunked(&of_event(&event, encoding).unwrap())).unwrap()
    };
    let first = "event: subscribed\nid: k3f9x2ab:18\ndata: {\"op\":\"subscribed\",\"topics\":[]}\n\n";
    assert_eq!(begun(&announced), first);
    assert_eq!(begun(&before_replay), format!("{first}id: k3f9x2ab:16\n\n"));
}

/// PROTOCOL 11: a drain ends a stream without a last event. Otherwise the last event has the code that a Close frame would have.
#[test]
fn the_last_event_has_the_close_code() {
    let goodbye = |dialect, framing, code| {
        let frame = goodbye(Encoding { dialect, framing }, code, "why");
        String::from_utf8(frame.to_vec()).unwrap()
    };
    let error = r#"{"op":"error","code":4009,"message":"why"}"#;
    assert_eq!(goodbye(Dialect::Json, EVENTS, Some(1001)), "0\r\n\r\n");
    assert_eq!(goodbye(Dialect::Json, Framing::EventStream { is_chunked: false }, Some(4009)), format!("event: error\ndata: {error}\n\n"));
    assert_eq!(goodbye(Dialect::Json, LINES, Some(4009)), format!("2b\r\n{error}\n\r\n0\r\n\r\n"));
    assert_eq!(goodbye(Dialect::Raw, LINES, Some(4009)), "0\r\n\r\n");
    assert!(goodbye(Dialect::Raw, EVENTS, Some(4009)).contains(error));
}

proptest! {
    /// An EventSource dispatches one event for any payload, in which each carriage return has become a line feed.
    #[test]
    fn any_payload_is_one_event(payload in "[a-c:\n\r ]{0,12}|.{0,20}") {
        let text = data_of(EVENTS, payload.as_bytes());
        prop_assert_eq!(events(&text), [(String::new(), payload.replace('\r', "\n"), String::new())]);
        let line = data_of(LINES, payload.as_bytes());
        prop_assert_eq!(line, payload.replace(['\n', '\r'], " ") + "\n");
    }
}
