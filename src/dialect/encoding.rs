//! What a session speaks and how that is framed: together they say which frame of a message the session takes.

use super::framing::Framing;

/// What a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The native one: JSON objects (PROTOCOL section 3).
    Json,
    /// Payloads alone, of one topic (section 4).
    Raw,
    /// Every message comes back (section 4, `/echo`).
    Echo,
}

impl Dialect {
    /// Its name in `/v1/sessions`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Raw => "raw",
            Self::Echo => "echo",
        }
    }
}

/// A dialect and its framing. Sessions of equal encodings share each message's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encoding {
    /// The words.
    pub dialect: Dialect,
    /// How words become bytes of the connection.
    pub framing: Framing,
}

impl Encoding {
    /// `dialect` over a WebSocket; `window_bits` is the server's window where permessage-deflate was agreed on.
    pub fn websocket(dialect: Dialect, window_bits: Option<u8>) -> Self {
        Self { dialect, framing: Framing::WebSocket { window_bits } }
    }
}
