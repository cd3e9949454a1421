//! Tests of both encodings with recorded messages. A vector is one message in JSON and in length-prefixed protobuf, written by another
//! implementation of the schema.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::config::Rule;
use crate::hub::{About, Extra, Message, PayloadKind};
use crate::position::{Epoch, Offset, Position};
use crate::session_id::{Member, MemberInfo, SessionId};

const COMMANDS: &str = include_str!("../../../tests/vectors/centrifugo/codec-commands.json");
const REPLIES: &str = include_str!("../../../tests/vectors/centrifugo/codec-replies.json");

#[derive(Deserialize)]
struct Vector {
    name: String,
    json: String,
    protobuf: String,
}

impl Vector {
    fn all(text: &str) -> Vec<Self> {
        serde_json::from_str(text).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        let digit = |at| u8::from_str_radix(&self.protobuf[at..at + 2], 16).unwrap();
        (0..self.protobuf.len()).step_by(2).map(digit).collect()
    }
}

/// Both encodings of a command are parsed to the same value.
#[test]
fn commands_are_read_alike_in_both_encodings() {
    let vectors = Vector::all(COMMANDS);
    assert_eq!(vectors.len(), 22);
    for vector in vectors {
        let bytes = vector.bytes();
        let (line, all) = Wire::Json.split(vector.json.as_bytes()).unwrap();
        assert_eq!(all, vector.json.len(), "{}", vector.name);
        let (message, all) = Wire::Protobuf.split(&bytes).unwrap();
        assert_eq!(all, bytes.len(), "{}", vector.name);
        let read = (Wire::Json.command(line), Wire::Protobuf.command(message));
        assert!(read.0.is_ok(), "{}", vector.name);
        assert_eq!(read.0, read.1, "{}", vector.name);
    }
}

