//! One message's frames: one for each encoding, made at first need and shared by every session that takes it.

use super::encoder::Encoder;
use super::encoding::{Dialect, Encoding};
use super::frame_bytes::FrameBytes;
use super::framing::Framing;
use super::plain_frame::PlainFrame;
use super::references::Referable;
use super::stream_frame;
use crate::config::TopicDeflate;
use crate::frame::{HEAD_BYTES_MAX, ParsedMessage, ServerWindow, server_head};
use crate::hub::Message;
use crate::metrics::Tally;

/// A message and the frames made of it so far.
#[derive(Debug)]
pub struct Encoded {
    message: Message,
    json: Frames,
    raw: Frames,
    /// Of the other dialects, in the order of first need: few messages have any.
    others: Vec<(Dialect, Frames)>,
    /// Of streams, by encoding, in the order of first need; fourteen at most.
    streams: Vec<(Encoding, FrameBytes)>,
}

/// One dialect's frames of a message.
#[derive(Debug, Default)]
struct Frames {
    /// Uncompressed; also what the compressor reads.
    plain: Option<PlainFrame>,
    /// By window bits, in the order of first need. Windows other than 15 are rare and there are eight at most, so a
    /// search is shorter than a table.
    packed: Vec<(u8, FrameBytes)>,
    /// What sessions need whose clients keep their windows; made when the first of these takes the message.
    referring: Option<Box<Referring>>,
}

/// A message as one that refers to earlier ones of its topic, and that later ones refer to.
#[derive(Debug)]
struct Referring {
    /// `None`: it takes no part.
    referable: Option<Referable>,
    /// By the number of the earlier message.
    parsed: Vec<(u64, ParsedMessage)>,
    /// By window bits: compressed by itself, though it be short.
    alone: Vec<(u8, FrameBytes)>,
}

/// What a session is sent whose client keeps its window.
pub enum ForWindow {
    /// The message as it refers to the earlier one.
    Referring,
    /// A frame that stands alone.
    Alone(FrameBytes),
}

impl Encoded {
    /// Nothing encoded yet.
    pub fn new(message: Message) -> Self {
        Self { message, json: Frames::default(), raw: Frames::default(), others: Vec::new(), streams: Vec::new() }
    }

    /// The message itself.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The whole frame, head and payload, for `encoding`; encoded at its first call, then shared. A message that is not
    /// worth compressing has the plain frame for every window.
    pub fn frame(&mut self, encoding: Encoding, encoder: &mut Encoder, tally: &mut Tally) -> FrameBytes {
        let Encoding { dialect, framing: Framing::WebSocket { window } } = encoding else { return self.of_stream(encoding) };
        let (message, frames) = self.frames(dialect);
        let plain = frames.plain.get_or_insert_with(|| PlainFrame::of_message(message, dialect, false));
        let Some(ServerWindow { bits, .. }) = window else { return plain.frame.clone() };
        if let Some((_, frame)) = frames.packed.iter().find(|(known, _)| *known == bits) {
            return frame.clone();
        }
        let frame = encoder.fit_message(plain, message, encoding.framing, tally);
        frames.packed.push((bits, frame.clone()));
        frame
    }

    fn of_stream(&mut self, encoding: Encoding) -> FrameBytes {
        if let Some((_, frame)) = self.streams.iter().find(|(known, _)| *known == encoding) {
            return frame.clone();
        }
        let frame = stream_frame::of_message(&self.message, encoding, false);
        self.streams.push((encoding, frame.clone()));
        frame
    }

    /// The message as one that others refer to; `None`: its rule has no history, or there is no room for it.
    pub fn referable(&mut self, dialect: Dialect, encoder: &mut Encoder, tally: &mut Tally) -> Option<Referable> {
        if self.message.rule.deflate != TopicDeflate::History {
            return None;
        }
        let (message, frames) = self.frames(dialect);
        let Frames { plain, referring, .. } = frames;
        let referring = referring.get_or_insert_with(|| {
            let plain = plain.get_or_insert_with(|| PlainFrame::of_message(message, dialect, false));
            let referable = encoder.references.enter(dialect, message, plain, tally);
            Box::new(Referring { referable, parsed: Vec::new(), alone: Vec::new() })
        });
        referring.referable
    }

