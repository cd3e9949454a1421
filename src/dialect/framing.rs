//! How a dialect's words become bytes of a connection.
//!
//! A closed set: code that depends on the framing matches on it, so that a new one is found by the compiler. An event becomes
//! a frame in [`event_frame`](super::event_frame) and a message in [`Encoded`](super::Encoded); the native dialect has one
//! object in each frame. A framing that joins replies would gather them there, until the reading of its session ends.

use crate::frame::ServerWindow;

/// How words become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Frames of RFC 6455.
    WebSocket {
        /// What the server compresses with, if permessage-deflate was agreed on (RFC 7692 §7.1.2.1).
        window: Option<ServerWindow>,
    },
    /// Server-sent events in the body of an HTTP answer.
    EventStream {
        /// Whether each is a chunk (RFC 9112 §7.1): HTTP/1.0 has none.
        is_chunked: bool,
    },
    /// Lines in the body of an HTTP answer.
    Lines {
        /// Whether each is a chunk (RFC 9112 §7.1): HTTP/1.0 has none.
        is_chunked: bool,
    },
}

impl Framing {
    /// What the server compresses with, if permessage-deflate was agreed on.
    pub fn window(self) -> Option<ServerWindow> {
        match self {
            Self::WebSocket { window } => window,
            Self::EventStream { .. } | Self::Lines { .. } => None,
        }
    }

    /// Whether it is a WebSocket's, and no stream's.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::WebSocket { .. })
    }

    /// Whether each frame is a chunk of an HTTP answer.
    pub fn is_chunked(self) -> bool {
        match self {
            Self::EventStream { is_chunked } | Self::Lines { is_chunked } => is_chunked,
            Self::WebSocket { .. } => false,
        }
    }
}
