//! The check of a WebSocket handshake (RFC 6455 §4.2.1), and its 101 (§4.2.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{StatusCode, Version};

use crate::codes::ErrorCode;
use crate::frame::accept_key;
use crate::server::request::Fields;
use crate::server::response::{Answer, Problem, written_head};

/// The supported subprotocols. Each belongs to one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subprotocol {
    /// The native dialect.
    Native,
    /// Centrifugo's protocol in JSON.
    CentrifugoJson,
    /// Centrifugo's protocol in protobuf.
    CentrifugoProtobuf,
}

impl Subprotocol {
    fn as_str(self) -> &'static str {
        match self {
            Self::Native => "belfry.json.v1",
            Self::CentrifugoJson => "centrifuge-json",
            Self::CentrifugoProtobuf => "centrifuge-protobuf",
        }
    }
}

/// The size of a decoded `Sec-WebSocket-Key`, in bytes.
const KEY_BYTES: usize = 16;

/// Why a handshake is refused.
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
    /// The key is missing, repeated, or not 16 bytes.
    #[error("Sec-WebSocket-Key has to be 16 bytes in base64, once")]
    Key,
    /// The request has a body, which could not be distinguished from frames.
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
                    // RFC 9110 §7.8: who sends `Upgrade` names it in `Connection`.
                    .with_header(header::CONNECTION, HeaderValue::from_static("upgrade, close"))
            }
            BadUpgrade::Http | BadUpgrade::Connection | BadUpgrade::Key | BadUpgrade::Body => {
                Problem::bad_request(bad.to_string()).closing()
            }
        }
    }
}

/// 426, the answer to a plain request for a WebSocket path.
pub fn required() -> Answer {
    Answer::from(Problem::from(BadUpgrade::NotAsked))
}

/// Whether `Upgrade` has `websocket`; other protocols such as h2c are ignored.
pub fn is_asked<'a>(fields: impl Fields<'a>) -> bool {
    has_token(fields, header::UPGRADE, b"websocket")
}

/// Checks all of the handshake except its method. Returns the key.
pub fn check<'a>(version: Version, fields: impl Fields<'a>) -> Result<&'a [u8], BadUpgrade> {
    if !is_asked(fields) {
        return Err(BadUpgrade::NotAsked);
    }
    if version != Version::HTTP_11 {
        return Err(BadUpgrade::Http);
    }
    if !has_token(fields, header::CONNECTION, b"upgrade") {
        return Err(BadUpgrade::Connection);
    }
    if fields.only(header::SEC_WEBSOCKET_VERSION) != Some(b"13") {
        return Err(BadUpgrade::Version);
    }
    let key = fields.only(header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key)).ok_or(BadUpgrade::Key)?;
    if fields.has_body() { Err(BadUpgrade::Body) } else { Ok(key) }
}

fn is_key(text: &[u8]) -> bool {
    let mut room = [0; 2 * KEY_BYTES];
    STANDARD.decode_slice(text, &mut room) == Ok(KEY_BYTES)
}

/// The first of `known` that the client offers.
pub fn offered<'a>(fields: impl Fields<'a>, known: &[Subprotocol]) -> Option<Subprotocol> {
    let is_offered = |known: &&Subprotocol| fields.elements(header::SEC_WEBSOCKET_PROTOCOL).any(|token| token == known.as_str().as_bytes());
    known.iter().find(is_offered).copied()
}

fn has_token<'a>(fields: impl Fields<'a>, name: HeaderName, token: &[u8]) -> bool {
    fields.elements(name).any(|found| found.eq_ignore_ascii_case(token))
}

/// The bytes of the 101 to a handshake with this `key` (RFC 6455 §4.2.2).
pub fn switching(key: &[u8], subprotocol: Option<Subprotocol>, extensions: Option<&str>) -> Vec<u8> {
    let accept = accept_key(key);
    let always = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "websocket"), (header::SEC_WEBSOCKET_ACCEPT, accept.as_str())];
    let subprotocol = subprotocol.map(|chosen| (header::SEC_WEBSOCKET_PROTOCOL, chosen.as_str()));
    let extensions = extensions.map(|agreed| (header::SEC_WEBSOCKET_EXTENSIONS, agreed));
    let fields = always.into_iter().chain(subprotocol).chain(extensions);
    written_head("101 Switching Protocols", fields.map(|(name, value)| (name, value.as_bytes())))
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;

    fn handshake(changes: &[(&'static str, Option<&'static str>)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let valid = [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in valid {
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
    fn every_header_of_a_handshake_is_checked() {
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
            assert_eq!(check(Version::HTTP_11, &handshake(&[(name, value)])).map(drop), expected, "{name}: {value:?}");
        }
        assert_eq!(check(Version::HTTP_10, &handshake(&[])), Err(BadUpgrade::Http));
    }

    /// The key and answer of RFC 6455 §1.3.
    #[test]
    fn a_key_is_answered_with_its_accept_value() {
        let handshake = handshake(&[]);
        let key = check(Version::HTTP_11, &handshake).unwrap();
        let plain = String::from_utf8(switching(key, None, None)).unwrap();
        let expected = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        assert_eq!(plain, expected);
        let text = String::from_utf8(switching(key, Some(Subprotocol::Native), Some("permessage-deflate"))).unwrap();
        assert!(text.ends_with("sec-websocket-protocol: belfry.json.v1\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n"), "{text}");
    }

    /// PROTOCOL 7: the answer has `Sec-WebSocket-Version: 13`.
    #[test]
    fn another_version_gets_426_with_the_supported_one() {
        let answer = Answer::from(Problem::from(BadUpgrade::Version));
        assert_eq!(answer.status(), 426);
        assert_eq!(answer.headers()["sec-websocket-version"], "13");
        assert_eq!(answer.headers()["connection"], "upgrade, close");
    }

    /// PROTOCOL 3: `belfry.json.v1` is found among others.
    #[test]
    fn the_native_subprotocol_is_found_among_others() {
        for (offer, found) in [("belfry.json.v1", true), ("mqtt, belfry.json.v1", true), ("mqtt", false), ("belfry.json.v2", false)] {
            let headers = handshake(&[("sec-websocket-protocol", Some(offer))]);
            assert_eq!(offered(&headers, &[Subprotocol::Native]).is_some(), found, "{offer}");
        }
        assert_eq!(offered(&handshake(&[]), &[Subprotocol::Native]), None);
    }
}
