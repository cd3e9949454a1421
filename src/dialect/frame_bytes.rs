//! A whole server frame's bytes, wherever they lie.

use std::ops::Deref;

use bytes::Bytes;

use crate::hub::Message;
use crate::metrics::DeflateHow;

/// A whole server frame, head and payload, shared by whoever sends it.
#[derive(Debug, Clone)]
pub enum FrameBytes {
    /// Encoded.
    Made(Bytes),
    /// Compressed.
    Packed {
        /// Head and payload.
        frame: Bytes,
        /// By itself, or for one client against what that one has.
        how: DeflateHow,
        /// The length of its payload once it is inflated, in bytes.
        inflated_bytes: u32,
    },
    /// The one that a message carries already.
    OfMessage(Message),
}

impl FrameBytes {
    /// What a client inflates of it, in bytes; 0 where the frame is not compressed.
    pub fn inflated_bytes(&self) -> u32 {
        match self {
            Self::Packed { inflated_bytes, .. } => *inflated_bytes,
            Self::Made(_) | Self::OfMessage(_) => 0,
        }
    }

    /// How it is compressed, if it is.
    pub fn deflated(&self) -> Option<DeflateHow> {
        match self {
            Self::Packed { how, .. } => Some(*how),
            Self::Made(_) | Self::OfMessage(_) => None,
        }
    }

    /// Whether it is compressed.
    pub fn is_compressed(&self) -> bool {
        self.deflated().is_some()
    }
}

impl Deref for FrameBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Made(frame) | Self::Packed { frame, .. } => frame,
            Self::OfMessage(message) => message.frame(),
        }
    }
}

impl From<Vec<u8>> for FrameBytes {
    fn from(frame: Vec<u8>) -> Self {
        Self::Made(frame.into())
    }
}
