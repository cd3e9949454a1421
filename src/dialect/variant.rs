//! What a session speaks, and which of a message's frames it therefore takes.

/// What a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The native one: JSON objects in text frames (PROTOCOL section 3).
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

/// Which frame of a message a session takes: its dialect and its compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variant {
    /// What the session speaks.
    pub dialect: Dialect,
    /// The server's window in bits, if permessage-deflate was agreed on.
    pub window_bits: Option<u8>,
}
