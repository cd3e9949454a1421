//! An uncompressed frame of one dialect, which is the input of compressors too.

use bytes::Bytes;

use super::frame_bytes::FrameBytes;
use crate::dialect::centrifugo::{self, Wire};
use crate::dialect::encoding::Dialect;
use crate::dialect::native;
use crate::frame::{HEAD_BYTES_MAX, OpCode, server_head};
use crate::hub::Message;

/// An uncompressed frame, and the position of its payload.
#[derive(Debug, Clone)]
pub(super) struct PlainFrame {
    pub frame: FrameBytes,
    pub opcode: OpCode,
    head_bytes: usize,
}

impl PlainFrame {
    /// The frame of `message` in `dialect`. Echo sessions have no subscriptions; their frames would be those of the raw dialect.
    pub fn of_message(message: &Message, dialect: Dialect, replay: bool) -> Self {
        match dialect {
            Dialect::Centrifugo(wire) => {
                let bytes = centrifugo::message_bytes_usual(message);
                Self::build(opcode(wire), bytes, |bytes| centrifugo::message(bytes, message, wire))
            }
            Dialect::Json => {
                Self::build(OpCode::Text, native::message_bytes(message, replay), |json| native::message(json, message, replay))
            }
            Dialect::Raw | Dialect::Echo => {
                let (frame, head_bytes) = (FrameBytes::OfMessage(message.clone()), message.frame().len() - message.payload().len());
                Self { frame, opcode: message.kind.opcode(), head_bytes }
            }
        }
    }

    /// A frame whose payload `write` appends. The payload usually has `payload_bytes_usual` bytes.
    pub fn build(opcode: OpCode, payload_bytes_usual: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut frame = Vec::with_capacity(HEAD_BYTES_MAX + payload_bytes_usual);
        frame.resize(HEAD_BYTES_MAX, 0);
        let room = frame.capacity();
        write(&mut frame);
        if frame.capacity() > room {
            frame.shrink_to_fit(); // the buffer grows by doubling, and may stay in outboxes for long
        }
        let (frame, head_bytes) = with_head(frame, opcode, false);
        Self { frame: FrameBytes::Made(frame), opcode, head_bytes }
    }

    /// The payload, without the head.
    pub fn payload(&self) -> &[u8] {
        &self.frame[self.head_bytes..]
    }
}

/// The opcode of frames of Centrifugo's protocol: text for JSON, binary for protobuf.
pub(super) fn opcode(wire: Wire) -> OpCode {
    match wire {
        Wire::Json => OpCode::Text,
        Wire::Protobuf => OpCode::Binary,
    }
}

/// Writes the head before the payload, which is preceded by [`HEAD_BYTES_MAX`] spare bytes. Returns the frame and the length of its head.
/// The length of the head depends on that of the payload. The spare bytes keep the payload from being moved.
pub(super) fn with_head(mut frame: Vec<u8>, opcode: OpCode, compressed: bool) -> (Bytes, usize) {
    let (head, length) = server_head(opcode, compressed, frame.len() - HEAD_BYTES_MAX);
    let start = HEAD_BYTES_MAX - length;
    frame[start..HEAD_BYTES_MAX].copy_from_slice(&head[..length]);
    (Bytes::from(frame).slice(start..), length)
}
