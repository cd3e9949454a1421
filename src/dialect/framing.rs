//! Framings: how the text of a dialect becomes bytes of a connection.
//!
//! The set is closed. Code that depends on the framing matches on it, so that the compiler finds the places that a new framing changes.
//! [`event_frame`](super::event_frame) makes the frame of an event, and [`Encoded`](super::Encoded) that of a message.

use crate::frame::ServerWindow;

/// The framing of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Frames of RFC 6455.
    WebSocket {
        /// The window of the server's compressor, if permessage-deflate was negotiated (RFC 7692 §7.1.2.1).
        window: Option<ServerWindow>,
    },
    /// Server-sent events in the body of an HTTP answer.
    EventStream {
        /// Whether each frame is a chunk (RFC 9112 §7.1). HTTP/1.0 has no chunks.
        is_chunked: bool,
    },
    /// Lines in the body of an HTTP answer.
    Lines {
        /// Whether each frame is a chunk (RFC 9112 §7.1). HTTP/1.0 has no chunks.
        is_chunked: bool,
    },
}

impl Framing {
    /// The window of the server's compressor, if permessage-deflate was negotiated.
    pub fn window(self) -> Option<ServerWindow> {
        match self {
            Self::WebSocket { window } => window,
            Self::EventStream { .. } | Self::Lines { .. } => None,
        }
    }

    /// Whether the connection is a WebSocket.
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
