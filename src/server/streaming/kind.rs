//! The two kinds of streams.

use crate::dialect::Framing;

/// What a stream's path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `/sse`: server-sent events.
    Events,
    /// `/stream`: a line for each.
    Lines,
}

impl Kind {
    /// The kind of the stream on `path`, if there is one.
    pub fn at(path: &str) -> Option<Self> {
        match path {
            "/sse" => Some(Self::Events),
            "/stream" => Some(Self::Lines),
            _ => None,
        }
    }

    /// The media type, without parameters.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Lines => "application/x-ndjson",
        }
    }

    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream; charset=utf-8",
            Self::Lines => "application/x-ndjson; charset=utf-8",
        }
    }

    /// How it is framed; HTTP/1.0 has no chunks.
    pub fn framing(self, is_chunked: bool) -> Framing {
        match self {
            Self::Events => Framing::EventStream { is_chunked },
            Self::Lines => Framing::Lines { is_chunked },
        }
    }
}
