//! What the joined bytes of a chain rely on in their client's window, and what they leave there.

use std::ops::Range;

use super::client_window::{ClientWindow, Reference};
use super::write_batch::{LinkedFrame, WriteBatch};
use crate::dialect::{Encoder, Encoding, ForWindow, FrameBytes, Referable};
use crate::frame::ServerWindow;
use crate::metrics::{DeflateHow, NoReference, Tally};

/// One topic of a chain.
struct TopicUse {
    topic: u32,
    /// What the client has of it as the chain begins. Sessions of equal chains for which all of these are equal take the same bytes.
    before: Result<Reference, NoReference>,
    /// How many messages found nothing to refer to because of that.
    unreferred: u64,
    /// The newest message of it in the chain that was compressed, and where it begins.
    after: Option<(u64, u64)>,
}

impl TopicUse {
    /// Why a message of it refers to nothing, where that is `why` for another client that takes the same bytes.
    fn why(&self, why: NoReference, window: &ClientWindow) -> NoReference {
        match why {
            NoReference::First | NoReference::Cleared => window.find(self.topic).err().unwrap_or(why),
            NoReference::Missed | NoReference::Far => why,
        }
    }
}

/// What a chain's bytes rely on and leave behind; empty where its client keeps no window.
#[derive(Default)]
pub struct WindowUse {
    topics: Vec<TopicUse>,
    /// The bytes that the chain inflates to, as far as it is compressed.
    inflated: u64,
    /// The frames of messages that take part, by their places in the chain.
    own: Vec<Own>,
    /// Messages that refer to earlier ones.
    referring: u64,
    /// Messages that were compressed alone.
    alone: u64,
    /// Messages that found something that could not be referred to.
    no_reference: [u64; NoReference::ALL.len()],
}

/// A frame as it is written to a client that keeps its window; an outbox would have another one of the same message.
struct Own {
    /// Its place in the chain.
    index: usize,
    /// The topic's place among those of the chain.
    place: usize,
    frame: OwnFrame,
}

enum OwnFrame {
    /// Where it lies in the bytes, for it refers to an earlier message; and what it inflates to.
    Referring(Range<usize>, u32),
    /// Compressed by itself, though it be short; and why, unless that is shorter.
    Alone(FrameBytes, Option<NoReference>),
}

/// A frame that was added to a chain.
pub enum Added {
    /// It was appended to the bytes.
    Written,
    /// It stands alone and is still to be appended.
    Alone(FrameBytes),
}

impl WindowUse {
    /// Whether the bytes are also those for `window`.
    pub fn serves(&self, window: &ClientWindow) -> bool {
        self.topics.iter().all(|topic| match (topic.before, window.find(topic.topic)) {
            (Ok(before), found) => found == Ok(before),
            (Err(_), found) => found.is_err(),
        })
    }

    /// Adds the frame at `index` of a chain for a client that keeps `kept` and has what `window` says as the chain begins. `None`: there
    /// is no such frame.
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
                        // Within the window, so far below 2^32.
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

    /// The place of a topic among those of the chain; `None`: there are too many to remember them all.
    fn place(&mut self, topic: u32, window: &ClientWindow, encoder: &Encoder) -> Option<usize> {
        self.topics.iter().position(|known| known.topic == topic).or_else(|| {
            (self.topics.len() < encoder.topics_max()).then(|| {
                self.topics.push(TopicUse { topic, before: window.find(topic), unreferred: 0, after: None });
                self.topics.len() - 1
            })
        })
    }

    /// What the message may refer to: an earlier one of this chain, or what the client has had before. Nothing of it may lie behind the
    /// window as the message ends.
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

    /// The client is sent the message compressed, so the next of its topic may refer to it.
    fn note(&mut self, place: usize, referable: Referable) {
        self.topics[place].after = Some((referable.number, self.inflated));
        self.inflated += u64::from(referable.bytes);
    }

    /// Applies the use to its session's `window`, once the socket has accepted the bytes.
    pub fn apply_to(&self, window: &mut ClientWindow, topics_max: usize, tally: &mut Tally) {
        if self.alone > 0 {
            tally.deflated_messages(DeflateHow::Alone, self.alone);
        }
        if self.topics.is_empty() {
            return window.advance(self.inflated);
        }
        tally.deflated_messages(DeflateHow::History, self.referring);
        for (&why, &messages) in NoReference::ALL.iter().zip(&self.no_reference) {
            if messages > 0 {
                tally.no_reference(why, messages);
            }
        }
        for topic in self.topics.iter().filter(|topic| topic.unreferred > 0) {
            tally.no_reference(topic.why(NoReference::First, window), topic.unreferred);
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

    /// The frame at `index` of the chain, whose joined bytes these are, if it was made for a client that keeps its window.
    pub fn own_frame(&self, index: usize, bytes: &[u8]) -> Option<FrameBytes> {
        match &self.own(index)?.frame {
            OwnFrame::Referring(range, inflated_bytes) => {
                let frame = bytes.get(range.clone())?.to_vec().into();
                Some(FrameBytes::Packed { frame, how: DeflateHow::History, inflated_bytes: *inflated_bytes })
            }
            OwnFrame::Alone(frame, _) => Some(frame.clone()),
        }
    }

    /// Books why the frame at `index` of the chain, which went to the client that has `window`, refers to nothing.
    pub fn book_unreferred(&self, index: usize, window: &ClientWindow, tally: &mut Tally) {
        let Some(Own { place, frame: OwnFrame::Alone(_, Some(why)), .. }) = self.own(index) else { return };
        tally.no_reference(self.topics[*place].why(*why, window), 1);
    }

    fn own(&self, index: usize) -> Option<&Own> {
        let place = self.own.binary_search_by_key(&index, |own| own.index).ok()?;
        self.own.get(place)
    }

    /// A message was compressed alone for a client that keeps no window.
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
