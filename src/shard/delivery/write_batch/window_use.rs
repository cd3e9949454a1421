//! The references of a chain's joined bytes into the client's deflate window, and the messages that they add to the
//! window.

use std::ops::Range;

use super::batch::{LinkedFrame, WriteBatch};
use super::client_window::{ClientWindow, Reference};
use crate::dialect::{Encoder, Encoding, ForWindow, FrameBytes, Referable};
use crate::frame::ServerWindow;
use crate::metrics::{DeflateHow, NoReference, Tally};

/// The references and additions of one topic of a chain.
struct TopicUse {
    topic: u32,
    /// The message in the window when the chain begins. Sessions with equal chains get the same bytes if this is equal
    /// for all topics.
    before: Result<Reference, NoReference>,
    /// The number of messages without a reference because the window had none of the topic.
    unreferred: u64,
    /// The newest compressed message of the topic in the chain: its number, and the inflated bytes of the chain before
    /// it.
    after: Option<(u64, u64)>,
}

impl TopicUse {
    /// The reason why a message of the topic has no reference for the client that has `window`. For another client with
    /// the same bytes, the reason is `why`.
    fn why(&self, why: NoReference, window: &ClientWindow) -> NoReference {
        match why {
            NoReference::First | NoReference::Cleared => window.find(self.topic).err().unwrap_or(why),
            NoReference::Missed | NoReference::Far => why,
        }
    }
}

/// The references and additions of a chain. Empty if the client keeps no window.
#[derive(Default)]
pub struct WindowUse {
    topics: Vec<TopicUse>,
    /// The bytes that the compressed frames of the chain inflate to.
    inflated: u64,
    /// The frames of messages that may refer to earlier ones, by their places in the chain.
    own: Vec<Own>,
    /// The number of messages that refer to earlier ones.
    referring: u64,
    /// The number of messages that were compressed alone.
    alone: u64,
    /// The number of messages whose earlier message could not be referred to, by reason.
    no_reference: [u64; NoReference::ALL.len()],
}

/// A frame made for a client that keeps its window. An outbox gets another frame of the same message.
struct Own {
    /// The frame's place in the chain.
    index: usize,
    /// The topic's index in [`WindowUse::topics`].
    place: usize,
    frame: OwnFrame,
}

enum OwnFrame {
    /// A frame that refers to an earlier message: its range in the joined bytes, and the number of bytes that it
    /// inflates to.
    Referring(Range<usize>, u32),
    /// A frame without a reference, and the reason; no reason if the frame is shorter that way.
    Alone(FrameBytes, Option<NoReference>),
}

/// A frame that was added to a chain.
pub enum Added {
    /// The frame was appended to the joined bytes.
    Written,
    /// The frame has no reference and is still to be appended.
    Alone(FrameBytes),
}

impl WindowUse {
    /// Whether the joined bytes are also right for a client with `window`.
    pub fn serves(&self, window: &ClientWindow) -> bool {
        self.topics.iter().all(|topic| match (topic.before, window.find(topic.topic)) {
            (Ok(before), found) => found == Ok(before),
            (Err(_), found) => found.is_err(),
        })
    }

