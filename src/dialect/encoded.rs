//! One message's frames: one for each encoding, made at first need and shared by every session that takes it.

use super::encoder::{Encoder, PlainFrame};
use super::encoding::{Dialect, Encoding};
use super::frame_bytes::FrameBytes;
use super::framing::Framing;
use crate::hub::Message;
use crate::metrics::Tally;

/// A message and the frames made of it so far.
#[derive(Debug)]
pub struct Encoded {
    message: Message,
    json: Frames,
    raw: Frames,
}

/// One dialect's frames of a message.
#[derive(Debug, Default)]
struct Frames {
    /// Uncompressed; also what the compressor reads.
    plain: Option<PlainFrame>,
    /// By window bits, in the order of first need. Windows other than 15 are rare and there are eight at most, so a
    /// search is shorter than a table.
    packed: Vec<(u8, FrameBytes)>,
}

impl Encoded {
    /// Nothing encoded yet.
    pub fn new(message: Message) -> Self {
        Self { message, json: Frames::default(), raw: Frames::default() }
    }

    /// The message itself.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The whole frame, head and payload, for `encoding`; encoded at its first call, then shared. A message that is not
    /// worth compressing has the plain frame for every window.
    pub fn frame(&mut self, encoding: Encoding, encoder: &mut Encoder, tally: &mut Tally) -> FrameBytes {
        let Encoding { dialect, framing: Framing::WebSocket { window_bits } } = encoding;
        let frames = match dialect {
            Dialect::Json => &mut self.json,
            Dialect::Raw | Dialect::Echo => &mut self.raw,
        };
        let message = &self.message;
        let plain = frames.plain.get_or_insert_with(|| PlainFrame::of_message(message, dialect, false));
        let Some(bits) = window_bits else { return plain.frame.clone() };
        if let Some((_, frame)) = frames.packed.iter().find(|(known, _)| *known == bits) {
            return frame.clone();
        }
        let frame = encoder.fit(plain, encoding.framing, tally);
        frames.packed.push((bits, frame.clone()));
        frame
    }
}

#[cfg(test)]
mod tests;
