//! The upgrade from HTTP (RFC 6455 §4), from the client's side.

use std::fmt::Write as _;

use super::head::{Head, NoHttp, first_line};

/// The key of every upgrade: the example of RFC 6455 §1.3, whose answer is known, so that no SHA-1 is computed.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The `Sec-WebSocket-Accept` for `KEY`.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How a session offers permessage-deflate (RFC 7692 §7.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Deflate {
    /// Not at all
    #[default]
    Off,
    /// Each message compressed by itself
    Alone,
    /// Messages may refer to earlier ones: each session keeps its window
    History,
}

impl Deflate {
    /// The suffix of a server's name in comparisons; empty for no offer.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Off => "",
            Self::Alone => "+deflate",
            Self::History => "+history",
        }
    }

    /// The value of `Sec-WebSocket-Extensions`.
    fn offer(self) -> Option<&'static str> {
        match self {
            Self::Off => None,
            Self::Alone => Some("permessage-deflate; client_no_context_takeover; server_no_context_takeover"),
            Self::History => Some("permessage-deflate; client_no_context_takeover"),
        }
    }
}

const HEAD_BYTES_MAX: usize = 16 << 10;

/// The server's answer to the upgrade.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Partial,
    /// Frames follow the head.
    Accepted {
        head_bytes: usize,
        /// The agreement on compression. It is `History` if the server keeps its window between messages (context
        /// take-over, RFC 7692 §7.1.1).
        deflate: Deflate,
    },
    /// Not a WebSocket.
    Refused {
        /// The status; 0 if the answer is not HTTP.
        status: u16,
        /// The first line of the body, or the problem of the answer.
        reason: String,
    },
}

/// The request of an upgrade.
pub fn request(host: &str, path: &str, deflate: Deflate, protocol: Option<&str>, token: Option<&str>) -> Vec<u8> {
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
    );
    if let Some(offer) = deflate.offer() {
        let _ = write!(request, "Sec-WebSocket-Extensions: {offer}\r\n");
    }
    if let Some(protocol) = protocol {
        let _ = write!(request, "Sec-WebSocket-Protocol: {protocol}\r\n");
    }
    finish_head(request, token)
}

/// Adds the credential and the empty line to the head of a request.
pub fn finish_head(mut head: String, token: Option<&str>) -> Vec<u8> {
    if let Some(token) = token {
        let _ = write!(head, "Authorization: Bearer {token}\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// The head of the server's answer. The error is an incomplete one, or another status.
pub fn head_of(bytes: &[u8], status: u16) -> Result<Head<'_>, Answer> {
    match Head::read(bytes) {
        Ok(Some(head)) if head.status == status => Ok(head),
        Ok(Some(head)) => Err(refused(head.status, first_line(&bytes[head.bytes..]))),
        Ok(None) if bytes.len() <= HEAD_BYTES_MAX => Err(Answer::Partial),
        Ok(None) => Err(refused(0, format!("its answer's head is longer than {HEAD_BYTES_MAX} bytes"))),
        Err(NoHttp) => Err(refused(0, format!("its answer is not HTTP/1.1: {}", first_line(bytes)))),
    }
}

/// Reads the server's answer.
pub fn answer(bytes: &[u8]) -> Answer {
    let head = match head_of(bytes, 101) {
        Ok(head) => head,
        Err(answer) => return answer,
    };
    if head.header("sec-websocket-accept") != Some(ACCEPT) {
        return refused(head.status, "the Sec-WebSocket-Accept does not fit the key".to_owned());
    }
    let deflate = match head.header("sec-websocket-extensions").filter(|value| value.starts_with("permessage-deflate")) {
        None => Deflate::Off,
        Some(agreed) if agreed.contains("server_no_context_takeover") => Deflate::Alone,
        Some(_) => Deflate::History,
    };
    Answer::Accepted { head_bytes: head.bytes, deflate }
}

fn refused(status: u16, reason: String) -> Answer {
    Answer::Refused { status, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_is_accepted_once_it_is_complete() {
        let text = format!("HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n");
        let bytes = text.as_bytes();
        assert_eq!(answer(&bytes[..bytes.len() - 1]), Answer::Partial);
        assert_eq!(answer(bytes), Answer::Accepted { head_bytes: bytes.len(), deflate: Deflate::Off });
    }

    #[test]
    fn a_refusal_has_the_status_and_the_reason() {
        let refused = answer(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 5\r\n\r\nslow!");
        assert_eq!(refused, Answer::Refused { status: 429, reason: "slow!".to_owned() });
    }

    #[test]
    fn a_wrong_accept_is_refused() {
        let answer = answer(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: no\r\n\r\n");
        assert!(matches!(answer, Answer::Refused { status: 101, .. }), "{answer:?}");
    }
}
