//! The bytes of a whole server frame, and who owns them.

use std::ops::Deref;

use bytes::Bytes;

use crate::hub::Message;
use crate::metrics::DeflateHow;

/// A whole server frame, head and payload, shared by all sessions that are sent it.
#[derive(Debug, Clone)]
pub enum FrameBytes {
    /// An encoded frame.
    Made(Bytes),
    /// A compressed frame.
    Packed {
        /// Head and payload.
        frame: Bytes,
        /// Whether the frame refers to earlier messages.
        how: DeflateHow,
        /// The length of the inflated payload, in bytes.
        inflated_bytes: u32,
    },
    /// The plain frame that a message contains.
    OfMessage(Message),
}

impl FrameBytes {
    /// The length of the inflated payload, in bytes; 0: the frame is not compressed.
    pub fn inflated_bytes(&self) -> u32 {
        match self {
            Self::Packed { inflated_bytes, .. } => *inflated_bytes,
            Self::Made(_) | Self::OfMessage(_) => 0,
        }
    }

    /// The memory that the frame holds beside its own bytes: a message's metadata, which is not in its frame.
    pub fn metadata_bytes(&self) -> usize {
        match self {
            Self::Made(_) | Self::Packed { .. } => 0,
            Self::OfMessage(message) => message.transit_metadata_bytes(),
        }
    }

    /// The kind of compression, if the frame is compressed.
    pub fn deflated(&self) -> Option<DeflateHow> {
        match self {
            Self::Packed { how, .. } => Some(*how),
            Self::Made(_) | Self::OfMessage(_) => None,
        }
    }

    /// Whether the frame is compressed.
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
