//! The frames of one message: one for each encoding, which is made when the first session needs it, and shared by all sessions.

use super::encoder::Encoder;
use super::frame_bytes::FrameBytes;
use super::plain::PlainFrame;
use super::references::Referable;
use super::stream;
use crate::config::TopicDeflate;
use crate::dialect::encoding::{Dialect, Encoding};
use crate::dialect::framing::Framing;
use crate::frame::{HEAD_BYTES_MAX, ParsedMessage, ServerWindow, server_head};
use crate::hub::Message;
use crate::metrics::{Counter, Tally};

/// A message and its frames so far.
#[derive(Debug)]
pub struct Encoded {
    message: Message,
    json: Frames,
    raw: Frames,
    /// The frames of the other dialects, in the order of first use. Few messages have any.
    others: Vec<(Dialect, Frames)>,
    /// The frames of streams by encoding, in the order of first use; at most fourteen.
    streams: Vec<(Encoding, FrameBytes)>,
}

/// One dialect's frames of a message.
#[derive(Debug, Default)]
struct Frames {
    /// The uncompressed frame, which is the compressor's input too.
    plain: Option<PlainFrame>,
    /// The compressed frames by window bits, in the order of first use. There are at most eight, and windows other than 15 bits are rare, so a
    /// linear search is faster than a table.
    packed: Vec<(u8, FrameBytes)>,
    /// The frames for sessions whose clients keep their windows. Made for the first such session.
    referring: Option<Box<Referring>>,
}

/// A message as one that refers to earlier ones of its topic, and that later ones refer to.
#[derive(Debug)]
struct Referring {
    /// `None`: later messages can't refer to it.
    referable: Option<Referable>,
    /// The message parsed against earlier messages, by their numbers.
    parsed: Vec<(u64, ParsedMessage)>,
    /// Frames that refer to no other message, by window bits. They are compressed even if the message is short.
    alone: Vec<(u8, FrameBytes)>,
}

/// The form of a message for a session whose client keeps its window.
pub enum ForWindow {
    /// A frame that refers to the earlier message.
    Referring,
    /// A frame that refers to no other message.
    Alone(FrameBytes),
}

impl Encoded {
    /// A message without frames.
    pub fn new(message: Message) -> Self {
        Self { message, json: Frames::default(), raw: Frames::default(), others: Vec::new(), streams: Vec::new() }
    }

    /// The message itself.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The whole frame, head and payload, for `encoding`. The first call makes the frame, later calls share it. A message that is not worth
    /// compressing has the same plain frame for all windows.
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
        let frame = stream::of_message(&self.message, encoding, false);
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
            let referable = encoder.references.add(dialect, message, plain, tally);
            Box::new(Referring { referable, parsed: Vec::new(), alone: Vec::new() })
        });
        referring.referable
    }

    /// Whether the message can refer to the message `number` of its topic, by this shard's numbers. The first call parses the message.
    /// `false`: the earlier message is no longer kept.
    pub fn can_refer(&mut self, number: u64, dialect: Dialect, encoder: &mut Encoder, tally: &mut Tally) -> bool {
        let Frames { plain: Some(plain), referring: Some(referring), .. } = self.frames(dialect).1 else { return false };
        if referring.parsed.iter().any(|(known, _)| *known == number) {
            return true;
        }
        let text = referring.referable.and_then(|referable| encoder.references.text(referable.topic, number));
        let Some(parsed) = text.and_then(|text| encoder.parser.parse(text, plain.payload())) else { return false };
        tally.count(Counter::DeflateParses, 1);
        referring.parsed.push((number, parsed));
        true
    }

    /// The form of the message for a session whose client has the message `number` in its window. [`Encoded::can_refer`] must have returned
    /// `true`. A frame without a reference may be shorter.
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

    /// Appends the frame that refers to the message `number`, for a client that has inflated `inflated` bytes since that message began.
    /// [`Encoded::for_window`] must have returned [`ForWindow::Referring`].
    pub fn write_referring(&mut self, number: u64, inflated: u32, dialect: Dialect, bytes: &mut Vec<u8>, tally: &mut Tally) {
        /// Nearly all payloads have fewer than 126 bytes; others are moved once their length is known.
        const SHORT_HEAD_BYTES: usize = 2;
        let Some((plain, parsed)) = self.parsed(number, dialect) else { return };
        let start = bytes.len();
        bytes.extend_from_slice(&[0; SHORT_HEAD_BYTES]);
        parsed.write(inflated, bytes);
        let payload = start + SHORT_HEAD_BYTES..bytes.len();
        let (head, head_bytes) = server_head(plain.opcode, true, payload.len());
        tally.count(Counter::DeflateInBytes, plain.payload().len() as u64);
        tally.count(Counter::DeflateOutBytes, payload.len() as u64);
        if head_bytes > SHORT_HEAD_BYTES {
            bytes.resize(start + head_bytes + payload.len(), 0);
            bytes.copy_within(payload, start + head_bytes);
        }
        bytes[start..start + head_bytes].copy_from_slice(&head[..head_bytes]);
    }

    /// The frame that refers to no other message, compressed even if the message is short, so that later messages may refer to it.
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