    /// Whether the message can be written against the one that has `number` in this shard, of its own topic; it is parsed at the
    /// first call. `false`: that one is not kept any more.
    pub fn can_refer(&mut self, number: u64, dialect: Dialect, encoder: &mut Encoder, tally: &mut Tally) -> bool {
        let Frames { plain: Some(plain), referring: Some(referring), .. } = self.frames(dialect).1 else { return false };
        if referring.parsed.iter().any(|(known, _)| *known == number) {
            return true;
        }
        let text = referring.referable.and_then(|referable| encoder.references.text(referable.topic, number));
        let Some(parsed) = text.and_then(|text| encoder.parser.parse(text, plain.payload())) else { return false };
        tally.parsed();
        referring.parsed.push((number, parsed));
        true
    }

    /// What a session is sent whose client has the message of this `number` in its window, which [`Encoded::can_refer`] has
    /// allowed. Where a reference saves little, the message by itself may be shorter.
    pub fn for_window(&mut self, number: u64, encoding: Encoding, encoder: &mut Encoder, tally: &mut Tally) -> ForWindow {
        let Some((plain, parsed)) = self.parsed(number, encoding.dialect) else {
            return ForWindow::Alone(self.alone(encoding, encoder, tally));
        };
        let bytes_max = parsed.bytes_max() + HEAD_BYTES_MAX;
        if bytes_max <= plain.payload().len() / 2 {
            return ForWindow::Referring;
        }
        let alone = self.frame(encoding, encoder, tally);
        if alone.len() <= bytes_max { ForWindow::Alone(alone) } else { ForWindow::Referring }
    }

    /// Appends the frame that refers to the message of this `number`, for a client that has inflated `inflated` bytes since that one
    /// began; [`Encoded::for_window`] has said so.
    pub fn write_referring(&mut self, number: u64, inflated: u32, dialect: Dialect, bytes: &mut Vec<u8>, tally: &mut Tally) {
        /// Nearly all payloads have fewer than 126 bytes; others are moved once their length is known.
        const SHORT_HEAD_BYTES: usize = 2;
        let Some((plain, parsed)) = self.parsed(number, dialect) else { return };
        let start = bytes.len();
        bytes.extend_from_slice(&[0; SHORT_HEAD_BYTES]);
        parsed.write(inflated, bytes);
        let payload = start + SHORT_HEAD_BYTES..bytes.len();
        let (head, head_bytes) = server_head(plain.opcode, true, payload.len());
        tally.deflated(plain.payload().len() as u64, payload.len() as u64);
        if head_bytes > SHORT_HEAD_BYTES {
            bytes.resize(start + head_bytes + payload.len(), 0);
            bytes.copy_within(payload, start + head_bytes);
        }
        bytes[start..start + head_bytes].copy_from_slice(&head[..head_bytes]);
    }

    /// The message compressed by itself, however short, so that the next one may refer to it.
    pub fn alone(&mut self, encoding: Encoding, encoder: &mut Encoder, tally: &mut Tally) -> FrameBytes {
        let frame = self.frame(encoding, encoder, tally);
        let Framing::WebSocket { window: Some(ServerWindow { bits, .. }) } = encoding.framing else { return frame };
        let Frames { plain: Some(plain), referring: Some(referring), .. } = self.frames(encoding.dialect).1 else { return frame };
        if frame.is_compressed() {
            return frame;
        }
        if let Some((_, alone)) = referring.alone.iter().find(|(known, _)| *known == bits) {
            return alone.clone();
        }
        let alone = encoder.pack_always(plain, bits, tally).unwrap_or(frame);
        referring.alone.push((bits, alone.clone()));
        alone
    }

    fn frames(&mut self, dialect: Dialect) -> (&Message, &mut Frames) {
        let frames = match dialect {
            Dialect::Json => &mut self.json,
            Dialect::Raw | Dialect::Echo => &mut self.raw,
            other => of_dialect(&mut self.others, other),
        };
        (&self.message, frames)
    }

    fn parsed(&mut self, number: u64, dialect: Dialect) -> Option<(&PlainFrame, &ParsedMessage)> {
        let Frames { plain: Some(plain), referring: Some(referring), .. } = self.frames(dialect).1 else { return None };
        let (_, parsed) = referring.parsed.iter().find(|(known, _)| *known == number)?;
        Some((plain, parsed))
    }
}

/// The frames of `dialect` among `others`, made if there are none.
fn of_dialect(others: &mut Vec<(Dialect, Frames)>, dialect: Dialect) -> &mut Frames {
    let place = others.iter().position(|(known, _)| *known == dialect).unwrap_or_else(|| {
        others.push((dialect, Frames::default()));
        others.len() - 1
    });
    &mut others[place].1
}

#[cfg(test)]
mod tests;
