//! One message's frames: each variant made once, at first need, and shared by every session that takes it.

use super::encoder::{Encoder, PlainFrame};
use super::frame_bytes::FrameBytes;
use super::variant::{Dialect, Variant};
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
    /// Also what is compressed.
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

    /// The whole frame, head and payload, for `variant`; encoded at its first call, then shared. A message that is not
    /// worth compressing has the plain frame in every variant.
    pub fn frame(&mut self, variant: Variant, encoder: &mut Encoder, tally: &mut Tally) -> FrameBytes {
        let frames = match variant.dialect {
            Dialect::Json => &mut self.json,
            Dialect::Raw | Dialect::Echo => &mut self.raw,
        };
        let message = &self.message;
        let plain = frames.plain.get_or_insert_with(|| PlainFrame::of_message(message, variant.dialect, false));
        let Some(bits) = variant.window_bits else { return plain.frame.clone() };
        if let Some((_, frame)) = frames.packed.iter().find(|(known, _)| *known == bits) {
            return frame.clone();
        }
        let frame = encoder.fit(plain, Some(bits), tally);
        frames.packed.push((bits, frame.clone()));
        frame
    }
}

#[cfg(test)]
mod tests;
