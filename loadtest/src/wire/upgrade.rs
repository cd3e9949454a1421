//! The upgrade from HTTP (RFC 6455 §4), from the client's side.

use std::fmt::Write as _;

/// The key and the answer to it are RFC 6455's own example (§1.3): an answer that fits shows that the server computes it, and nobody here needs SHA-1.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a server answers to [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// What is offered where deflate is asked for.
pub const DEFLATE_OFFER: &str = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";

const HEAD_BYTES_MAX: usize = 16 << 10;

/// What the server said to the upgrade.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not all of it is there yet.
    Partial,
    /// Frames follow after `head_bytes`.
    Accepted {
        /// The answer's size in bytes.
        head_bytes: usize,
        /// The server compresses; with its window kept from message to message if `takeover`.
        deflate: Option<Takeover>,
    },
    /// Not a WebSocket; the status, and a line of the body.
    Refused {
        /// 0 where the answer isn't HTTP.
        status: u16,
        /// What the server said about it.
        reason: String,
    },
}

/// Whether the server's window lives from message to message (RFC 7692 §7.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// Each message stands alone.
    No,
    /// Each refers to those before.
    Yes,
}

/// The request.
pub fn request(host: &str, path: &str, deflate: bool, protocol: Option<&str>) -> Vec<u8> {
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
    );
    if deflate {
        let _ = write!(request, "Sec-WebSocket-Extensions: {DEFLATE_OFFER}\r\n");
    }
    if let Some(protocol) = protocol {
        let _ = write!(request, "Sec-WebSocket-Protocol: {protocol}\r\n");
    }
    request.push_str("\r\n");
    request.into_bytes()
}

/// Reads the server's answer.
pub fn answer(bytes: &[u8]) -> Answer {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        if bytes.len() > HEAD_BYTES_MAX {
            return Answer::Refused { status: 0, reason: "an answer without an end".to_owned() };
        }
        return Answer::Partial;
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0);
    if status != 101 {
        let body = String::from_utf8_lossy(&bytes[end + 4..]);
        return Answer::Refused { status, reason: body.lines().next().unwrap_or("").chars().take(200).collect() };
    }
    let (mut accepted, mut deflate) = (false, None);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("sec-websocket-accept") {
            accepted = value == ACCEPT;
        } else if name.eq_ignore_ascii_case("sec-websocket-extensions") && value.starts_with("permessage-deflate") {
            deflate = Some(if value.contains("server_no_context_takeover") { Takeover::No } else { Takeover::Yes });
        }
    }
    if !accepted {
        return Answer::Refused { status, reason: "the Sec-WebSocket-Accept does not fit the key".to_owned() };
    }
    Answer::Accepted { head_bytes: end + 4, deflate }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_is_accepted_once_it_is_whole() {
        let text = format!("HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n");
        let bytes = text.as_bytes();
        assert_eq!(answer(&bytes[..bytes.len() - 1]), Answer::Partial);
        assert_eq!(answer(bytes), Answer::Accepted { head_bytes: bytes.len(), deflate: None });
    }

    #[test]
    fn a_refusal_keeps_its_status_and_reason() {
        let refused = answer(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 5\r\n\r\nslow!");
        assert_eq!(refused, Answer::Refused { status: 429, reason: "slow!".to_owned() });
    }

    #[test]
    fn a_wrong_accept_is_refused() {
        let answer = answer(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: no\r\n\r\n");
        assert!(matches!(answer, Answer::Refused { status: 101, .. }), "{answer:?}");
    }
}
