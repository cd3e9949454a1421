//! Answers to HTTP requests.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

/// The initial capacity of a written head, in bytes.
const HEAD_BYTES: usize = 256;

/// An answer with its whole body.
pub type Answer = Response<Full<Bytes>>;

/// 200 with this JSON text.
pub fn json(text: Vec<u8>) -> Answer {
    json_bytes(Bytes::from(text))
}

/// 200 with this JSON text, whose bytes an account has reserved.
pub fn json_bytes(text: Bytes) -> Answer {
    of_type("application/json", text)
}

/// 200 with `value` as JSON. Its keys must be strings.
pub fn json_of(value: &impl serde::Serialize) -> Answer {
    json(serde_json::to_vec(value).expect("an object of strings, numbers and lists is always JSON"))
}

/// 200 with a body of `content_type`.
pub fn of_type(content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// The bytes of a head with this status line and these fields, for an answer that hyper does not write.
pub fn written_head<'a, N: AsRef<str>>(status: &str, fields: impl IntoIterator<Item = (N, &'a [u8])>) -> Vec<u8> {
    let mut text = Vec::with_capacity(HEAD_BYTES);
    let mut write_line = |parts: [&[u8]; 4]| parts.into_iter().for_each(|part| text.extend_from_slice(part));
    write_line([b"HTTP/1.1", b" ", status.as_bytes(), b"\r\n"]);
    for (name, value) in fields {
        write_line([name.as_ref().as_bytes(), b": ", value, b"\r\n"]);
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

/// Adds security headers to `answer`: `Cache-Control: no-store` unless it has its own, `X-Content-Type-Options`, and
/// `Referrer-Policy`.
pub fn with_security_headers(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}
