//! How a dialect's words become bytes of a connection, with the heartbeat and the goodbye that are the framing's own.
//!
//! A closed set: code that depends on the framing matches on it, so that a new one is found by the compiler. An event becomes
//! a frame in [`event_frame`](super::event_frame) and a message in [`Encoded`](super::Encoded); the native dialect has one
//! object in each frame. A framing that joins replies would gather them there, until the reading of its session ends.

use super::frame_bytes::FrameBytes;
use crate::frame::{OpCode, close_frame, control_frame};

/// How words become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Frames of RFC 6455.
    WebSocket {
        /// The server's window in bits, if permessage-deflate was agreed on (RFC 7692 §7.1.2.1).
        window_bits: Option<u8>,
    },
}

impl Framing {
    /// What is sent to a session that was silent for `ping_interval`: an empty Ping (RFC 6455 §5.5.2).
    pub fn heartbeat(self) -> FrameBytes {
        match self {
            Self::WebSocket { .. } => control_frame(OpCode::Ping, &[]).into(),
        }
    }

    /// The answer to a client's heartbeat, with the client's own payload: a Pong (RFC 6455 §5.5.3).
    pub fn heartbeat_answer(self, payload: &[u8]) -> FrameBytes {
        match self {
            Self::WebSocket { .. } => control_frame(OpCode::Pong, payload).into(),
        }
    }

    /// The last bytes of a connection: a Close (RFC 6455 §5.5.1). Without a `code` it is empty.
    pub fn goodbye(self, code: Option<u16>, reason: &str) -> FrameBytes {
        match self {
            Self::WebSocket { .. } => close_frame(code, reason).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §5.5: Ping, Pong and Close are one whole frame each, never compressed.
    #[test]
    fn a_websockets_own_frames() {
        for window_bits in [None, Some(15)] {
            let framing = Framing::WebSocket { window_bits };
            assert_eq!(*framing.heartbeat(), [0x89, 0]);
            assert_eq!(*framing.heartbeat_answer(b"hi"), *b"\x8a\x02hi");
            assert_eq!(*framing.goodbye(Some(1001), "x"), *b"\x88\x03\x03\xe9x");
            assert_eq!(*framing.goodbye(None, "unheard"), [0x88, 0]);
        }
    }
}
