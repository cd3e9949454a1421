//! Assembles unfinished frames and fragmented messages (RFC 6455 §5.4, §8.1).

use fastwebsockets::{OpCode, unmask};

use super::head::Head;
use super::violation::Violation;

/// A session's unfinished frame and message. The value is on the heap, and only while there is one of them.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    /// The frame whose payload is still arriving.
    frame: Option<OpenFrame>,
    /// The data message whose last frame has not arrived whole.
    message: Option<Message>,
    /// The payload so far of an open control frame, which may come between the fragments of a message.
    control: Vec<u8>,
}

/// A whole control frame or data message, with its payload unmasked.
#[derive(Debug)]
pub(super) struct Whole {
    pub opcode: OpCode,
    pub compressed: bool,
    pub payload: Vec<u8>,
}

impl Assembly {
    /// Opens a frame whose head was checked.
    pub fn begin(&mut self, head: &Head) {
        if !head.is_control() && head.opcode != OpCode::Continuation {
            self.message = Some(Message { opcode: head.opcode, compressed: head.compressed, payload: Vec::new(), checked: 0 });
        }
        self.frame = Some(OpenFrame { opcode: head.opcode, fin: head.fin, mask: head.mask, missing: head.payload_bytes });
    }

    /// Whether a frame's payload is still arriving.
    pub fn is_mid_frame(&self) -> bool {
        self.frame.is_some()
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.frame.is_none() && self.message.is_none()
    }

    /// The number of bytes of the open message so far, and whether it is compressed; `None`: no message is open.
    pub fn message(&self) -> Option<(usize, bool)> {
        self.message.as_ref().map(|message| (message.payload.len(), message.compressed))
    }

    /// The memory of the open frame and message, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.payload.capacity()) + self.control.capacity()
    }

    /// Unmasks and takes the part of `input` that belongs to the open frame. Returns the number of its bytes. A message never grows past `bound`,
    /// against which the heads of its frames were checked.
    pub fn absorb(&mut self, input: &mut [u8], bound: usize) -> (usize, Result<Option<Whole>, Violation>) {
        let Some(frame) = &mut self.frame else { return (0, Ok(None)) };
        let taken = frame.missing.min(input.len());
        let payload = &mut input[..taken];
        unmask(payload, frame.mask);
        frame.mask.rotate_left(taken % 4);
        frame.missing -= taken;
        (taken, self.append(payload, bound))
    }

    fn append(&mut self, payload: &[u8], bound: usize) -> Result<Option<Whole>, Violation> {
        let Some(frame) = &self.frame else { return Ok(None) };
        let (opcode, fin, missing) = (frame.opcode, frame.fin, frame.missing);
        match (opcode, &mut self.message) {
            (OpCode::Close | OpCode::Ping | OpCode::Pong, _) => self.control.extend_from_slice(payload),
            (_, Some(message)) => message.append(payload, if fin { message.payload.len() + payload.len() + missing } else { bound })?,
            (_, None) => {}
        }
        if missing > 0 {
            return Ok(None);
        }
        self.frame = None;
        match opcode {
            OpCode::Close | OpCode::Ping | OpCode::Pong => {
                Ok(Some(Whole { opcode, compressed: false, payload: std::mem::take(&mut self.control) }))
            }
            _ if fin => self.message.take().map(Message::finish).transpose(),
            _ => Ok(None),
        }
    }
}

#[derive(Debug)]
struct OpenFrame {
    opcode: OpCode,
    fin: bool,
    /// The masking key, rotated so that its first byte unmasks the next byte of the payload.
    mask: [u8; 4],
    /// How many bytes of the payload have not arrived.
    missing: usize,
}

#[derive(Debug)]
struct Message {
    opcode: OpCode,
    compressed: bool,
    /// The payloads of all fragments so far in one buffer, so that a fragment takes no memory beside its bytes.
    payload: Vec<u8>,
    /// The number of bytes of an uncompressed text that were checked to be UTF-8. An incomplete character may follow.
    checked: usize,
}

impl Message {
    /// Appends bytes that arrived. The buffer grows by doubling up to `ceiling`, and never by a length that a head only declares.
    fn append(&mut self, payload: &[u8], ceiling: usize) -> Result<(), Violation> {
        let length = self.payload.len() + payload.len();
        if length > self.payload.capacity() {
            let capacity = (2 * self.payload.capacity()).min(ceiling).max(length);
            self.payload.reserve_exact(capacity - self.payload.len());
        }
        self.payload.extend_from_slice(payload);
        if self.is_plain_text() {
            self.checked += whole_characters(&self.payload[self.checked..])?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Whole, Violation> {
        if self.is_plain_text() && self.checked < self.payload.len() {
            return Err(Violation::not_consistent(NOT_UTF8));
        }
        Ok(Whole { opcode: self.opcode, compressed: self.compressed, payload: self.payload })
    }

    fn is_plain_text(&self) -> bool {
        self.opcode == OpCode::Text && !self.compressed
    }
}

/// The reason of the Close for a text that is not UTF-8.
const NOT_UTF8: &str = "a text message is not UTF-8";

/// Checks a whole text (RFC 6455 §8.1).
pub(super) fn check_utf8(text: &[u8]) -> Result<(), Violation> {
    match str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(Violation::not_consistent(NOT_UTF8)),
    }
}

/// The number of bytes at the front of `text` that are whole characters. The rest may be an incomplete character. A byte that no character
/// can have at its position is an error at once (RFC 3629 §4).
fn whole_characters(text: &[u8]) -> Result<usize, Violation> {
    match str::from_utf8(text) {
        Ok(_) => Ok(text.len()),
        Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
        Err(_) => Err(Violation::not_consistent(NOT_UTF8)),
    }
}
