//! The client's side of a WebSocket of the native dialect. It answers pings.

use std::time::Duration;

use anyhow::bail;
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::frame::{Frame, MESSAGE_BYTES_MAX, NoFrame, read_frame, write_frame};
use crate::frame::OpCode;

/// The wait before a reconnect after an operator closed the session (4009).
const AFTER_OPERATOR: Duration = Duration::from_secs(1);
/// How long [`WebSocket::close`] waits for the gateway's Close.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// A TCP connection, plain or under TLS, or a Unix socket.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A message or a control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A whole text message.
    Text(String),
    /// A ping or a pong.
    Alive,
    /// A Close, with its code (1005 where it has none) and reason.
    Close(u16, String),
}

/// A sentence with the code and reason of the gateway's Close.
pub fn close_description(code: u16, reason: &str) -> String {
    if reason.is_empty() { format!("the gateway closed with {code}") } else { format!("the gateway closed with {code}, {reason}") }
}

/// Whether another session may follow the one that the gateway's Close has ended (PROTOCOL section 6): the reason for
/// people, and the moment before which none may begin. The error is the end for good.
pub fn after_close(code: u16, reason: &str, not_before: Option<Instant>) -> anyhow::Result<(String, Option<Instant>)> {
    let description = close_description(code, reason);
    match code {
        4001 => bail!("{description}: the token is not one that it knows; give another --token"),
        4002 => bail!("{description}: the token has expired; give a new --token"),
        1008 => bail!("{description}: not allowed without credentials? give a --token"),
        // 4009 closes one session, so the client may reconnect. An operator who wants to exclude a user removes the
        // key.
        4009 => Ok((description, Some(not_before.unwrap_or_else(|| Instant::now() + AFTER_OPERATOR)))),
        1002 | 1003 | 1007 | 1009 | 1010 => bail!("{description}: it doesn't understand this version of belfry"),
        _ => Ok((description, not_before)),
    }
}

