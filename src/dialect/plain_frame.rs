//! An uncompressed frame of one dialect; also what the compressors read.

use bytes::Bytes;

use super::centrifugo::{self, Wire};
use super::encoding::Dialect;
use super::frame_bytes::FrameBytes;
use super::json_write;
use crate::frame::{HEAD_BYTES_MAX, OpCode, server_head};
use crate::hub::Message;

/// An uncompressed frame, and where its payload begins.
#[derive(Debug, Clone)]
pub(super) struct PlainFrame {
    pub frame: FrameBytes,
    pub opcode: OpCode,
    head_bytes: usize,
}

impl PlainFrame {
    /// The frame of `message` in `dialect`. An echo session subscribes to nothing; if it did, it would take payloads alone.
    pub fn of_message(message: &Message, dialect: Dialect, replay: bool) -> Self {
        match dialect {
            Dialect::Centrifugo(wire) => {
                let bytes = centrifugo::message_bytes_usual(message);
                Self::build(opcode(wire), bytes, |bytes| centrifugo::message(bytes, message, wire))
            }
            Dialect::Json => {
                Self::build(OpCode::Text, json_write::message_bytes(message, replay), |json| json_write::message(json, message, replay))
            }
            Dialect::Raw | Dialect::Echo => {
                let (frame, head_bytes) = (FrameBytes::OfMessage(message.clone()), message.frame().len() - message.payload().len());
                Self { frame, opcode: message.kind.opcode(), head_bytes }
            }
        }
    }

    /// A frame whose payload `write` appends, of usually so many bytes.
    pub fn build(opcode: OpCode, payload_bytes_usual: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut frame = Vec::with_capacity(HEAD_BYTES_MAX + payload_bytes_usual);
        frame.resize(HEAD_BYTES_MAX, 0);
        let room = frame.capacity();
        write(&mut frame);
        if frame.capacity() > room {
            frame.shrink_to_fit(); // growing has doubled it, and it may lie in outboxes for long
        }
        let (frame, head_bytes) = with_head(frame, opcode, false);
        Self { frame: FrameBytes::Made(frame), opcode, head_bytes }
    }

    /// What is sent, without its head.
    pub fn payload(&self) -> &[u8] {
        &self.frame[self.head_bytes..]
    }
}

/// How a WebSocket carries it (Centrifugo's protocol has a text or a binary frame).
pub(super) fn opcode(wire: Wire) -> OpCode {
    match wire {
        Wire::Json => OpCode::Text,
        Wire::Protobuf => OpCode::Binary,
    }
}

/// Puts the head right before the payload, which has [`HEAD_BYTES_MAX`] spare bytes before it, and says how long it is.
/// A head's length depends on the payload's, which is known only once it is written; this way it need not be moved.
pub(super) fn with_head(mut frame: Vec<u8>, opcode: OpCode, compressed: bool) -> (Bytes, usize) {
    let (head, length) = server_head(opcode, compressed, frame.len() - HEAD_BYTES_MAX);
    let start = HEAD_BYTES_MAX - length;
    frame[start..HEAD_BYTES_MAX].copy_from_slice(&head[..length]);
    (Bytes::from(frame).slice(start..), length)
}
