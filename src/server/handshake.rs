//! Whether a request is a WebSocket handshake that can be answered (RFC 6455 §4.2.1).

use base64::Engine;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode, Version};

use super::problem::Problem;
use crate::codes::ErrorCode;

/// The native dialect's subprotocol.
pub const NATIVE_SUBPROTOCOL: &str = "belfry.json.v1";

/// What is wrong with a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUpgrade {
    /// No `Upgrade: websocket`.
    #[error("this path speaks WebSocket; the request has no `Upgrade: websocket`")]
    NotAsked,
    /// Not version 13.
    #[error("the WebSocket version has to be 13")]
    Version,
    /// HTTP/1.0.
    #[error("a WebSocket handshake is HTTP/1.1")]
    Http,
    /// No `Connection: upgrade`.
    #[error("the request has no `Connection: upgrade`")]
    Connection,
    /// No key, several, or one that is not 16 bytes.
    #[error("Sec-WebSocket-Key has to be 16 bytes in base64, once")]
    Key,
    /// What follows the head can't be told from frames.
    #[error("a WebSocket handshake has no body")]
    Body,
}

impl From<BadUpgrade> for Problem {
    fn from(bad: BadUpgrade) -> Self {
        match bad {
            BadUpgrade::NotAsked | BadUpgrade::Version => {
                Problem::new(StatusCode::UPGRADE_REQUIRED, ErrorCode::BadRequest, bad.to_string())
                    .with_header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
                    .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
            }
            BadUpgrade::Http | BadUpgrade::Connection | BadUpgrade::Key | BadUpgrade::Body => Problem::bad_request(bad.to_string()),
        }
        .closing()
    }
}

/// Whether the request asks for WebSocket; h2c and others are as good as nothing asked.
pub fn is_asked(headers: &HeaderMap) -> bool {
    has_token(headers, header::UPGRADE, b"websocket")
}

/// Checks all of the handshake but its method.
pub fn check(version: Version, headers: &HeaderMap) -> Result<(), BadUpgrade> {
    if !is_asked(headers) {
        return Err(BadUpgrade::NotAsked);
    }
    if version != Version::HTTP_11 {
        return Err(BadUpgrade::Http);
    }
    if !has_token(headers, header::CONNECTION, b"upgrade") {
        return Err(BadUpgrade::Connection);
    }
    if only(headers, header::SEC_WEBSOCKET_VERSION) != Some(b"13") {
        return Err(BadUpgrade::Version);
    }
    let key = only(headers, header::SEC_WEBSOCKET_KEY).and_then(|key| base64::engine::general_purpose::STANDARD.decode(key).ok());
    if key.is_none_or(|key| key.len() != 16) {
        return Err(BadUpgrade::Key);
    }
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get_all(header::CONTENT_LENGTH).iter().any(|length| length.as_bytes() != b"0");
    if has_body { Err(BadUpgrade::Body) } else { Ok(()) }
}

/// Whether [`NATIVE_SUBPROTOCOL`] is among the subprotocols offered.
pub fn offers_native(headers: &HeaderMap) -> bool {
    tokens(headers, header::SEC_WEBSOCKET_PROTOCOL).any(|token| token == NATIVE_SUBPROTOCOL.as_bytes())
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &[u8]) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token))
}

fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers.get_all(name).into_iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

/// The value of a header that is there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&[u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake(changes: &[(&'static str, Option<&'static str>)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let sound = [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in sound {
            headers.insert(name, HeaderValue::from_static(value));
        }
        for (name, value) in changes {
            headers.remove(*name);
            if let Some(value) = value {
                headers.insert(*name, HeaderValue::from_static(value));
            }
        }
        headers
    }

    /// RFC 6455 §4.2.1, threats row 19.
    #[test]
    fn every_part_is_checked() {
        for (name, value, expected) in [
            ("upgrade", None, Err(BadUpgrade::NotAsked)),
            ("upgrade", Some("h2c"), Err(BadUpgrade::NotAsked)),
            ("upgrade", Some("h2c, websocket"), Ok(())),
            ("connection", Some("keep-alive"), Err(BadUpgrade::Connection)),
            ("connection", Some("upgrades"), Err(BadUpgrade::Connection)),
            ("sec-websocket-version", None, Err(BadUpgrade::Version)),
            ("sec-websocket-version", Some("8"), Err(BadUpgrade::Version)),
            ("sec-websocket-key", None, Err(BadUpgrade::Key)),
            ("sec-websocket-key", Some("c2hvcnQ="), Err(BadUpgrade::Key)),
            ("sec-websocket-key", Some("!!!"), Err(BadUpgrade::Key)),
            ("content-length", Some("0"), Ok(())),
            ("content-length", Some("5"), Err(BadUpgrade::Body)),
            ("transfer-encoding", Some("chunked"), Err(BadUpgrade::Body)),
        ] {
            assert_eq!(check(Version::HTTP_11, &handshake(&[(name, value)])), expected, "{name}: {value:?}");
        }
        assert_eq!(check(Version::HTTP_10, &handshake(&[])), Err(BadUpgrade::Http));
    }

    /// PROTOCOL 7: 426 for another version, and the answer says 13.
    #[test]
    fn a_wrong_version_is_told_the_right_one() {
        let answer = super::super::problem::Answer::from(Problem::from(BadUpgrade::Version));
        assert_eq!(answer.status(), 426);
        assert_eq!(answer.headers()["sec-websocket-version"], "13");
        assert_eq!(answer.headers()["connection"], "close");
    }

    /// PROTOCOL 3: `belfry.json.v1`, or none at all.
    #[test]
    fn the_native_subprotocol_is_found_among_others() {
        for (offer, found) in [("belfry.json.v1", true), ("mqtt, belfry.json.v1", true), ("mqtt", false), ("belfry.json.v2", false)] {
            assert_eq!(offers_native(&handshake(&[("sec-websocket-protocol", Some(offer))])), found, "{offer}");
        }
        assert!(!offers_native(&handshake(&[])));
    }
}
