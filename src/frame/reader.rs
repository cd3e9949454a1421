//! From lent bytes to messages: one session's frames, read wherever they are cut.

use super::{Agreement, Inflater};
use crate::codes::CloseCode;

/// What a session said, whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A text message; it is UTF-8.
    Text(&'a [u8]),
    /// A binary message.
    Binary(&'a [u8]),
    /// A Ping; to be answered with the same payload.
    Ping(&'a [u8]),
    /// A Pong.
    Pong,
    /// A Close, its code and reason checked; `None`: it had no payload.
    Close(Option<(u16, &'a str)>),
}

/// The peer broke a rule; the session is to be closed with the code, after what came before was answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({code})")]
pub struct Violation {
    /// 1002, 1007 or 1009.
    pub code: CloseCode,
    /// What was wrong, for the Close frame and the log.
    pub reason: &'static str,
}

/// One session's place in its stream of frames. At rest it owns no memory on the heap.
#[derive(Debug)]
pub struct FrameReader {}

impl FrameReader {
    /// A reader of a client's frames: messages up to `message_bytes`, with permessage-deflate if that was agreed on.
    pub fn new(_message_bytes: usize, _agreement: Option<&Agreement>) -> Self {
        Self {}
    }

    /// Reads on in `input`, at most to the end of the next frame, and says how many bytes of it were used.
    /// `Ok(None)`: that frame was a fragment, or it isn't whole yet; call again while bytes are left.
    /// A whole frame's payload is unmasked in place and lent; what is not whole is kept here, so every byte is used once.
    /// After an error the reader must not be called again.
    pub fn read<'a>(&'a mut self, _input: &'a mut [u8], _inflater: &'a mut Inflater) -> (usize, Result<Option<Received<'a>>, Violation>) {
        unimplemented!()
    }

    /// Frames that have begun since the last call (rate limits count them).
    pub fn take_frames(&mut self) -> u32 {
        unimplemented!()
    }

    /// Whether a fragmented message or a frame has begun and isn't whole (`message_timeout` counts from then).
    pub fn is_mid_message(&self) -> bool {
        unimplemented!()
    }
}
