//! The head of a stream's answer.

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{StatusCode, Version};

use super::kind::Kind;
use crate::server::request::Sender;
use crate::server::response::{Answer, empty};

/// Room for a head.
const WRITTEN_BYTES: usize = 512;

/// Tells nginx to pass each event on as it comes.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The fields of the head, but for those that tell where the body ends.
fn fields(content_type: &'static str) -> [(HeaderName, &'static str); 5] {
    [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (X_ACCEL_BUFFERING, "no"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ]
}

/// The 200 as it goes over the wire, to a request of `from`. The body ends with its last chunk, or over HTTP/1.0 with the connection,
/// which the stream keeps for itself.
pub fn written(content_type: &'static str, version: Version, from: &Sender<'_>) -> Vec<u8> {
    let mut text = Vec::with_capacity(WRITTEN_BYTES);
    text.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    let mut put = |name: &HeaderName, value: &[u8]| {
        for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
            text.extend_from_slice(part);
        }
    };
    fields(content_type).iter().for_each(|(name, value)| put(name, value.as_bytes()));
    from.marks().iter().for_each(|(name, value)| put(name, value.as_bytes()));
    put(&header::CONNECTION, b"close");
    if has_chunks(version) {
        put(&header::TRANSFER_ENCODING, b"chunked");
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// The answer to `HEAD`; whoever marks answers for pages marks it.
pub fn head_alone(kind: Kind) -> Answer {
    let mut answer = empty(StatusCode::OK);
    answer.headers_mut().extend(fields(kind.content_type()).map(|(name, value)| (name, HeaderValue::from_static(value))));
    answer
}

/// Whether HTTP of this version has chunks (RFC 9112 §7.1).
pub fn has_chunks(version: Version) -> bool {
    version != Version::HTTP_10
}
