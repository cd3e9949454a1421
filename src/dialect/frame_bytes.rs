//! A whole server frame's bytes, wherever they lie.

use std::ops::Deref;

use bytes::Bytes;

use crate::hub::Message;

/// A whole server frame, head and payload, shared by whoever sends it.
#[derive(Debug, Clone)]
pub enum FrameBytes {
    /// Encoded or compressed.
    Made(Bytes),
    /// The one that a message carries already.
    OfMessage(Message),
}

impl Deref for FrameBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Made(bytes) => bytes,
            Self::OfMessage(message) => message.frame(),
        }
    }
}

impl From<Vec<u8>> for FrameBytes {
    fn from(frame: Vec<u8>) -> Self {
        Self::Made(frame.into())
    }
}
