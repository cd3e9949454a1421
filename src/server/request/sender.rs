//! The page that a request comes from, and what it may read of the answer (the CORS protocol of the Fetch standard).

use hyper::header::{self, HeaderValue};
use hyper::{Method, StatusCode};

use super::head::{Fields, Head};
use super::origin;
use crate::config::Config;
use crate::server::response::{Answer, empty};

/// The page that a request comes from, if from any.
pub struct Sender<'a> {
    origin: Option<&'a [u8]>,
    is_allowed_page: bool,
    is_foreign_page: bool,
    is_v1: bool,
}

impl<'a> Sender<'a> {
    /// Reads `Origin`, and judges it by `server.origins`.
    pub fn of(head: &Head<'a, impl Fields<'a>>, config: &Config) -> Self {
        let allowed = origin::is_allowed(head.fields, head.authority, &config.server.origins);
        let origin = head.fields.first(header::ORIGIN);
        let is_v1 = head.path.starts_with("/v1/");
        Self { is_allowed_page: allowed && origin.is_some() && is_v1, is_foreign_page: !allowed, is_v1, origin }
    }

    /// Lets an allowed page read the answer; caches must not give it to another.
    pub fn mark(&self, answer: &mut Answer) {
        if let (true, Some(Ok(origin))) = (self.is_allowed_page, self.origin.map(HeaderValue::from_bytes)) {
            answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        if self.is_v1 {
            answer.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
        }
    }

    /// Whether a page asks, and may not: its handshakes, POSTs and DELETEs are refused.
    pub fn is_foreign_page(&self) -> bool {
        self.is_foreign_page
    }

    /// The answer to a CORS preflight, where `head` is one and the page may ask.
    pub fn preflight<'h>(&self, head: &Head<'h, impl Fields<'h>>) -> Option<Answer> {
        let asks = *head.method == Method::OPTIONS && head.fields.first(header::ACCESS_CONTROL_REQUEST_METHOD).is_some();
        if !asks || !self.is_allowed_page {
            return None;
        }
        let mut answer = empty(StatusCode::NO_CONTENT);
        let headers = answer.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, DELETE"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        self.mark(&mut answer);
        Some(answer)
    }
}