    /// Adds the frame at `index` of a chain. The client keeps `kept`, and its window is `window` when the chain begins.
    /// Returns `None` if there is no such frame.
    #[allow(clippy::too_many_arguments, reason = "what a frame is made with and what it is made for are of different owners")]
    pub fn add(
        &mut self,
        (index, frame): (usize, LinkedFrame),
        encoding: Encoding,
        kept: ServerWindow,
        window: &ClientWindow,
        batch: &mut WriteBatch,
        encoder: &mut Encoder,
        bytes: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> Option<Added> {
        let referable = batch.encoded(frame).and_then(|encoded| encoded.referable(encoding.dialect, encoder, tally));
        let Some((place, referable)) = referable.and_then(|referable| Some((self.place(referable.topic, window, encoder)?, referable)))
        else {
            let alone = batch.bytes(frame, encoding, encoder, tally)?;
            self.inflated += u64::from(alone.inflated_bytes());
            self.alone += u64::from(alone.is_compressed() && batch.rule(frame).is_some());
            return Some(Added::Alone(alone));
        };
        let encoded = batch.encoded(frame)?;
        let (alone, why) = match self.reference(place, referable, kept) {
            Ok(Reference { number, inflated }) if encoded.can_refer(number, encoding.dialect, encoder, tally) => {
                match encoded.for_window(number, encoding, encoder, tally) {
                    ForWindow::Alone(alone) => (alone, None),
                    ForWindow::Referring => {
                        let start = bytes.len();
                        // The distance is within the window, so far below 2^32.
                        encoded.write_referring(number, inflated as u32, encoding.dialect, bytes, tally);
                        let frame = OwnFrame::Referring(start..bytes.len(), referable.bytes);
                        self.own.push(Own { index, place, frame });
                        self.referring += 1;
                        self.note(place, referable);
                        return Some(Added::Written);
                    }
                }
            }
            Ok(_) => {
                self.no_reference[NoReference::Missed.index()] += 1;
                (encoded.alone(encoding, encoder, tally), Some(NoReference::Missed))
            }
            Err(why) => (encoded.alone(encoding, encoder, tally), Some(why)),
        };
        if alone.is_compressed() {
            self.alone += 1;
            self.note(place, referable);
        }
        self.own.push(Own { index, place, frame: OwnFrame::Alone(alone.clone(), why) });
        Some(Added::Alone(alone))
    }

    /// The index of a topic among those of the chain; `None`: the chain has more topics than are remembered.
    fn place(&mut self, topic: u32, window: &ClientWindow, encoder: &Encoder) -> Option<usize> {
        self.topics.iter().position(|known| known.topic == topic).or_else(|| {
            (self.topics.len() < encoder.topics_max()).then(|| {
                self.topics.push(TopicUse { topic, before: window.find(topic), unreferred: 0, after: None });
                self.topics.len() - 1
            })
        })
    }

    /// The message that this one may refer to: an earlier one of the chain, or the one in the client's window. It must
    /// lie within the window completely until this message ends.
    fn reference(&mut self, place: usize, referable: Referable, kept: ServerWindow) -> Result<Reference, NoReference> {
        let inflated = self.inflated;
        let topic = &mut self.topics[place];
        let found = match (topic.after, topic.before) {
            (Some((number, offset)), _) => Reference { number, inflated: inflated - offset },
            (None, Ok(before)) => Reference { inflated: before.inflated + inflated, ..before },
            (None, Err(why)) => {
                topic.unreferred += 1;
                return Err(why);
            }
        };
        if found.inflated + u64::from(referable.bytes) > 1 << kept.bits {
            self.no_reference[NoReference::Far.index()] += 1;
            return Err(NoReference::Far);
        }
        Ok(found)
    }

    /// Notes that the client is sent the message compressed, so the next message of its topic may refer to it.
    fn note(&mut self, place: usize, referable: Referable) {
        self.topics[place].after = Some((referable.number, self.inflated));
        self.inflated += u64::from(referable.bytes);
    }

    /// Applies the additions to the session's `window` and books the messages, once the socket has accepted the bytes.
    #[inline] // for each write
    pub fn apply_to(&self, window: &mut ClientWindow, topics_max: usize, tally: &mut Tally) {
        if self.alone > 0 {
            tally.count(DeflateHow::Alone, self.alone);
        }
        if self.topics.is_empty() {
            return window.advance(self.inflated);
        }
        tally.count(DeflateHow::History, self.referring);
        for (&why, &messages) in NoReference::ALL.iter().zip(&self.no_reference) {
            if messages > 0 {
                tally.count(why, messages);
            }
        }
        for topic in self.topics.iter().filter(|topic| topic.unreferred > 0) {
            tally.count(topic.why(NoReference::First, window), topic.unreferred);
        }
        let overflows = window.overflows(self.inflated);
        for &TopicUse { topic, after, .. } in self.topics.iter().filter(|_| !overflows) {
            if let Some((number, offset)) = after
                && let Ok(offset) = u32::try_from(offset)
            {
                window.put(topic, number, offset, topics_max);
            }
        }
        window.advance(self.inflated);
    }

    /// The frame at `index` of the chain, if it was made for a client that keeps its window. `bytes` are the chain's
    /// joined bytes.
    pub fn own_frame(&self, index: usize, bytes: &[u8]) -> Option<FrameBytes> {
        match &self.own(index)?.frame {
            OwnFrame::Referring(range, inflated_bytes) => {
                let frame = bytes.get(range.clone())?.to_vec().into();
                Some(FrameBytes::Packed { frame, how: DeflateHow::History, inflated_bytes: *inflated_bytes })
            }
            OwnFrame::Alone(frame, _) => Some(frame.clone()),
        }
    }

    /// Books why the frame at `index` of the chain, which went to the client that has `window`, has no reference.
    pub fn book_unreferred(&self, index: usize, window: &ClientWindow, tally: &mut Tally) {
        let Some(Own { place, frame: OwnFrame::Alone(_, Some(why)), .. }) = self.own(index) else { return };
        tally.count(self.topics[*place].why(*why, window), 1);
    }

    fn own(&self, index: usize) -> Option<&Own> {
        let place = self.own.binary_search_by_key(&index, |own| own.index).ok()?;
        self.own.get(place)
    }

    /// Counts a message that was compressed alone for a client that keeps no window.
    pub fn count_alone(&mut self) {
        self.alone += 1;
    }

    /// Forgets the chain.
    pub fn clear(&mut self) {
        self.topics.clear();
        self.own.clear();
        (self.inflated, self.referring, self.alone, self.no_reference) = (0, 0, 0, Default::default());
    }
}
