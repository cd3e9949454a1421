//! WebSocket frames on a subscriber's side (RFC 6455 §5): texts in and out, pings answered.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest message that is taken; a `history` reply stops at 1 MiB, a message at the gateway's `message_bytes`.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
const CONTROL_BYTES_MAX: usize = 125;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// TCP, plain or under TLS.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What came from the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A whole text message.
    Text(String),
    /// A sign of life without content.
    Alive,
    /// The gateway closes: its code (1005 where it gave none) and reason.
    Close(u16, String),
}

/// Why a WebSocket can't be read on.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The stream broke, or ended without a Close.
    #[error("the gateway is gone: {0}")]
    Broken(#[from] std::io::Error),
    /// Not RFC 6455.
    #[error("what the gateway sent is no WebSocket frame: {0}")]
    Protocol(&'static str),
}

/// One WebSocket. Its methods may be dropped between two polls (as `select!` does) and lose nothing.
pub struct Wire {
    stream: Box<dyn Stream>,
    received: BytesMut,
    unsent: BytesMut,
    assembly: Assembly,
}

impl Wire {
    /// Over `stream`, of which `received` was already read.
    pub fn new(stream: Box<dyn Stream>, received: BytesMut) -> Self {
        Self { stream, received, unsent: BytesMut::new(), assembly: Assembly::default() }
    }

    /// Queues a text; [`Wire::flush`] and [`Wire::next`] send it.
    pub fn queue_text(&mut self, text: &str) {
        write_frame(&mut self.unsent, TEXT, text.as_bytes(), rand::random());
    }

    /// Sends what is queued.
    pub async fn flush(&mut self) -> Result<(), WireError> {
        while self.unsent.has_remaining() {
            self.stream.write_buf(&mut self.unsent).await?;
        }
        self.stream.flush().await?;
        Ok(())
    }

    /// What is already here, without waiting.
    pub fn take_received(&mut self) -> Result<Option<Incoming>, WireError> {
        while let Some(frame) = read_frame(&mut self.received)? {
            if frame.opcode == PING {
                write_frame(&mut self.unsent, PONG, &frame.payload, rand::random());
            }
            if let Some(incoming) = self.assembly.take(frame)? {
                return Ok(Some(incoming));
            }
        }
        Ok(None)
    }

    /// The next thing that comes; sends what is queued first.
    pub async fn next(&mut self) -> Result<Incoming, WireError> {
        loop {
            if let Some(incoming) = self.take_received()? {
                return Ok(incoming);
            }
            self.flush().await?;
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(WireError::Broken(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Says goodbye and waits a moment for the answer, so that what was sent is not lost with the socket.
    pub async fn close(mut self) {
        write_frame(&mut self.unsent, CLOSE, &1000u16.to_be_bytes(), rand::random());
        let goodbye = async {
            while let Ok(incoming) = self.next().await {
                if matches!(incoming, Incoming::Close(..)) {
                    break;
                }
            }
        };
        // A gateway that doesn't answer in time is left all the same.
        let _ = tokio::time::timeout(Duration::from_secs(2), goodbye).await;
    }
}

struct Frame {
    fin: bool,
    opcode: u8,
    payload: Bytes,
}

/// Joins the fragments of a text (RFC 6455 §5.4).
#[derive(Debug, Default)]
struct Assembly {
    text: Option<BytesMut>,
}

impl Assembly {
    fn take(&mut self, frame: Frame) -> Result<Option<Incoming>, WireError> {
        match frame.opcode {
            PING | PONG => return Ok(Some(Incoming::Alive)),
            CLOSE => return close_of(&frame.payload).map(Some),
            BINARY => return Err(WireError::Protocol("a binary message in the native dialect")),
            TEXT if self.text.is_some() => return Err(WireError::Protocol("a new message before the last fragment of another")),
            TEXT => self.text = Some(BytesMut::from(frame.payload)),
            CONTINUATION => {
                let text = self.text.as_mut().ok_or(WireError::Protocol("a fragment of no message"))?;
                if text.len() + frame.payload.len() > MESSAGE_BYTES_MAX {
                    return Err(WireError::Protocol("a message longer than 64 MiB"));
                }
                text.extend_from_slice(&frame.payload);
            }
            _ => return Err(WireError::Protocol("an unknown opcode")),
        }
        if !frame.fin {
            return Ok(None);
        }
        let text = self.text.take().unwrap_or_default();
        String::from_utf8(text.into()).map(|text| Some(Incoming::Text(text))).map_err(|_| WireError::Protocol("a text that is not UTF-8"))
    }
}

fn close_of(payload: &[u8]) -> Result<Incoming, WireError> {
    match payload {
        [] => Ok(Incoming::Close(1005, String::new())),
        [_] => Err(WireError::Protocol("a Close with half a code")),
        [high, low, reason @ ..] => Ok(Incoming::Close(u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(reason).into_owned())),
    }
}

/// Takes one whole frame off the front of `received`, or nothing while it is not whole.
fn read_frame(received: &mut BytesMut) -> Result<Option<Frame>, WireError> {
    let [first, second, rest @ ..] = &received[..] else { return Ok(None) };
    let (fin, opcode) = (first & 0x80 != 0, first & 0x0F);
    if first & 0x70 != 0 {
        return Err(WireError::Protocol("a reserved bit is set"));
    }
    if second & 0x80 != 0 {
        return Err(WireError::Protocol("the gateway masked it"));
    }
    let (head, length) = match (second & 0x7F, rest) {
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            (10, usize::try_from(length).unwrap_or(usize::MAX))
        }
        (126 | 127, _) => return Ok(None),
        (length, _) => (2, usize::from(length)),
    };
    if opcode >= CLOSE && (!fin || length > CONTROL_BYTES_MAX) {
        return Err(WireError::Protocol("a control frame that is fragmented or longer than 125 bytes"));
    }
    if length > MESSAGE_BYTES_MAX {
        return Err(WireError::Protocol("a message longer than 64 MiB"));
    }
    if received.len() < head + length {
        received.reserve(head + length - received.len());
        return Ok(None);
    }
    received.advance(head);
    Ok(Some(Frame { fin, opcode, payload: received.split_to(length).freeze() }))
}

/// Writes one whole frame, masked by `mask` as RFC 6455 §5.3 asks of this side.
fn write_frame(unsent: &mut BytesMut, opcode: u8, payload: &[u8], mask: [u8; 4]) {
    unsent.reserve(14 + payload.len());
    unsent.put_u8(0x80 | opcode);
    match payload.len() {
        length @ 0..=125 => unsent.put_u8(0x80 | length as u8),
        length @ 126..=0xFFFF => {
            unsent.put_u8(0x80 | 126);
            unsent.put_u16(length as u16);
        }
        length => {
            unsent.put_u8(0x80 | 127);
            unsent.put_u64(length as u64);
        }
    }
    unsent.put_slice(&mask);
    let start = unsent.len();
    unsent.put_slice(payload);
    fastwebsockets::unmask(&mut unsent[start..], mask);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unmasked(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![if fin { 0x80 } else { 0 } | opcode];
        match payload.len() {
            length @ 0..=125 => frame.push(length as u8),
            length @ 126..=0xFFFF => {
                frame.push(126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        frame
    }

    fn take_all(bytes: &[u8], step: usize) -> Result<Vec<Incoming>, WireError> {
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
        /// However the stream is cut, the same texts come out of it.
        #[test]
        fn cuts_change_nothing(texts in proptest::collection::vec("\\PC{0,300}", 0..8), step in 1usize..500) {
            let bytes: Vec<u8> = texts.iter().flat_map(|text| unmasked(true, TEXT, text.as_bytes())).collect();
            let expected: Vec<_> = texts.into_iter().map(Incoming::Text).collect();
            prop_assert_eq!(take_all(&bytes, step).unwrap(), expected);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = take_all(&bytes, 7);
        }

        /// What is masked here is what the other side unmasks.
        #[test]
        fn masks_come_off(length in prop_oneof![0usize..300, 65_000usize..66_000], mask: [u8; 4]) {
            let payload: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let mut sent = BytesMut::new();
            write_frame(&mut sent, TEXT, &payload, mask);
            let start = sent.len() - length;
            prop_assert_eq!(&sent[start - 4..start], &mask);
            let plain: Vec<u8> = sent[start..].iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]).collect();
            prop_assert_eq!(plain, payload);
        }
    }

    /// RFC 6455 §5.4: control frames may come between fragments.
    #[test]
    fn fragments_are_joined_around_a_ping() {
        let bytes = [unmasked(false, TEXT, "a\u{e9}".as_bytes()), unmasked(true, PING, b"x"), unmasked(true, CONTINUATION, b"c")].concat();
        assert_eq!(take_all(&bytes, 1).unwrap(), [Incoming::Alive, Incoming::Text("a\u{e9}c".into())]);
    }

    #[test]
    fn a_close_tells_its_code_and_reason() {
        let mut payload = 4001u16.to_be_bytes().to_vec();
        payload.extend(b"no");
        assert_eq!(take_all(&unmasked(true, CLOSE, &payload), 9).unwrap(), [Incoming::Close(4001, "no".into())]);
        assert_eq!(take_all(&unmasked(true, CLOSE, b""), 9).unwrap(), [Incoming::Close(1005, String::new())]);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
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
            assert!(take_all(bytes, 99).is_err(), "{bytes:?}");
        }
    }
}
