//! The two kinds of streams.

use crate::dialect::Framing;

/// The kind of a stream, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// `/sse`: server-sent events.
    Events,
    /// `/stream`: a JSON line for each event.
    Lines,
}

impl StreamKind {
    /// The kind of the stream at `path`, if it is one.
    pub fn at(path: &str) -> Option<Self> {
        match path {
            "/sse" => Some(Self::Events),
            "/stream" => Some(Self::Lines),
            _ => None,
        }
    }

    /// Its media type, without parameters.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Lines => "application/x-ndjson",
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream; charset=utf-8",
            Self::Lines => self.media_type(),
        }
    }

    /// Its framing; HTTP/1.0 has no chunks.
    pub fn framing(self, is_chunked: bool) -> Framing {
        match self {
            Self::Events => Framing::EventStream { is_chunked },
            Self::Lines => Framing::Lines { is_chunked },
        }
    }
}
