//! Centrifugo's protocol in protobuf: a frame has length-prefixed commands or replies.

use std::ops::Range;

use super::reply::Reply;

/// An empty message, which is a ping and also the pong.
const EMPTY: &[u8] = &[0];

/// The command that opens a session.
pub fn connect() -> Vec<u8> {
    let mut out = Vec::new();
    command(&mut out, 1, 4, &[]);
    out
}

/// The commands that subscribe to `topics`, with ids from `first_id` on. Each is acknowledged by its own reply. A topic
/// resumes from its position in `since`, which has either all topics or none.
pub fn subscribe(topics: &[&str], since: &[(&str, &str, u64)], first_id: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for (id, (at, topic)) in (first_id..).zip(topics.iter().enumerate()) {
        let mut request = field(1, topic.as_bytes());
        if let Some((_, epoch, offset)) = since.get(at).filter(|(_, epoch, _)| !epoch.is_empty()) {
            request.extend([number(3, 1), field(6, epoch.as_bytes()), number(7, *offset)].concat());
        }
        command(&mut out, id, 5, &request);
    }
    out
}

pub fn unsubscribe(topics: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    topics.iter().for_each(|topic| command(&mut out, 1, 6, &field(1, topic.as_bytes())));
    out
}

pub fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(topic.len() + payload.len() + 24);
    command(&mut out, 3, 7, &[field(1, topic.as_bytes()), field(2, payload)].concat());
    out
}

/// The messages of a frame that are not pushes.
pub fn replies(frame: &[u8]) -> impl Iterator<Item = &[u8]> {
    delimited(frame).filter(|message| bytes_of(message, PUSH).is_none())
}

/// Reads one of [`replies`].
pub fn reply(message: &[u8]) -> Reply {
    if message.is_empty() {
        return Reply::Ping(EMPTY);
    }
    if let Some(error) = bytes_of(message, 2) {
        let (code, message) = (number_of(error, 1).unwrap_or(0), bytes_of(error, 2).unwrap_or_default());
        let message = String::from_utf8_lossy(message).into_owned();
        return Reply::Error { id: None, code: format!("centrifugo {code}"), message };
    }
    match (bytes_of(message, 5), bytes_of(message, 6)) {
        (Some(_), _) => Reply::Acknowledged,
        (None, Some(subscribed)) => {
            let epoch = bytes_of(subscribed, 6).filter(|epoch| !epoch.is_empty());
            let is_set = |field| number_of(subscribed, field).unwrap_or(0) != 0;
            Reply::TopicSubscribed {
                id: number_of(message, 1).unwrap_or(0),
                position: epoch.map(|epoch| (String::from_utf8_lossy(epoch).into_owned(), number_of(subscribed, 9).unwrap_or(0))),
                recovered: is_set(12).then(|| is_set(8)),
            }
        }
        (None, None) => Reply::Other,
    }
}

/// Whether the push around the payload at `payload` belongs to `topic`, and its lengths are consistent.
pub fn is_intact(frame: &[u8], payload: Range<usize>, topic: &str) -> bool {
    intact_push(frame, payload, topic).is_some()
}

fn intact_push(frame: &[u8], payload: Range<usize>, topic: &str) -> Option<()> {
    let payload = frame.get(payload)?;
    let message = delimited(frame).find(|message| encloses(message, payload))?;
    let push = bytes_of(message, PUSH)?;
    let publication = bytes_of(push, 4)?;
    let are_whole = has_fields(message, 1) && has_fields(push, 2) && is_well_formed(publication);
    let are_known = Fields(publication).all(|(number, _)| (4..=9).contains(&number));
    let is_payload = bytes_of(publication, 4)?.as_ptr_range() == payload.as_ptr_range();
    (are_whole && are_known && is_payload && bytes_of(push, 2)? == topic.as_bytes()).then_some(())
}

/// The offset of the push around the payload at `payload`, if its topic has positions.
pub fn offset(frame: &[u8], payload: Range<usize>) -> Option<u64> {
    let bytes = frame.get(payload)?;
    let message = delimited(frame).find(|message| encloses(message, bytes))?;
    number_of(bytes_of(bytes_of(message, PUSH)?, 4)?, 6)
}

/// The field number of a push in a reply.
const PUSH: u32 = 4;

/// A field's value.
#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message; ends at a malformed field.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, rest) = varint(self.0)?;
        let number = u32::try_from(key >> 3).ok()?;
        let (value, rest) = match key & 7 {
            0 => varint(rest).map(|(value, rest)| (Value::Number(value), rest))?,
            2 => after_length(rest).map(|(value, rest)| (Value::Bytes(value), rest))?,
            _ => return None,
        };
        self.0 = rest;
        Some((number, value))
    }
}

/// The bytes of the field `wanted` of a message.
fn bytes_of(message: &[u8], wanted: u32) -> Option<&[u8]> {
    Fields(message).find_map(|(number, value)| match value {
        Value::Bytes(bytes) if number == wanted => Some(bytes),
        _ => None,
    })
}

