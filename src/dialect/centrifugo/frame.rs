//! The commands of one frame, in either encoding.

use super::command::{Command, Emulation};
use super::{json_read, protobuf_read};

/// How the protocol is spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    /// JSON objects, a line each.
    Json,
    /// Protobuf messages, each behind its length.
    Protobuf,
}

/// What came is not the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a command can't be read as Centrifugo's protocol has it")]
pub struct Unreadable;

impl Wire {
    /// The first command of what is left of a frame, unread, and how many bytes it takes. A frame has one at least, and no empty line;
    /// a line feed may end it.
    pub fn split(self, frame: &[u8]) -> Result<(&[u8], usize), Unreadable> {
        match self {
            Self::Json => {
                let end = frame.iter().position(|&byte| byte == b'\n').unwrap_or(frame.len());
                let line = frame.get(..end).filter(|line| !line.is_empty()).ok_or(Unreadable)?;
                Ok((line, (end + 1).min(frame.len())))
            }
            Self::Protobuf => protobuf_read::delimited(frame).ok_or(Unreadable),
        }
    }

    /// Reads one command.
    pub fn command(self, text: &[u8]) -> Result<Command<'_>, Unreadable> {
        match self {
            Self::Json => json_read::command(text).ok_or(Unreadable),
            Self::Protobuf => protobuf_read::command(text).ok_or(Unreadable),
        }
    }

    /// Reads the body of a request that speaks for a session.
    pub fn emulation(self, body: &[u8]) -> Result<Emulation<'_>, Unreadable> {
        match self {
            Self::Json => json_read::emulation(body).ok_or(Unreadable),
            Self::Protobuf => protobuf_read::emulation(body).ok_or(Unreadable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protocol, section 7: in JSON `data` is a string of lines, in protobuf bytes; both as an SDK sent them.
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
