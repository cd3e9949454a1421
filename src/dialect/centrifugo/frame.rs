//! The commands of one frame, in either encoding.

use super::codec::{JsonValue, ProtobufValue, split_delimited};
use super::command::{Command, Emulation};
use super::read;

/// The encoding of Centrifugo's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    /// JSON objects, one in each line.
    Json,
    /// Protobuf messages, each preceded by its length.
    Protobuf,
}

/// A frame or body that is not of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a command can't be read as Centrifugo's protocol has it")]
pub struct Unreadable;

impl Wire {
    /// The encoded first command of `frame`, and how many bytes of the frame it takes. A frame has at least one command and no empty line. It
    /// may end with a line feed.
    pub fn split(self, frame: &[u8]) -> Result<(&[u8], usize), Unreadable> {
        match self {
            Self::Json => {
                let end = frame.iter().position(|&byte| byte == b'\n').unwrap_or(frame.len());
                let line = frame.get(..end).filter(|line| !line.is_empty()).ok_or(Unreadable)?;
                Ok((line, (end + 1).min(frame.len())))
            }
            Self::Protobuf => split_delimited(frame).ok_or(Unreadable),
        }
    }

    /// Parses one command.
    pub fn command(self, text: &[u8]) -> Result<Command<'_>, Unreadable> {
        match self {
            Self::Json => JsonValue::of(text).and_then(read::command),
            Self::Protobuf => read::command(ProtobufValue::Bytes(text)),
        }
        .ok_or(Unreadable)
    }

    /// Parses the body of a request to `/emulation`.
    pub fn emulation(self, body: &[u8]) -> Result<Emulation<'_>, Unreadable> {
        match self {
            Self::Json => JsonValue::of(body).and_then(read::emulation),
            Self::Protobuf => read::emulation(ProtobufValue::Bytes(body)),
        }
        .ok_or(Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `data` of a request is a string of lines in JSON, and bytes in protobuf. Both bodies were recorded from an SDK.
    #[test]
    fn a_request_is_read_in_both_encodings() {
        let json = br#"{"session":"b1f8","node":"80a7","data":"{\"subscribe\":{\"channel\":\"a\"},\"id\":2}\n{}"}"#;
        let read = Wire::Json.emulation(json).unwrap();
        assert_eq!((&*read.session, &*read.node), ("b1f8", "80a7"));
        assert_eq!(&*read.data, b"{\"subscribe\":{\"channel\":\"a\"},\"id\":2}\n{}");
        let read = Wire::Protobuf.emulation(b"\x0a\x0480a7\x12\x04b1f8\x1a\x03\x02\x08\x04\x20\x01").unwrap();
        assert_eq!((&*read.session, &*read.node, &*read.data), ("b1f8", "80a7", &b"\x02\x08\x04"[..]));
        assert_eq!(Wire::Json.emulation(b"{}"), Ok(Emulation::default()));
        for text in ["", "[]", r#"{"data":{}}"#, r#"{"session":1}"#, "{", "\u{0}\u{0}"] {
            assert_eq!(Wire::Json.emulation(text.as_bytes()), Err(Unreadable), "{text:?}");
        }
        for bytes in [&b"\x0a\x0480"[..], b"\x1a", b"\x08\x01", b"\x0a\x02\xff\xff"] {
            assert_eq!(Wire::Protobuf.emulation(bytes), Err(Unreadable), "{bytes:?}");
        }
    }
}