/// The number in the field `wanted` of a message.
fn number_of(message: &[u8], wanted: u32) -> Option<u64> {
    Fields(message).find_map(|(number, value)| match value {
        Value::Number(value) if number == wanted => Some(value),
        _ => None,
    })
}

fn is_well_formed(message: &[u8]) -> bool {
    let mut fields = Fields(message);
    fields.by_ref().for_each(drop);
    fields.0.is_empty()
}

/// Whether `message` is well-formed and has `count` fields.
fn has_fields(message: &[u8], count: usize) -> bool {
    is_well_formed(message) && Fields(message).count() == count
}

fn encloses(message: &[u8], part: &[u8]) -> bool {
    let (outer, inner) = (message.as_ptr_range(), part.as_ptr_range());
    outer.start <= inner.start && inner.end <= outer.end
}

/// The messages of a frame; ends at a malformed one.
fn delimited(mut frame: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (message, rest) = after_length(frame)?;
        frame = rest;
        Some(message)
    })
}

fn after_length(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = varint(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// A base-128 number, the lowest seven bits first, and the bytes behind it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

fn command(out: &mut Vec<u8>, id: u64, payload: u32, content: &[u8]) {
    let command = [number(1, id), field(payload, content)].concat();
    push_varint(out, command.len() as u64);
    out.extend_from_slice(&command);
}

fn number(number: u32, value: u64) -> Vec<u8> {
    let mut field = vec![(number << 3) as u8];
    push_varint(&mut field, value);
    field
}

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut field = vec![(number << 3 | 2) as u8];
    push_varint(&mut field, content.len() as u64);
    field.extend_from_slice(content);
    field
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_length(message: Vec<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        push_varint(&mut out, message.len() as u64);
        [out, message].concat()
    }

    fn push(topic: &str, payload: &[u8], offset: u8) -> Vec<u8> {
        let publication = [field(4, payload), vec![6 << 3, offset]].concat();
        with_length(field(PUSH, &[field(2, topic.as_bytes()), field(4, &publication)].concat()))
    }

    /// The bytes that the SDKs send (`codec-commands.json` of Centrifugo's vectors).
    #[test]
    fn commands_are_what_an_sdk_sends() {
        assert_eq!(connect(), b"\x04\x08\x01\x22\x00");
        assert_eq!(subscribe(&["ch"], &[], 2), b"\x08\x08\x02\x2a\x04\x0a\x02ch");
        let resumed = subscribe(&["ch"], &[("ch", "k3f9x2", 300)], 200);
        assert_eq!(resumed, b"\x16\x08\xc8\x01\x2a\x11\x0a\x02ch\x18\x01\x32\x06k3f9x2\x38\xac\x02");
        assert_eq!(unsubscribe(&["a"]), b"\x07\x08\x01\x32\x03\x0a\x01a");
        assert_eq!(publish("ch", b"1"), b"\x0b\x08\x03\x3a\x07\x0a\x02ch\x12\x011");
    }

    #[test]
    fn each_reply_of_a_frame_is_read() {
        let frame = [
            with_length([&[1 << 3, 1][..], &field(5, &field(1, b"client"))].concat()),
            push("a", b"{}", 1),
            EMPTY.to_vec(),
            with_length([&[1 << 3, 3][..], &field(8, &[])].concat()),
            with_length([number(1, 2), field(6, &[field(6, b"k3f9x2"), number(8, 1), number(9, 7), number(12, 1)].concat())].concat()),
            with_length([&[1 << 3, 2][..], &field(2, &[&[1 << 3, 103][..], &field(2, b"no")].concat())].concat()),
        ]
        .concat();
        let all: Vec<Reply> = replies(&frame).map(reply).collect();
        let error = Reply::Error { id: None, code: "centrifugo 103".to_owned(), message: "no".to_owned() };
        let joined = Reply::TopicSubscribed { id: 2, position: Some(("k3f9x2".to_owned(), 7)), recovered: Some(true) };
        assert_eq!(all, [Reply::Acknowledged, Reply::Ping(EMPTY), Reply::Other, joined, error]);
    }

    #[test]
    fn a_push_is_compared_and_has_its_offset() {
        let payload = br#"{"m":"x"}"#;
        for before in [Vec::new(), EMPTY.to_vec(), push("other", b"{}", 3)] {
            let frame = [before, push("a.b", payload, 18)].concat();
            let start = memchr::memmem::find(&frame, payload).unwrap();
            let at = start..start + payload.len();
            assert!(is_intact(&frame, at.clone(), "a.b") && !is_intact(&frame, at.clone(), "a.c"));
            assert_eq!(offset(&frame, at.clone()), Some(18));
            assert!(!is_intact(&frame[..frame.len() - 1], at, "a.b"), "cut short");
        }
        let frame = push("a.b", payload, 18);
        let start = memchr::memmem::find(&frame, payload).unwrap();
        for place in 0..start {
            let mut altered = frame.clone();
            altered[place] ^= 0x11;
            assert!(!is_intact(&altered, start..start + payload.len(), "a.b"), "byte {place}");
        }
    }
}
