//! Centrifugo's transports over HTTP, which are endless answers.

use hyper::{Method, header};

use super::kind::StreamKind;
use crate::dialect::Framing;
use crate::dialect::centrifugo::Wire;
use crate::server::request::Fields;

/// A transport, by its path: server-sent events, or JSON lines and length-prefixed protobuf messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmulatedTransport(StreamKind);

impl EmulatedTransport {
    /// The transport at `path`, if it is one.
    pub fn at(path: &str) -> Option<Self> {
        match path {
            "/connection/sse" => Some(Self(StreamKind::Events)),
            "/connection/http_stream" => Some(Self(StreamKind::Lines)),
            _ => None,
        }
    }

    /// Its methods. The first command is in the query for an EventSource, and in the body for other clients.
    pub fn methods(self) -> &'static str {
        match self.0 {
            StreamKind::Events => "GET, POST",
            StreamKind::Lines => "POST",
        }
    }

    /// Whether `method` opens it.
    pub fn is_asked_by(self, method: &Method) -> bool {
        self.methods().split(", ").any(|takes| takes == method.as_str())
    }

    /// The wire format for a request with these fields. Server-sent events are always JSON.
    pub fn wire<'a>(self, fields: impl Fields<'a>) -> Wire {
        match self.0 {
            StreamKind::Events => Wire::Json,
            StreamKind::Lines => wire_of_body(fields),
        }
    }

    pub fn content_type(self, wire: Wire) -> &'static str {
        match (self.0, wire) {
            (StreamKind::Events, _) => StreamKind::Events.content_type(),
            (StreamKind::Lines, Wire::Json) => "application/json",
            (StreamKind::Lines, Wire::Protobuf) => "application/octet-stream",
        }
    }

    /// Its framing; HTTP/1.0 has no chunks.
    pub fn framing(self, is_chunked: bool) -> Framing {
        self.0.framing(is_chunked)
    }
}

/// The wire format of a request's body.
pub fn wire_of_body<'a>(fields: impl Fields<'a>) -> Wire {
    let media_type = fields.first(header::CONTENT_TYPE).and_then(|value| value.split(|&byte| byte == b';').next()).unwrap_or_default();
    if media_type.trim_ascii().eq_ignore_ascii_case(b"application/octet-stream") { Wire::Protobuf } else { Wire::Json }
}
