//! The head of a stream's answer.

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{StatusCode, Version};

use super::kind::StreamKind;
use crate::server::request::Cors;
use crate::server::response::{Answer, empty, written_head};

/// Turns buffering off in nginx.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The header fields, without those that frame the body.
fn fields(content_type: &'static str) -> [(HeaderName, &'static str); 5] {
    [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (X_ACCEL_BUFFERING, "no"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ]
}

/// The bytes of the 200, with the headers of `cors`. The body ends with its last chunk, or over HTTP/1.0 with the
/// connection. No other request follows on the connection.
pub fn written(content_type: &'static str, version: Version, cors: &Cors<'_>) -> Vec<u8> {
    let headers = cors.headers();
    let always = fields(content_type).into_iter().map(|(name, value)| (name, value.as_bytes()));
    let headers = headers.iter().map(|(name, value)| (name.clone(), value.as_bytes()));
    let chunked = has_chunks(version).then_some((header::TRANSFER_ENCODING, &b"chunked"[..]));
    written_head("200 OK", always.chain(headers).chain([(header::CONNECTION, &b"close"[..])]).chain(chunked))
}

/// The answer to `HEAD`, without CORS headers.
pub fn head_alone(kind: StreamKind) -> Answer {
    let mut answer = empty(StatusCode::OK);
    answer.headers_mut().extend(fields(kind.content_type()).map(|(name, value)| (name, HeaderValue::from_static(value))));
    answer
}

/// Whether this version of HTTP has chunks (RFC 9112 §7.1).
pub fn has_chunks(version: Version) -> bool {
    version != Version::HTTP_10
}
