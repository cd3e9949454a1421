//! CORS (Fetch standard): whether the page that sends a request may send it, and the headers that let the page read the
//! answer.

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};

use super::head::{Fields, Head};
use super::origin;
use crate::config::Config;
use crate::server::response::{Answer, empty};

/// The `Origin` of a request, checked against `server.origins`.
pub struct Cors<'a> {
    origin: Option<&'a [u8]>,
    is_allowed_page: bool,
    is_foreign_page: bool,
    audience: Option<Audience>,
}

/// The kinds of paths whose answers pages of other origins may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// `/v1/…`: scripts, which send a token.
    Scripts,
    /// A stream: also an EventSource, which may send cookies.
    Streams,
    /// Centrifugo's transports over HTTP, and `/emulation`.
    Emulated,
}

impl Audience {
    fn of(path: &str) -> Option<Self> {
        match path {
            "/sse" | "/stream" => Some(Self::Streams),
            "/connection/sse" | "/connection/http_stream" | "/emulation" => Some(Self::Emulated),
            _ => path.starts_with("/v1/").then_some(Self::Scripts),
        }
    }
}

impl<'a> Cors<'a> {
    /// Reads `Origin`, and checks it against `server.origins`.
    pub fn of(head: &Head<'a, impl Fields<'a>>, config: &Config) -> Self {
        let allowed = origin::is_allowed(head.fields, head.authority, &config.server.origins);
        let origin = head.fields.first(header::ORIGIN);
        let audience = Audience::of(head.path);
        Self { is_allowed_page: allowed && origin.is_some() && audience.is_some(), is_foreign_page: !allowed, audience, origin }
    }

    /// The header fields that allow the page to read the answer, and keep caches from giving it to another page.
    pub fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        if let (true, Some(Ok(origin))) = (self.is_allowed_page, self.origin.map(HeaderValue::from_bytes)) {
            headers.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, origin));
            if matches!(self.audience, Some(Audience::Streams | Audience::Emulated)) {
                headers.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
            }
        }
        if self.audience.is_some() {
            headers.push((header::VARY, HeaderValue::from_static("Origin")));
        }
        headers
    }

    /// Adds [`Cors::headers`] to `answer`.
    pub fn add_to(&self, mut answer: Answer) -> Answer {
        for (name, value) in self.headers() {
            answer.headers_mut().append(name, value);
        }
        answer
    }

    /// Whether the page's origin is not allowed. Its handshakes, POSTs and DELETEs are refused.
    pub fn is_foreign_page(&self) -> bool {
        self.is_foreign_page
    }

    /// The value of `Origin`.
    pub fn origin(&self) -> Option<&'a [u8]> {
        self.origin
    }

    /// The answer to a CORS preflight, if `head` is one and the page is allowed.
    pub fn preflight<'h>(&self, head: &Head<'h, impl Fields<'h>>) -> Option<Answer> {
        let asks = *head.method == Method::OPTIONS && head.fields.first(header::ACCESS_CONTROL_REQUEST_METHOD).is_some();
        if !asks || !self.is_allowed_page {
            return None;
        }
        let mut answer = empty(StatusCode::NO_CONTENT);
        let headers = answer.headers_mut();
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static(match self.audience {
                Some(Audience::Streams) => "GET, HEAD",
                Some(Audience::Emulated) => "POST, OPTIONS",
                _ => "GET, HEAD, POST, DELETE",
            }),
        );
        let wanted = head.fields.first(header::ACCESS_CONTROL_REQUEST_HEADERS).and_then(|names| HeaderValue::from_bytes(names).ok());
        let allowed = match self.audience {
            Some(Audience::Streams) => HeaderValue::from_static("authorization, last-event-id, cache-control"),
            // SDKs send whatever header fields the page gives them.
            Some(Audience::Emulated) => wanted.unwrap_or(HeaderValue::from_static("content-type")),
            _ => HeaderValue::from_static("authorization, content-type, idempotency-key"),
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        let max_age = if self.audience == Some(Audience::Emulated) { "300" } else { "600" };
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(max_age));
        Some(self.add_to(answer))
    }
}
