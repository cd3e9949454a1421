//! The frames of heartbeats, of their answers, and of the end of a connection.

use super::encoder::reply_plain;
use super::frame_bytes::FrameBytes;
use super::stream;
use crate::codes::CloseCode;
use crate::dialect::centrifugo::{self, Disconnect, Reply};
use crate::dialect::encoding::{Dialect, Encoding};
use crate::dialect::framing::Framing;
use crate::frame::{OpCode, close_frame, control_frame};

/// The frame of a heartbeat: the dialect's own ping if it has one; else, by framing, an empty Ping (RFC 6455 §5.5.2), a comment, or an empty
/// line.
pub fn heartbeat_frame(encoding: Encoding) -> FrameBytes {
    match (encoding.dialect, encoding.framing) {
        (Dialect::Centrifugo(wire), Framing::WebSocket { .. }) => reply_plain(&Reply::Ping, wire).frame,
        (Dialect::Centrifugo(wire), _) => stream::of_data(encoding, 0, |bytes| centrifugo::reply(bytes, &Reply::Ping, wire)),
        (_, Framing::WebSocket { .. }) => control_frame(OpCode::Ping, &[]).into(),
        (_, Framing::EventStream { is_chunked }) => stream::of_text(":\n\n", is_chunked),
        (_, Framing::Lines { is_chunked }) => stream::of_text("\n", is_chunked),
    }
}

/// The answer to a client's Ping: a Pong with the same payload (RFC 6455 §5.5.3); `None`: the framing has no heartbeats of clients.
pub fn heartbeat_answer(framing: Framing, payload: &[u8]) -> Option<FrameBytes> {
    framing.is_websocket().then(|| control_frame(OpCode::Pong, payload).into())
}

/// The last bytes of a connection that the gateway ends with `code`. Centrifugo's clients get codes and reasons of their own protocol.
pub fn goodbye(encoding: Encoding, code: CloseCode, reason: &str) -> FrameBytes {
    match encoding.dialect {
        Dialect::Centrifugo(_) => {
            let Disconnect { code, reason } = code.into();
            goodbye_with(encoding, Some(code), reason)
        }
        Dialect::Json | Dialect::Raw | Dialect::Echo => goodbye_with(encoding, Some(code.number()), reason),
    }
}

/// The last bytes of a connection: a Close frame (RFC 6455 §5.5.1), which is empty without a `code`; or the last event of a stream, and the
/// end of its body.
pub fn goodbye_with(encoding: Encoding, code: Option<u16>, reason: &str) -> FrameBytes {
    match encoding.framing {
        Framing::WebSocket { .. } => close_frame(code, reason).into(),
        Framing::EventStream { .. } | Framing::Lines { .. } => stream::goodbye(encoding, code, reason),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Limits;
    use crate::frame::ServerWindow;

    /// RFC 6455 §5.5: Ping, Pong and Close are whole frames and never compressed.
    #[test]
    fn control_frames_are_whole_and_uncompressed() {
        for window in [None, Some(ServerWindow { bits: 15, is_kept: true })] {
            let encoding = Encoding::websocket(Dialect::Json, window);
            assert_eq!(*heartbeat_frame(encoding), [0x89, 0]);
            assert_eq!(heartbeat_answer(encoding.framing, b"hi").as_deref(), Some(&b"\x8a\x02hi"[..]));
            assert_eq!(*goodbye(encoding, CloseCode::GoingAway, "x"), *b"\x88\x03\x03\xe9x");
            assert_eq!(*goodbye_with(encoding, None, "unsent"), [0x88, 0]);
        }
    }

    /// PROTOCOL 11: a stream has a heartbeat after at most 25 s of silence. Its client sends no answer.
    #[test]
    fn a_stream_has_a_heartbeat_without_an_answer() {
        let limits = Limits { ping_interval: Duration::from_secs(60), ..Limits::default() };
        for (framing, expected) in [
            (Framing::EventStream { is_chunked: true }, "3\r\n:\n\n\r\n"),
            (Framing::EventStream { is_chunked: false }, ":\n\n"),
            (Framing::Lines { is_chunked: true }, "1\r\n\n\r\n"),
        ] {
            let encoding = Encoding { dialect: Dialect::Json, framing };
            assert_eq!(*heartbeat_frame(encoding), *expected.as_bytes());
            assert!(heartbeat_answer(framing, b"").is_none());
            let heartbeat = encoding.heartbeat(&limits);
            assert_eq!((heartbeat.interval, heartbeat.timeout), (Duration::from_secs(25), None));
        }
        let heartbeat = Encoding::websocket(Dialect::Json, None).heartbeat(&limits);
        assert_eq!((heartbeat.interval, heartbeat.timeout), (limits.ping_interval, Some(limits.pong_timeout)));
    }
}
