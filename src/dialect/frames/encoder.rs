//! Encodes whole server frames: head and payload in one buffer, compressed if the extension was negotiated and the result is shorter.

use super::frame_bytes::FrameBytes;
use super::plain::{PlainFrame, opcode, with_head};
use super::references::{ReferenceAccount, References};
use super::stream;
use crate::config::{self, TopicDeflate};
use crate::dialect::centrifugo::{self, Push, Reply, Wire};
use crate::dialect::encoding::{Dialect, Encoding};
use crate::dialect::framing::Framing;
use crate::dialect::native;
use crate::dialect::native::Event;
use crate::frame::{Deflater, HEAD_BYTES_MAX, OpCode, ReferenceParser};
use crate::hub::Message;
use crate::metrics::{Counter, DeflateHow, Tally};

/// The initial capacity of the buffer of an event, in bytes.
const EVENT_BYTES_USUAL: usize = 256;

/// The encoder of one shard.
#[derive(Debug)]
pub struct Encoder {
    /// One compressor for all sessions of the shard.
    deflater: Deflater,
    /// Payloads shorter than this number of bytes are not compressed.
    threshold: usize,
    /// The messages to which later ones may refer.
    pub references: References,
    pub(super) parser: ReferenceParser,
    /// The most topics of a session whose messages may be referred to.
    topics_max: usize,
}

/// The frame of `event` in `encoding`; `None`: the dialect has no form for the event. The raw dialect carries only payloads, and no
/// gaps.
pub fn event_frame(event: &Event<'_>, encoding: Encoding, encoder: &mut Encoder, tally: &mut Tally) -> Option<FrameBytes> {
    match encoding.dialect {
        Dialect::Json | Dialect::Raw if !encoding.framing.is_websocket() => stream::of_event(event, encoding),
        Dialect::Json => {
            let plain = PlainFrame::build(OpCode::Text, EVENT_BYTES_USUAL, |json| native::event(json, event));
            Some(encoder.fit(&plain, encoding.framing, tally))
        }
        Dialect::Raw | Dialect::Echo => None,
        Dialect::Centrifugo(_) => match event {
            Event::PresenceChange(change) => {
                let push = if change.joined { Push::Join(&change.member) } else { Push::Leave(&change.member) };
                reply_frame(&Reply::Push { channel: change.topic.as_str(), push }, encoding, encoder, tally)
            }
            _ => None,
        },
    }
}

/// The frame of a reply of Centrifugo's protocol; `None`: the session has another dialect.
pub fn reply_frame(reply: &Reply<'_>, encoding: Encoding, encoder: &mut Encoder, tally: &mut Tally) -> Option<FrameBytes> {
    let Dialect::Centrifugo(wire) = encoding.dialect else { return None };
    if !encoding.framing.is_websocket() {
        return Some(stream::of_data(encoding, EVENT_BYTES_USUAL, |bytes| centrifugo::reply(bytes, reply, wire)));
    }
    let plain = reply_plain(reply, wire);
    Some(encoder.fit(&plain, encoding.framing, tally))
}

/// A reply as a WebSocket carries it, uncompressed.
pub(super) fn reply_plain(reply: &Reply<'_>, wire: Wire) -> PlainFrame {
    PlainFrame::build(opcode(wire), EVENT_BYTES_USUAL, |bytes| centrifugo::reply(bytes, reply, wire))
}

/// The frame of a message from history, for one session.
pub fn replay_frame(message: &Message, encoding: Encoding, encoder: &mut Encoder, tally: &mut Tally) -> FrameBytes {
    if !encoding.framing.is_websocket() {
        return stream::of_message(message, encoding, true);
    }
    let plain = PlainFrame::of_message(message, encoding.dialect, true);
    encoder.fit_message(&plain, message, encoding.framing, tally)
}

