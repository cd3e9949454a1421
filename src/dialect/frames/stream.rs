//! Frames of streams: server-sent events and lines, in chunks under HTTP/1.1 (PROTOCOL section 11).

use super::frame_bytes::FrameBytes;
use crate::codes::CloseCode;
use crate::dialect::centrifugo::{self, Reply, Wire};
use crate::dialect::encoding::{Dialect, Encoding};
use crate::dialect::framing::Framing;
use crate::dialect::native;
use crate::dialect::native::Event;
use crate::dialect::native::StreamPosition;
use crate::hub::Message;

/// Room for the head of a chunk: its length in hexadecimal digits, and CRLF.
const CHUNK_HEAD_BYTES_MAX: usize = 18;
const CRLF: &[u8] = b"\r\n";
/// The end of a body in chunks (RFC 9112 §7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
const DATA: &[u8] = b"data: ";
/// The length of an event beside its data, in bytes.
const EVENT_BYTES: usize = DATA.len() + "\n\n".len();
/// The initial capacity of the buffer of an event, in bytes.
const EVENT_BYTES_USUAL: usize = 256;
/// The time after which a client reconnects, in milliseconds.
const RETRY_MS: &str = "2000";

/// The frame of a message, with `"replay":true` if `replay` is set. If the stream has positions, [`stamp`] precedes the frame.
pub fn of_message(message: &Message, encoding: Encoding, replay: bool) -> FrameBytes {
    match encoding.dialect {
        Dialect::Json => of_data(encoding, native::message_bytes(message, replay), |text| native::message(text, message, replay)),
        Dialect::Raw | Dialect::Echo => of_data(encoding, message.payload().len(), |text| text.extend_from_slice(message.payload())),
        Dialect::Centrifugo(wire) => {
            let bytes = centrifugo::message_bytes_usual(message);
            of_data(encoding, bytes, |text| centrifugo::message(text, message, wire))
        }
    }
}

/// The frame of the text that `write` appends, as the data of an event or as a line. Protobuf messages have no line end.
pub fn of_data(encoding: Encoding, bytes_usual: usize, write: impl FnOnce(&mut Vec<u8>)) -> FrameBytes {
    let is_chunked = encoding.framing.is_chunked();
    match (encoding.framing, encoding.dialect) {
        (Framing::Lines { .. }, Dialect::Centrifugo(Wire::Protobuf)) => framed(is_chunked, bytes_usual, write),
        (Framing::Lines { .. }, _) => framed(is_chunked, bytes_usual + 1, |text| line(text, write)),
        (Framing::EventStream { .. } | Framing::WebSocket { .. }, _) => {
            framed(is_chunked, bytes_usual + EVENT_BYTES, |text| server_sent(text, write))
        }
    }
}

/// The frame of `event` in the native or the raw dialect; `None`: the dialect has no form for the event.
pub fn of_event(event: &Event<'_>, encoding: Encoding) -> Option<FrameBytes> {
    let is_chunked = encoding.framing.is_chunked();
    match (encoding.framing, encoding.dialect) {
        (Framing::Lines { .. }, Dialect::Json) => {
            let has_form = !matches!(event, Event::Welcome { .. });
            has_form.then(|| of_data(encoding, EVENT_BYTES_USUAL, |text| native::event(text, event)))
        }
        (Framing::Lines { .. } | Framing::WebSocket { .. }, _) => None,
        (Framing::EventStream { .. }, dialect) => match event {
            Event::Welcome { session, .. } => Some(of_text(&format!(": belfry {session}\nretry: {RETRY_MS}\n\n"), is_chunked)),
            Event::Draining { retry_after } => Some(of_text(&format!("retry: {}\n\n", retry_after.as_millis()), is_chunked)),
            _ if dialect == Dialect::Json => Some(framed(is_chunked, EVENT_BYTES_USUAL, |text| named(text, event))),
            _ => None,
        },
    }
}

/// The last event of a stream, and the end of its body. A drain ends a stream without a last event.
pub fn goodbye(encoding: Encoding, code: Option<u16>, reason: &str) -> FrameBytes {
    let is_chunked = encoding.framing.is_chunked();
    let mut frame = match (code, encoding.framing, encoding.dialect) {
        (Some(code), _, Dialect::Centrifugo(wire)) => {
            of_data(encoding, EVENT_BYTES_USUAL, |text| centrifugo::reply(text, &Reply::Disconnect { code, reason }, wire)).to_vec()
        }
        (Some(code), _, _) if code == CloseCode::GoingAway.number() => Vec::new(),
        (Some(code), Framing::EventStream { .. }, _) => {
            let error = |text: &mut Vec<u8>| {
                text.extend_from_slice(b"event: error\n");
                server_sent(text, |text| native::end(text, code, reason));
            };
            framed(is_chunked, EVENT_BYTES_USUAL, error).to_vec()
        }
        (Some(code), _, Dialect::Json) => of_data(encoding, EVENT_BYTES_USUAL, |text| native::end(text, code, reason)).to_vec(),
        _ => Vec::new(),
    };
    if is_chunked {
        frame.extend_from_slice(LAST_CHUNK);
    }
    frame.into()
}

