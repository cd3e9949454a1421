//! Centrifugo's transports over HTTP: an answer that goes on for ever, and what a client asks for it with.

use hyper::{Method, header};

use crate::dialect::Framing;
use crate::dialect::centrifugo::Wire;
use crate::server::request::Fields;

/// What a transport's path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `/connection/sse`: server-sent events.
    Events,
    /// `/connection/http_stream`: lines, or protobuf messages behind their lengths.
    Lines,
}

impl Transport {
    /// The transport of `path`, if there is one.
    pub fn at(path: &str) -> Option<Self> {
        match path {
            "/connection/sse" => Some(Self::Events),
            "/connection/http_stream" => Some(Self::Lines),
            _ => None,
        }
    }

    /// The methods that ask for it: an EventSource has its first command in the query, all else in the body.
    pub fn methods(self) -> &'static str {
        match self {
            Self::Events => "GET, POST",
            Self::Lines => "POST",
        }
    }

    /// Whether `method` asks for it.
    pub fn is_asked_by(self, method: &Method) -> bool {
        self.methods().split(", ").any(|takes| takes == method.as_str())
    }

    /// How the protocol is spelt for a request with these fields: no protobuf can be a server-sent event.
    pub fn wire<'a>(self, fields: impl Fields<'a>) -> Wire {
        match self {
            Self::Events => Wire::Json,
            Self::Lines => wire_of_body(fields),
        }
    }

    /// The value of `Content-Type` of its answer.
    pub fn content_type(self, wire: Wire) -> &'static str {
        match (self, wire) {
            (Self::Events, _) => "text/event-stream; charset=utf-8",
            (Self::Lines, Wire::Json) => "application/json",
            (Self::Lines, Wire::Protobuf) => "application/octet-stream",
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

/// How the body of a request of Centrifugo's clients is spelt.
pub fn wire_of_body<'a>(fields: impl Fields<'a>) -> Wire {
    let media_type = fields.first(header::CONTENT_TYPE).and_then(|value| value.split(|&byte| byte == b';').next()).unwrap_or_default();
    if media_type.trim_ascii().eq_ignore_ascii_case(b"application/octet-stream") { Wire::Protobuf } else { Wire::Json }
}
