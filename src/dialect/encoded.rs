//! One message's frames: each variant made once, at first need, and shared by every session that takes it.

use std::sync::Arc;

use bytes::Bytes;

use super::Dialect;
use crate::frame::Deflater;
use crate::hub::Message;
use crate::metrics::Tally;

/// Which frame of a message a session takes: its dialect and its compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variant {
    /// What the session speaks.
    pub dialect: Dialect,
    /// The server's window in bits, if permessage-deflate was agreed on.
    pub window_bits: Option<u8>,
}

/// What encoding needs from its shard.
#[derive(Debug)]
pub struct Encoder {
    /// Compresses for all.
    pub deflater: Deflater,
    /// Payloads shorter than this go uncompressed, in bytes.
    pub threshold: usize,
}

/// A message and the frames made of it so far.
#[derive(Debug)]
pub struct Encoded {
    message: Arc<Message>,
}

impl Encoder {
    /// stub
    pub fn new(_level: u32, _threshold: usize) -> Self {
        unimplemented!()
    }
}
/// stub
pub fn event_frame(_event: &super::Event<'_>, _variant: Variant, _encoder: &mut Encoder, _tally: &mut Tally) -> Option<Bytes> {
    unimplemented!()
}
/// stub
pub fn replay_frame(_message: &Message, _variant: Variant, _encoder: &mut Encoder, _tally: &mut Tally) -> Bytes {
    unimplemented!()
}
/// stub
pub fn echo_frame(_opcode: crate::frame::OpCode, _payload: &[u8], _variant: Variant, _encoder: &mut Encoder, _tally: &mut Tally) -> Bytes {
    unimplemented!()
}

impl Encoded {
    /// Nothing encoded yet.
    pub fn new(message: Arc<Message>) -> Self {
        Self { message }
    }

    /// The message itself.
    pub fn message(&self) -> &Arc<Message> {
        &self.message
    }

    /// The whole frame, head and payload, for `variant`; encoded at its first call, then shared.
    pub fn frame(&mut self, _variant: Variant, _encoder: &mut Encoder, _tally: &mut Tally) -> Bytes {
        unimplemented!()
    }
}
