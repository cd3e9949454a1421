//! Reads the frames of one session from input that may be cut anywhere, and returns messages and control frames.

use fastwebsockets::{OpCode, unmask};

use super::assembly::{Assembly, Whole, check_utf8};
use super::close::read_close;
use super::deflate::{Agreement, Inflater};
use super::head::{CLIENT_HEAD_BYTES_MAX, Head};
use super::violation::Violation;

/// A whole message or control frame of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A text message, in valid UTF-8.
    Text(&'a [u8]),
    /// A binary message.
    Binary(&'a [u8]),
    /// A Ping, which is to be answered with the same payload.
    Ping(&'a [u8]),
    /// A Pong.
    Pong,
    /// A Close with a checked code and reason; `None`: its payload was empty.
    Close(Option<(u16, &'a str)>),
}

/// The reader of one session. A reader without an unfinished message owns no memory on the heap.
#[derive(Debug)]
pub struct FrameReader {
    message_bytes: usize,
    assembly: Option<Box<Assembly>>,
    /// The frames that have begun since the last [`Self::take_frames`].
    frames: u32,
    /// The first `head_bytes` of an incomplete head.
    head: [u8; CLIENT_HEAD_BYTES_MAX],
    head_bytes: u8,
    deflate: bool,
    /// Whether a Close or an error has ended the input (RFC 6455 §1.4, §7.1.7).
    ended: bool,
}

impl FrameReader {
    /// A reader for messages of at most `message_bytes`, with permessage-deflate if there is an `agreement`.
    pub fn new(message_bytes: usize, agreement: Option<&Agreement>) -> Self {
        Self {
            message_bytes,
            assembly: None,
            frames: 0,
            head: [0; CLIENT_HEAD_BYTES_MAX],
            head_bytes: 0,
            deflate: agreement.is_some(),
            ended: false,
        }
    }

    /// Reads `input` up to the end of the next frame at most. Returns how many bytes were used. `Ok(None)`: the frame was a fragment or has not
    /// arrived whole; call again while bytes are left.
    ///
    /// The payload of a frame that is whole in `input` is unmasked in place and lent. An assembled or inflated message is lent by `inflater`,
    /// which takes its buffer, so that the reader holds no memory after a whole message. Incomplete frames are kept here, so each byte is used
    /// once. All input after a Close or an error is used and ignored.
    pub fn read<'a>(&mut self, input: &'a mut [u8], inflater: &'a mut Inflater) -> (usize, Result<Option<Received<'a>>, Violation>) {
        inflater.trim();
        if self.ended {
            return (input.len(), Ok(None));
        }
        let (used, received) = self.read_on(input, inflater);
        if matches!(received, Err(_) | Ok(Some(Received::Close(_)))) {
            self.ended = true;
            self.assembly = None;
        }
        (used, received)
    }

    /// Takes the number of frames that have begun since the last call, for rate limits.
    pub fn take_frames(&mut self) -> u32 {
        std::mem::take(&mut self.frames)
    }

    /// Whether a message or a frame is unfinished. `limits.message_timeout` counts from its beginning.
    pub fn is_mid_message(&self) -> bool {
        self.assembly.is_some() || self.head_bytes > 0
    }

    /// The memory of the unfinished message, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.assembly.as_ref().map_or(0, |assembly| assembly.held_bytes())
    }

    fn read_on<'a>(&mut self, input: &'a mut [u8], inflater: &'a mut Inflater) -> (usize, Result<Option<Received<'a>>, Violation>) {
        let mut used = 0;
        if !self.assembly.as_ref().is_some_and(|assembly| assembly.is_mid_frame()) {
            let head = match self.read_head(input) {
                Ok(Some((head, bytes))) => {
                    used = bytes;
                    head
                }
                Ok(None) => return (input.len(), Ok(None)),
                Err(violation) => return (input.len(), Err(violation)),
            };
            if let Err(violation) = self.admit(&head) {
                return (used, Err(violation));
            }
            let alone = head.is_control() || (head.fin && head.opcode != OpCode::Continuation);
            if alone && head.payload_bytes <= input.len() - used {
                let payload = &mut input[used..used + head.payload_bytes];
                unmask(payload, head.mask);
                return (used + head.payload_bytes, self.receive_lent(&head, payload, inflater).map(Some));
            }
            self.assembly.get_or_insert_default().begin(&head);
        }
        let (taken, whole) = self.absorb(&mut input[used..]);
        let received = match whole {
            Ok(Some(whole)) => self.receive_whole(whole, inflater).map(Some),
            Ok(None) => Ok(None),
            Err(violation) => Err(violation),
        };
        (used + taken, received)
    }

    /// Reads the next head. Returns the head, and how many bytes of `input` were part of it; `Ok(None)`: the head is incomplete, and all of
    /// `input` was part of it.
    fn read_head(&mut self, input: &[u8]) -> Result<Option<(Head, usize)>, Violation> {
        let held = usize::from(self.head_bytes);
        if held == 0 && !input.is_empty() {
            self.frames = self.frames.saturating_add(1);
            if let Some(whole) = Head::parse(input)? {
                return Ok(Some(whole));
            }
        }
        let taken = input.len().min(CLIENT_HEAD_BYTES_MAX - held);
        self.head[held..held + taken].copy_from_slice(&input[..taken]);
        if let Some((head, bytes)) = Head::parse(&self.head[..held + taken])? {
            self.head_bytes = 0;
            return Ok(Some((head, bytes - held)));
        }
        self.head_bytes = (held + taken) as u8;
        Ok(None)
    }

    /// Checks that a frame is allowed at this point and that its declared length fits, before any memory is allocated.
    fn admit(&self, head: &Head) -> Result<(), Violation> {
        let message = self.assembly.as_ref().and_then(|assembly| assembly.message());
        let (held, compressed) = match (head.opcode, message) {
            (OpCode::Close | OpCode::Ping | OpCode::Pong, _) if head.compressed => {
                return Err(Violation::protocol("RSV1 is set on a control frame"));
            }
            (OpCode::Close | OpCode::Ping | OpCode::Pong, _) => return Ok(()),
            (OpCode::Continuation, None) => return Err(Violation::protocol("a continuation without a message to continue")),
            (OpCode::Continuation, Some(_)) if head.compressed => return Err(Violation::protocol("RSV1 is set on a continuation")),
            (OpCode::Continuation, Some(message)) => message,
            (_, Some(_)) => return Err(Violation::protocol("a new message begins inside a fragmented one")),
            (_, None) if head.compressed && !self.deflate => {
                return Err(Violation::protocol("RSV1 is set and no extension was agreed on"));
            }
            (_, None) => (0, head.compressed),
        };
        if head.payload_bytes > self.bound(compressed) - held {
            return Err(Violation::too_big());
        }
        Ok(())
    }

    /// The most bytes of a message on the wire. Incompressible data grows a little, and a message of exactly `message_bytes` must be accepted
    /// with any compressor: stored blocks of 127 bytes, the shortest that zlib makes, add 1/25.
    fn bound(&self, compressed: bool) -> usize {
        if compressed { self.message_bytes.saturating_add(self.message_bytes / 16 + 64) } else { self.message_bytes }
    }

    fn absorb(&mut self, input: &mut [u8]) -> (usize, Result<Option<Whole>, Violation>) {
        let message = self.assembly.as_ref().and_then(|assembly| assembly.message());
        let bound = self.bound(message.is_some_and(|(_, compressed)| compressed));
        let Some(assembly) = &mut self.assembly else { return (0, Ok(None)) };
        let absorbed = assembly.absorb(input, bound);
        if assembly.is_empty() {
            self.assembly = None;
        }
        absorbed
    }

    fn receive_lent<'a>(&self, head: &Head, payload: &'a [u8], inflater: &'a mut Inflater) -> Result<Received<'a>, Violation> {
        let payload = if head.compressed { inflater.inflate(payload, self.message_bytes)? } else { payload };
        if head.opcode == OpCode::Text {
            check_utf8(payload)?;
        }
        received(head.opcode, payload)
    }

    fn receive_whole<'a>(&self, whole: Whole, inflater: &'a mut Inflater) -> Result<Received<'a>, Violation> {
        if !whole.compressed {
            return received(whole.opcode, inflater.lend(whole.payload));
        }
        let payload = inflater.inflate(&whole.payload, self.message_bytes)?;
        if whole.opcode == OpCode::Text {
            check_utf8(payload)?;
        }
        received(whole.opcode, payload)
    }
}

fn received(opcode: OpCode, payload: &[u8]) -> Result<Received<'_>, Violation> {
    Ok(match opcode {
        OpCode::Text => Received::Text(payload),
        OpCode::Binary => Received::Binary(payload),
        OpCode::Ping => Received::Ping(payload),
        OpCode::Pong => Received::Pong,
        OpCode::Close => Received::Close(read_close(payload)?),
        OpCode::Continuation => return Err(Violation::protocol("a continuation without a message to continue")),
    })
}

#[cfg(test)]
mod tests;