#[test]
fn fields_of_commands_are_found_in_any_order() {
    let read = |json: &'static str| Wire::Json.command(json.as_bytes()).unwrap();
    let Command { id, operation: Operation::Subscribe(subscribe) } = read(
        r#"{"subscribe":{"channel":"chat:室","token":"h.p.s","recover":true,"epoch":"k3","offset":9007199254740993,"data":{"last":1},"join_leave":true,"delta":"fossil","flag":3},"id":2}"#,
    ) else {
        panic!("no subscribe");
    };
    assert_eq!((id, &*subscribe.channel, &*subscribe.token, subscribe.data), (2, "chat:室", "h.p.s", &br#"{"last":1}"#[..]));
    assert_eq!(subscribe.position, ClientPosition { recover: true, offset: 9_007_199_254_740_993, epoch: "k3".into() });
    assert_eq!((subscribe.join_leave, &*subscribe.delta, subscribe.flag, subscribe.has_filter), (true, "fossil", 3, false));
    let history = read(r#"{"id":7,"history":{"channel":"a","limit":-1,"since":{"offset":12},"reverse":true}}"#).operation;
    let since = Some((12, "".into()));
    assert_eq!(history, Operation::History(History { channel: "a".into(), limit: -1, since, reverse: true }));
    assert_eq!(
        read(r#"{"id":1,"publish":{"data":null,"channel":"a"}}"#).operation,
        Operation::Publish { channel: "a".into(), data: b"null" }
    );
    assert_eq!(read(r#"{"id":1,"ping":{},"connect":{"token":null},"new":[1]}"#).operation, Operation::Connect(Connect::default()));
    assert_eq!(read("{}"), Command { id: 0, operation: Operation::Nothing });
}

/// A frame is split into its commands. A line feed may end it. An empty line or frame is unreadable.
#[test]
fn a_frame_is_split_into_its_commands() {
    assert_eq!(Wire::Json.split(b"{}\n{\"id\":1}"), Ok((&b"{}"[..], 3)));
    assert_eq!(Wire::Json.split(b"{}\n"), Ok((&b"{}"[..], 3)));
    assert_eq!(Wire::Json.split(b"{}"), Ok((&b"{}"[..], 2)));
    assert_eq!(Wire::Protobuf.split(&[2, 8, 1, 0]), Ok((&[8, 1][..], 3)));
    assert_eq!(Wire::Protobuf.split(&[0]), Ok((&[][..], 1)));
    for (wire, frame) in [(Wire::Json, &b""[..]), (Wire::Json, b"\n{}"), (Wire::Protobuf, b""), (Wire::Protobuf, &[3, 8, 1])] {
        assert_eq!(wire.split(frame), Err(Unreadable), "{frame:?}");
    }
}

/// Bytes that are not a command are unreadable.
#[test]
fn other_bytes_are_unreadable() {
    for json in
        ["[]", "1", "{", "{\"id\":-1}", "{\"id\":1.5}", "{\"id\":\"1\"}", "{\"connect\":[]}", "{\"connect\":{\"token\":1}}", "\u{feff}{}"]
    {
        assert_eq!(Wire::Json.command(json.as_bytes()), Err(Unreadable), "{json}");
    }
    assert_eq!(Wire::Json.command(b"{\"rpc\":{\"method\":\"\xff\"}}"), Err(Unreadable));
    let bad: [&[u8]; 6] = [&[8], &[0x0b], &[0x22, 1], &[0x22, 2, 0x0a, 1], &[0x22, 3, 0x0a, 1, 0xff], &[0, 1]];
    for bytes in bad {
        assert_eq!(Wire::Protobuf.command(bytes), Err(Unreadable), "{bytes:?}");
    }
}

/// Numbers have the bits that the schema gives them: protobuf drops those above, JSON with more is unreadable. (`limit` and `type` were read
/// as 64 bits, and an `id` with more than 32 was unreadable in protobuf.)
#[test]
fn numbers_have_the_bits_of_the_schema() {
    // id 2^32 + 7; history: channel "a", limit -1 in 32 bits, as some encoders write it.
    let command = Wire::Protobuf.command(&[8, 0x87, 0x80, 0x80, 0x80, 0x10, 0x52, 9, 10, 1, b'a', 0x38, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    let history = History { channel: "a".into(), limit: -1, ..History::default() };
    assert_eq!(command, Ok(Command { id: 7, operation: Operation::History(history) }));
    // subscribe: type 2^32.
    let command = Wire::Protobuf.command(&[0x2a, 6, 0x78, 0x80, 0x80, 0x80, 0x80, 0x10]);
    assert_eq!(command, Ok(Command { id: 0, operation: Operation::Subscribe(Subscribe::default()) }));
    for json in [r#"{"id":4294967296}"#, r#"{"history":{"limit":2147483648}}"#, r#"{"subscribe":{"type":4294967296}}"#] {
        assert_eq!(Wire::Json.command(json.as_bytes()), Err(Unreadable), "{json}");
    }
}

fn member(client: u64, user: Option<&str>, info: Option<&str>) -> Member {
    Member { session: SessionId::from_number(client), user: user.map(Into::into), info: MemberInfo::of(info, None) }
}

fn message(channel: &str, payload: &[u8], kind: PayloadKind, offset: u64, extra: Option<Extra>) -> Message {
    let position = Position { epoch: Epoch::parse("k3f9x2ab").unwrap(), offset: Offset(offset) };
    let rule = Arc::new(Rule { history: usize::from(offset > 0), ..Rule::plain(None) });
    Message::new(About { rule, extra: extra.map(Arc::new), ..About::of_test(channel, position, kind) }, payload)
}

fn written(reply: &Reply<'_>) -> (String, Vec<u8>) {
    let (mut json, mut protobuf) = (Vec::new(), Vec::new());
    super::reply(&mut json, reply, Wire::Json);
    super::reply(&mut protobuf, reply, Wire::Protobuf);
    (String::from_utf8(json).unwrap(), protobuf)
}

fn pushed(published: &Message) -> (String, Vec<u8>) {
    let (mut json, mut protobuf) = (Vec::new(), Vec::new());
    super::message(&mut json, published, Wire::Json);
    super::message(&mut protobuf, published, Wire::Protobuf);
    (String::from_utf8(json).unwrap(), protobuf)
}

/// Replaces ids of sessions and epochs by the shorter ids of the vectors, and the version. Messages with such ids have other lengths in
/// protobuf than their vectors, so they are compared in JSON only.
fn shortened(json: &str) -> String {
    json.replace("0000000000c0ffee", "c0ffee")
        .replace("000000000000beef", "beef")
        .replace("k3f9x2ab", "k3f9x2")
        .replace(&version(), "belfry")
}

fn version() -> String {
    format!("belfry {}", env!("CARGO_PKG_VERSION"))
}

/// Replies and pushes equal the vectors: in JSON as values, and in protobuf byte for byte unless they have an id of the gateway.
#[test]
fn replies_equal_the_vectors() {
    let position = Position { epoch: Epoch::parse("k3f9x2ab").unwrap(), offset: Offset(17) };
    let first = SubscribeResult { position: Some(position), positioned: true, ..SubscribeResult::default() };
    let not_recovered = SubscribeResult { position: Some(Position { offset: Offset(40), ..position }), was_recovering: true, ..first };
    let minute = Expiry(Some(Duration::from_secs(60)));
    let client = SessionId::from_number(0xc0_ffee);
    let connected = ConnectResult { client, expiry: Expiry(None), subs: &[], ping: Duration::from_secs(25), emulation: None };
    let ann = member(0xc0_ffee, Some("42"), Some(r#"{"name":"Ann"}"#));
    let members = [ann.clone(), member(0xbeef, None, None)];
    let kept = [message("a", br#"{"n":1}"#, PayloadKind::Json, 18, None)];
    let push = |channel, push| Reply::Push { channel, push };
    let replies = [
        ("ping", Reply::Ping),
        ("error", Reply::Error { id: 2, error: ErrorReply::PERMISSION_DENIED }),
        ("temporary error", Reply::Error { id: 2, error: ErrorReply::TOO_MANY_REQUESTS }),
        ("connect", Reply::Connect { id: 1, result: &connected }),
        ("subscribe, nothing", Reply::Subscribe { id: 2, result: &SubscribeResult::default() }),
        ("subscribe, first time", Reply::Subscribe { id: 2, result: &first }),
        ("subscribe, not recovered", Reply::Subscribe { id: 2, result: &not_recovered }),
        ("subscribe, expiring", Reply::Subscribe { id: 2, result: &SubscribeResult { expiry: minute, ..SubscribeResult::default() } }),
        ("unsubscribe", Reply::Unsubscribe { id: 3 }),
        ("publish", Reply::Publish { id: 4 }),
        ("presence", Reply::Presence { id: 5, members: &members }),
        ("presence, nobody", Reply::Presence { id: 5, members: &[] }),
        ("presence_stats", Reply::PresenceStats { id: 6, clients: 2, users: 2 }),
        ("history", Reply::History { id: 7, messages: &kept, epoch: position.epoch, newest: Offset(18) }),
        ("history, empty", Reply::History { id: 7, messages: &[], epoch: position.epoch, newest: Offset(0) }),
        ("sub_refresh", Reply::SubRefresh { id: 11, expiry: minute }),
        ("push join", push("a", Push::Join(&ann))),
        ("push leave", push("a", Push::Leave(&ann))),
        ("push unsubscribe", push("a", Push::Unsubscribe(Unsubscribed::INSUFFICIENT_STATE))),
    ];
    let from_client = Extra { publisher: Some(ann.clone()), tags: Vec::new() };
    let published = [
        ("push publication", message("chat:room1", br#"{"n":1}"#, PayloadKind::Json, 18, None)),
        ("push publication from a client", message("chat:room1", br#"{"n":1}"#, PayloadKind::Json, 18, Some(from_client))),
        ("push publication, no position", message("a", br#"{"n":1}"#, PayloadKind::Json, 0, None)),
    ];
    let replies = replies.iter().map(|(name, reply)| (*name, written(reply)));
    let pushes = published.iter().map(|(name, message)| (*name, pushed(message)));
    let vectors = Vector::all(REPLIES);
    let mut compared_in_protobuf = 0;
    for (name, (json, protobuf)) in replies.chain(pushes) {
        let vector = vectors.iter().find(|vector| vector.name == name).unwrap_or_else(|| panic!("no vector {name}"));
        let value = |json: &str| serde_json::from_str::<Value>(json).unwrap();
        assert_eq!(value(&shortened(&json)), value(&vector.json), "{name}");
        if shortened(&json) == json {
            assert_eq!(protobuf, vector.bytes(), "{name}");
            compared_in_protobuf += 1;
        }
    }
    assert_eq!(compared_in_protobuf, 13);
    let refreshed = written(&Reply::Refresh { id: 10, client, expiry: Expiry(Some(Duration::from_millis(3_599_500))) }).0;
    let expected = r#"{"id":10,"refresh":{"client":"c0ffee","version":"belfry","expires":true,"ttl":3600}}"#;
    assert_eq!(shortened(&refreshed), expected, "the vector has no version");
}

/// In JSON a payload stays on one line, and a payload that is not JSON becomes a string. Protobuf has the bytes.
#[test]
fn payloads_are_copied_in_each_encoding() {
    let cases: [(&[u8], PayloadKind, &str); 6] = [
        (b"{\n \"a\":\r\n1}", PayloadKind::Json, r#"{"data":{  "a":  1}}"#),
        (b"[\n1]", PayloadKind::Text, r#"{"data":[ 1]}"#),
        (b"line\nline", PayloadKind::Text, r#"{"data":"line\nline"}"#),
        (b"text", PayloadKind::Binary, r#"{"data":"text"}"#),
        (b"", PayloadKind::Text, r#"{"data":""}"#),
        (&[0xff, 0], PayloadKind::Binary, r#"{"data":"/wA=","tags":{"encoding":"base64"}}"#),
    ];
    for (payload, kind, publication) in cases {
        let (json, protobuf) = pushed(&message("a", payload, kind, 0, None));
        assert_eq!(json, format!(r#"{{"push":{{"channel":"a","pub":{publication}}}}}"#));
        assert!(protobuf.ends_with(payload), "{payload:?}");
    }
    let tags = vec![("k".into(), "v\n".into())];
    let (json, protobuf) = pushed(&message("a", b"1", PayloadKind::Json, 0, Some(Extra { publisher: None, tags })));
    assert_eq!(json, r#"{"push":{"channel":"a","pub":{"data":1,"tags":{"k":"v\n"}}}}"#);
    assert!(protobuf.ends_with(b"\x0a\x01k\x12\x02v\n"), "{protobuf:?}");
}

/// The output is moved to make room for the second byte of the length.
#[test]
fn lengths_above_127_take_two_bytes() {
    let payload = vec![b'1'; 300];
    let (_, protobuf) = pushed(&message("a", &payload, PayloadKind::Json, 18, None));
    let (push, all) = Wire::Protobuf.split(&protobuf).unwrap();
    assert_eq!((all, push.len()), (protobuf.len(), 3 + 3 + 3 + 3 + 300 + 2));
    assert_eq!(push[..10], [0x22, 0xb7, 0x02, 0x12, 1, b'a', 0x22, 0xb1, 0x02, 0x22]);
}

proptest! {
    /// No input makes a parser panic, and each split of a frame consumes bytes.
    #[test]
    fn no_bytes_panic(frame in prop::collection::vec(any::<u8>(), 0..256)) {
        for wire in [Wire::Json, Wire::Protobuf] {
            let mut rest = &frame[..];
            while let Ok((text, used)) = wire.split(rest) {
                prop_assert!(used > 0 && used <= rest.len());
                let _ = wire.command(text);
                rest = &rest[used..];
            }
        }
    }
}
