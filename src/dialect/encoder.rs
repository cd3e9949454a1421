//! Whole server frames: head and payload in one buffer, compressed where that was agreed on and is shorter.

use bytes::Bytes;

use super::encoding::{Dialect, Encoding};
use super::event::Event;
use super::frame_bytes::FrameBytes;
use super::framing::Framing;
use super::json_write;
use crate::frame::{Deflater, HEAD_BYTES_MAX, OpCode, server_head};
use crate::hub::Message;
use crate::metrics::Tally;

/// The room for a small event, in bytes; a longer one lets its buffer grow.
const EVENT_BYTES_USUAL: usize = 256;

/// What a shard encodes with.
#[derive(Debug)]
pub struct Encoder {
    /// One compressor for all sessions of the shard.
    pub deflater: Deflater,
    /// Payloads shorter than this go uncompressed, in bytes.
    pub threshold: usize,
}

/// The frame of `event` in `encoding`; `None` where its dialect has no words for it: the raw dialect carries payloads alone,
/// and its drops are silent.
pub fn event_frame(event: &Event<'_>, encoding: Encoding, encoder: &mut Encoder, tally: &mut Tally) -> Option<FrameBytes> {
    match encoding.dialect {
        Dialect::Json => {
            let plain = PlainFrame::build(OpCode::Text, EVENT_BYTES_USUAL, |json| json_write::event(json, event));
            Some(encoder.fit(&plain, encoding.framing, tally))
        }
        Dialect::Raw | Dialect::Echo => None,
    }
}

/// The frame of a message out of history, for one session alone.
pub fn replay_frame(message: &Message, encoding: Encoding, encoder: &mut Encoder, tally: &mut Tally) -> FrameBytes {
    let plain = PlainFrame::of_message(message, encoding.dialect, true);
    encoder.fit(&plain, encoding.framing, tally)
}

/// The frame that sends `payload` back as it came (PROTOCOL section 4, `/echo`).
pub fn echo_frame(opcode: OpCode, payload: &[u8], framing: Framing, encoder: &mut Encoder, tally: &mut Tally) -> FrameBytes {
    let Framing::WebSocket { window_bits } = framing;
    let plain = PlainFrame::build(opcode, payload.len(), |frame| frame.extend_from_slice(payload));
    // An echo goes back as it came, so also what is short or gets longer is compressed where that was agreed on.
    window_bits.and_then(|bits| encoder.pack(&plain, bits, Deflater::compress_always, tally)).unwrap_or(plain.frame)
}

impl Encoder {
    /// `plain` itself, or its compressed form where a window was agreed on and the payload is not too short.
    pub(super) fn fit(&mut self, plain: &PlainFrame, framing: Framing, tally: &mut Tally) -> FrameBytes {
        let Framing::WebSocket { window_bits } = framing;
        let worth_it = plain.payload().len() >= self.threshold;
        let packed = window_bits.filter(|_| worth_it).and_then(|bits| self.pack(plain, bits, Deflater::compress, tally));
        packed.unwrap_or_else(|| plain.frame.clone())
    }

    /// `None`: the compressor gave up.
    fn pack(
        &mut self,
        plain: &PlainFrame,
        window_bits: u8,
        compress: impl Fn(&mut Deflater, &[u8], u8, &mut Vec<u8>) -> bool,
        tally: &mut Tally,
    ) -> Option<FrameBytes> {
        let payload = plain.payload();
        let mut frame = vec![0; HEAD_BYTES_MAX];
        if !compress(&mut self.deflater, payload, window_bits, &mut frame) {
            return None;
        }
        // The compressor took room for the whole payload, and the frame may lie in outboxes for long.
        frame.shrink_to_fit();
        tally.deflated(payload.len() as u64, (frame.len() - HEAD_BYTES_MAX) as u64);
        Some(with_head(frame, plain.opcode, true).0)
    }
}

/// An uncompressed frame, and where its payload begins.
#[derive(Debug)]
pub(super) struct PlainFrame {
    pub frame: FrameBytes,
    opcode: OpCode,
    head_bytes: usize,
}

impl PlainFrame {
    /// The frame of `message` in `dialect`. An echo session subscribes to nothing; if it did, it would take payloads alone.
    pub fn of_message(message: &Message, dialect: Dialect, replay: bool) -> Self {
        match dialect {
            Dialect::Json => {
                Self::build(OpCode::Text, json_write::message_bytes(message, replay), |json| json_write::message(json, message, replay))
            }
            Dialect::Raw | Dialect::Echo => {
                let (frame, head_bytes) = (FrameBytes::OfMessage(message.clone()), message.frame().len() - message.payload().len());
                Self { frame, opcode: message.kind.opcode(), head_bytes }
            }
        }
    }

    fn build(opcode: OpCode, payload_bytes_usual: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut frame = Vec::with_capacity(HEAD_BYTES_MAX + payload_bytes_usual);
        frame.resize(HEAD_BYTES_MAX, 0);
        let room = frame.capacity();
        write(&mut frame);
        if frame.capacity() > room {
            frame.shrink_to_fit(); // growing has doubled it, and it may lie in outboxes for long
        }
        let (frame, head_bytes) = with_head(frame, opcode, false);
        Self { frame, opcode, head_bytes }
    }

    fn payload(&self) -> &[u8] {
        &self.frame[self.head_bytes..]
    }
}

/// Puts the head right before the payload, which has [`HEAD_BYTES_MAX`] spare bytes before it, and says how long it is.
/// A head's length depends on the payload's, which is known only once it is written; this way it need not be moved.
fn with_head(mut frame: Vec<u8>, opcode: OpCode, compressed: bool) -> (FrameBytes, usize) {
    let (head, length) = server_head(opcode, compressed, frame.len() - HEAD_BYTES_MAX);
    let start = HEAD_BYTES_MAX - length;
    frame[start..HEAD_BYTES_MAX].copy_from_slice(&head[..length]);
    (FrameBytes::Made(Bytes::from(frame).slice(start..)), length)
}