/// The frame that sends `payload` back unchanged (PROTOCOL section 4, `/echo`).
pub fn echo_frame(opcode: OpCode, payload: &[u8], framing: Framing, encoder: &mut Encoder, tally: &mut Tally) -> FrameBytes {
    let plain = PlainFrame::build(opcode, payload.len(), |frame| frame.extend_from_slice(payload));
    // An echo is compressed whenever the extension was negotiated, even if it is short or gets longer.
    let window = framing.window();
    window.and_then(|window| encoder.pack(&plain, window.bits, Deflater::compress_always, tally)).unwrap_or(plain.frame)
}

impl Encoder {
    /// An encoder with the settings `deflate`. The memory of references is counted in `account`.
    pub fn new(deflate: &config::Deflate, account: ReferenceAccount) -> Self {
        Self {
            deflater: Deflater::new(deflate.level),
            threshold: deflate.threshold,
            references: References::new(deflate.references, account),
            parser: ReferenceParser::default(),
            topics_max: deflate.topics,
        }
    }

    /// Applies the settings `deflate`. References are kept, because clients have them in their windows.
    pub fn follow_config(&mut self, deflate: &config::Deflate, reference_bytes: usize) {
        (self.deflater, self.threshold, self.topics_max) = (Deflater::new(deflate.level), deflate.threshold, deflate.topics);
        self.references.follow_config(deflate.references, reference_bytes);
    }

    /// Topics of a session whose messages may be referred to.
    pub fn topics_max(&self) -> usize {
        self.topics_max
    }

    /// Does what [`Encoder::fit`] does for a message, whose rule may have compression off.
    pub(super) fn fit_message(&mut self, plain: &PlainFrame, message: &Message, framing: Framing, tally: &mut Tally) -> FrameBytes {
        match message.rule.deflate {
            TopicDeflate::Off => plain.frame.clone(),
            TopicDeflate::Alone | TopicDeflate::History => self.fit(plain, framing, tally),
        }
    }

    /// The compressed frame of a message to which later ones are to refer, even if it is short or gets a few bytes longer.
    pub(super) fn pack_always(&mut self, plain: &PlainFrame, window_bits: u8, tally: &mut Tally) -> Option<FrameBytes> {
        self.pack(plain, window_bits, Deflater::compress_always, tally)
    }

    /// The compressed form of `plain`, or `plain` itself if there is no window, the payload is too short, or compression saves nothing.
    pub(super) fn fit(&mut self, plain: &PlainFrame, framing: Framing, tally: &mut Tally) -> FrameBytes {
        let worth_it = plain.payload().len() >= self.threshold;
        let window = framing.window().filter(|_| worth_it);
        let packed = window.and_then(|window| self.pack(plain, window.bits, Deflater::compress, tally));
        packed.unwrap_or_else(|| plain.frame.clone())
    }

    /// `None`: the compressor gave up.
    fn pack(
        &mut self,
        plain: &PlainFrame,
        window_bits: u8,
        compress: impl Fn(&mut Deflater, &[u8], u8, &mut Vec<u8>) -> bool,
        tally: &mut Tally,
    ) -> Option<FrameBytes> {
        let payload = plain.payload();
        let mut frame = vec![0; HEAD_BYTES_MAX];
        if !compress(&mut self.deflater, payload, window_bits, &mut frame) {
            return None;
        }
        // The compressor reserved room for the whole payload, and the frame may stay in outboxes for long.
        frame.shrink_to_fit();
        tally.count(Counter::DeflateInBytes, payload.len() as u64);
        tally.count(Counter::DeflateOutBytes, (frame.len() - HEAD_BYTES_MAX) as u64);
        // A payload is shorter than 4 GiB: `limits.message_bytes` is 64 MiB at most.
        let inflated_bytes = u32::try_from(payload.len()).ok()?;
        Some(FrameBytes::Packed { frame: with_head(frame, plain.opcode, true).0, how: DeflateHow::Alone, inflated_bytes })
    }
}