/// A frame of `text`.
pub fn of_text(text: &str, is_chunked: bool) -> FrameBytes {
    framed(is_chunked, text.len(), |frame| frame.extend_from_slice(text.as_bytes()))
}

/// Appends the `id` that precedes `frame`, the frame of a message, with the position of the stream behind the message. Returns how many bytes
/// of `frame` are replaced: the head of its chunk, because the `id` and the event are one chunk.
pub fn stamp(prefix: &mut Vec<u8>, position: &StreamPosition, frame: &[u8], framing: Framing) -> usize {
    if !framing.is_chunked() {
        id(prefix, position);
        return 0;
    }
    let start = prefix.len();
    let head_bytes = frame.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    prefix.resize(start + CHUNK_HEAD_BYTES_MAX, 0);
    id(prefix, position);
    let text_bytes = prefix.len() - start - CHUNK_HEAD_BYTES_MAX + frame.len() - head_bytes - CRLF.len();
    let unused = put_head(&mut prefix[start..], text_bytes);
    prefix.drain(start..start + unused);
    head_bytes
}

/// Appends an event that is named by its `op`, so that handlers for messages do not receive it.
fn named(text: &mut Vec<u8>, event: &Event<'_>) {
    if let Some(name) = name(event) {
        [b"event: ", name.as_bytes(), b"\n"].iter().for_each(|part| text.extend_from_slice(part));
    }
    let Event::StreamBegun { announced, before_replay, .. } = event else {
        return server_sent(text, |text| native::event(text, event));
    };
    id(text, announced);
    server_sent(text, |text| native::event(text, event));
    if announced != before_replay {
        // The replay follows, so a client that is disconnected before it resumes at this position. A block with only an `id` is no event.
        id(text, before_replay);
        text.push(b'\n');
    }
}

fn name(event: &Event<'_>) -> Option<&'static str> {
    match event {
        Event::StreamBegun { .. } => Some("subscribed"),
        Event::Gap { .. } => Some("gap"),
        Event::PresenceChange(change) => Some(if change.joined { "join" } else { "leave" }),
        Event::Error { .. } => Some("error"),
        _ => None,
    }
}

fn id(text: &mut Vec<u8>, position: &StreamPosition) {
    text.extend_from_slice(b"id: ");
    position.write(text);
    text.push(b'\n');
}

/// Appends the data of an event and its end. A line feed in the data begins a further `data` line. A carriage return, which would end a line
/// too, becomes a line feed.
fn server_sent(text: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    text.extend_from_slice(DATA);
    let start = text.len();
    write(text);
    if text[start..].iter().any(|&byte| ends_line(byte)) {
        let data = text.split_off(start);
        for (index, line) in data.split(|&byte| ends_line(byte)).enumerate() {
            if index > 0 {
                text.push(b'\n');
                text.extend_from_slice(DATA);
            }
            text.extend_from_slice(line);
        }
    }
    text.extend_from_slice(b"\n\n");
}

/// Appends a line. Line breaks in its text become spaces.
fn line(text: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = text.len();
    write(text);
    text[start..].iter_mut().filter(|byte| ends_line(**byte)).for_each(|byte| *byte = b' ');
    text.push(b'\n');
}

fn ends_line(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// The output of `write`, as one chunk if `is_chunked` is set.
fn framed(is_chunked: bool, bytes_usual: usize, write: impl FnOnce(&mut Vec<u8>)) -> FrameBytes {
    let (before, after) = if is_chunked { (CHUNK_HEAD_BYTES_MAX, CRLF) } else { (0, &b""[..]) };
    let mut frame = Vec::with_capacity(before + bytes_usual + after.len());
    let room = frame.capacity();
    frame.resize(before, 0);
    write(&mut frame);
    let text_bytes = frame.len() - before;
    frame.extend_from_slice(after);
    if frame.capacity() > room {
        frame.shrink_to_fit(); // the buffer grows by doubling, and may stay in outboxes for long
    }
    let start = if is_chunked { put_head(&mut frame, text_bytes) } else { 0 };
    FrameBytes::Made(bytes::Bytes::from(frame).slice(start..))
}

/// Writes the head of a chunk of `text_bytes` before its text, which begins at [`CHUNK_HEAD_BYTES_MAX`]. Returns where the head begins.
fn put_head(chunk: &mut [u8], text_bytes: usize) -> usize {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut start = CHUNK_HEAD_BYTES_MAX - CRLF.len();
    chunk[start..CHUNK_HEAD_BYTES_MAX].copy_from_slice(CRLF);
    let mut rest = text_bytes;
    loop {
        start -= 1;
        chunk[start] = HEX[rest % 16];
        rest /= 16;
        if rest == 0 {
            return start;
        }
    }
}

#[cfg(test)]
mod tests;