/// Why a WebSocket ended.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The connection broke, or ended without a Close.
    #[error("the gateway is gone: {0}")]
    Broken(#[from] std::io::Error),
    /// The server violated RFC 6455.
    #[error(transparent)]
    Protocol(#[from] NoFrame),
}

/// One WebSocket. Its futures are cancel-safe: they may be dropped, as `select!` does.
pub struct WebSocket {
    stream: Box<dyn Stream>,
    received: BytesMut,
    unsent: BytesMut,
    assembly: Assembly,
}

impl WebSocket {
    /// A WebSocket over `stream`, from which `received` was read before.
    pub fn new(stream: Box<dyn Stream>, received: BytesMut) -> Self {
        Self { stream, received, unsent: BytesMut::new(), assembly: Assembly::default() }
    }

    /// Queues a text message, which [`WebSocket::flush`] or [`WebSocket::next`] sends.
    pub fn queue_text(&mut self, text: &str) {
        write_frame(&mut self.unsent, OpCode::Text, text.as_bytes(), rand::random());
    }

    /// Sends all queued bytes.
    pub async fn flush(&mut self) -> Result<(), SocketError> {
        while self.unsent.has_remaining() {
            self.stream.write_buf(&mut self.unsent).await?;
        }
        self.stream.flush().await?;
        Ok(())
    }

    /// The next message or control frame among the received bytes.
    pub fn take_received(&mut self) -> Result<Option<Incoming>, SocketError> {
        while let Some(frame) = read_frame(&mut self.received)? {
            if frame.opcode == OpCode::Ping {
                write_frame(&mut self.unsent, OpCode::Pong, &frame.payload, rand::random());
            }
            if let Some(incoming) = self.assembly.take(frame)? {
                return Ok(Some(incoming));
            }
        }
        Ok(None)
    }

    /// Sends all queued bytes, then waits for the next message or control frame.
    pub async fn next(&mut self) -> Result<Incoming, SocketError> {
        loop {
            if let Some(incoming) = self.take_received()? {
                return Ok(incoming);
            }
            self.flush().await?;
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(SocketError::Broken(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Sends a Close and waits for the gateway's, so that earlier frames are not lost with the socket.
    pub async fn close(mut self) {
        write_frame(&mut self.unsent, OpCode::Close, &1000u16.to_be_bytes(), rand::random());
        let goodbye = async {
            while let Ok(incoming) = self.next().await {
                if matches!(incoming, Incoming::Close(..)) {
                    break;
                }
            }
        };
        // Without an answer in time, the socket is dropped.
        let _ = tokio::time::timeout(CLOSE_WITHIN, goodbye).await;
    }
}

/// Joins the fragments of a text message (RFC 6455 §5.4).
#[derive(Debug, Default)]
struct Assembly {
    text: Option<BytesMut>,
}

impl Assembly {
    fn take(&mut self, frame: Frame) -> Result<Option<Incoming>, NoFrame> {
        match frame.opcode {
            OpCode::Ping | OpCode::Pong => return Ok(Some(Incoming::Alive)),
            OpCode::Close => return close_of(&frame.payload).map(Some),
            OpCode::Binary => return Err(NoFrame("a binary message in the native dialect")),
            OpCode::Text if self.text.is_some() => return Err(NoFrame("a new message before the last fragment of another")),
            OpCode::Text => self.text = Some(BytesMut::from(frame.payload)),
            OpCode::Continuation => {
                let text = self.text.as_mut().ok_or(NoFrame("a fragment of no message"))?;
                if text.len() + frame.payload.len() > MESSAGE_BYTES_MAX {
                    return Err(NoFrame("a message longer than 64 MiB"));
                }
                text.extend_from_slice(&frame.payload);
            }
        }
        if !frame.fin {
            return Ok(None);
        }
        let text = self.text.take().unwrap_or_default();
        String::from_utf8(text.into()).map(|text| Some(Incoming::Text(text))).map_err(|_| NoFrame("a text that is not UTF-8"))
    }
}

fn close_of(payload: &[u8]) -> Result<Incoming, NoFrame> {
    match payload {
        [] => Ok(Incoming::Close(1005, String::new())),
        [_] => Err(NoFrame("a Close with half a code")),
        [high, low, reason @ ..] => Ok(Incoming::Close(u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(reason).into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::server_head;

    /// PROTOCOL 6, 8: `sub` reconnects after a drain, 4004 and 4009, but not after a bad token.
    #[test]
    fn some_closes_are_final() {
        for code in [1000, 1001, 1005, 1011, 1013, 4003, 4004, 4005, 4009] {
            assert!(after_close(code, "", None).is_ok(), "{code}");
        }
        for code in [1002, 1008, 4001, 4002] {
            let error = after_close(code, "why", None).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("why") && error.contains(&code.to_string()), "{error}");
        }
    }

    fn unmasked(fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
        let (mut head, head_bytes) = server_head(opcode, false, payload.len());
        head[0] &= if fin { 0xFF } else { 0x7F };
        [&head[..head_bytes], payload].concat()
    }

    fn read_all(bytes: &[u8], step: usize) -> Result<Vec<Incoming>, NoFrame> {
        let (mut received, mut assembly, mut all) = (BytesMut::new(), Assembly::default(), Vec::new());
        for part in bytes.chunks(step) {
            received.extend_from_slice(part);
            while let Some(frame) = read_frame(&mut received)? {
                all.extend(assembly.take(frame)?);
            }
        }
        Ok(all)
    }

    proptest! {
        #[test]
        fn messages_do_not_depend_on_the_cuts(texts in proptest::collection::vec("\\PC{0,300}", 0..8), step in 1usize..500) {
            let bytes: Vec<u8> = texts.iter().flat_map(|text| unmasked(true, OpCode::Text, text.as_bytes())).collect();
            let expected: Vec<_> = texts.into_iter().map(Incoming::Text).collect();
            prop_assert_eq!(read_all(&bytes, step).unwrap(), expected);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_all(&bytes, 7);
        }
    }

    /// RFC 6455 §5.4: control frames may come between fragments.
    #[test]
    fn fragments_are_joined_around_a_ping() {
        let bytes = [
            unmasked(false, OpCode::Text, "a\u{e9}".as_bytes()),
            unmasked(true, OpCode::Ping, b"x"),
            unmasked(true, OpCode::Continuation, b"c"),
        ]
        .concat();
        assert_eq!(read_all(&bytes, 1).unwrap(), [Incoming::Alive, Incoming::Text("a\u{e9}c".into())]);
    }

    #[test]
    fn a_close_has_its_code_and_reason() {
        let mut payload = 4001u16.to_be_bytes().to_vec();
        payload.extend(b"no");
        assert_eq!(read_all(&unmasked(true, OpCode::Close, &payload), 9).unwrap(), [Incoming::Close(4001, "no".into())]);
        assert_eq!(read_all(&unmasked(true, OpCode::Close, b""), 9).unwrap(), [Incoming::Close(1005, String::new())]);
    }

    #[test]
    fn malformed_frames_are_refused() {
        for bytes in [
            &[0xC1, 0][..],
            &[0x81, 0x80, 0, 0, 0, 0],
            &[0x80, 0],
            &[0x83, 0],
            &[0x09, 0],
            &[0x89, 126, 0, 126],
            &[0x88, 1, 0],
            &[0x81, 1, 0xFF],
        ] {
            assert!(read_all(bytes, 99).is_err(), "{bytes:?}");
        }
    }
}
