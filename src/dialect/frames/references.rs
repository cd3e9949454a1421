//! References: the newest messages of topics in one shard, to which later messages of the same topics may refer (PROTOCOL section 12).
//!
//! A topic has references only while a session subscribes to it whose client keeps its window. No compressor and no window is kept.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::HashMap;

use super::plain::PlainFrame;
use crate::dialect::encoding::Dialect;
use crate::frame::REFERENCE_BYTES_MAX;
use crate::hub::Message;
use crate::metrics::{Gauge, LimitKey, Tally};
use crate::position::Position;
use crate::topic_name::TopicName;

/// The shortest text that is worth a reference, in bytes.
const TEXT_BYTES_MIN: usize = 16;

/// The memory of a text beside its bytes, with its share of the topic's entry, in bytes.
const TEXT_OVERHEAD_BYTES: usize = 256;

/// A message that later ones of its topic may refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Referable {
    /// The index of its topic in this shard. An index may be used again for another topic.
    pub topic: u32,
    /// The number of the message in this shard. Numbers are never used again.
    pub number: u64,
    /// The length of the text, in bytes.
    pub bytes: u32,
}

/// The bytes of the texts of all shards, and their bound.
#[derive(Debug, Clone)]
pub struct ReferenceAccount {
    held: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl ReferenceAccount {
    /// An account over the shared sum `held`, with the bound `bytes_max`.
    pub fn new(held: Arc<AtomicUsize>, bytes_max: usize) -> Self {
        Self { held, bytes_max }
    }

    fn take(&self, bytes: usize, tally: &mut Tally) -> bool {
        let fits = |held: usize| held.checked_add(bytes).filter(|&held| held <= self.bytes_max);
        let taken = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if taken {
            tally.add(Gauge::ReferenceBytes, bytes as i64);
        } else {
            tally.limit_hit(LimitKey::ReferenceBytes);
        }
        taken
    }

    fn release(&self, bytes: usize, tally: &mut Tally) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        tally.add(Gauge::ReferenceBytes, -(bytes as i64));
    }
}

/// The texts of one shard.
#[derive(Debug)]
pub struct References {
    account: ReferenceAccount,
    /// The most texts of one topic.
    texts_max: usize,
    indices: HashMap<(TopicName, Dialect), u32>,
    topics: Vec<Option<Topic>>,
    free: Vec<u32>,
    last_number: u64,
    /// The index at which the next sweep begins.
    swept: usize,
}

/// One topic in one dialect.
#[derive(Debug)]
struct Topic {
    name: TopicName,
    dialect: Dialect,
    /// In the order of their numbers.
    texts: VecDeque<Text>,
}

#[derive(Debug)]
struct Text {
    number: u64,
    position: Position,
    plain: PlainFrame,
}

impl Text {
    fn cost(&self) -> usize {
        cost(&self.plain)
    }
}

fn cost(plain: &PlainFrame) -> usize {
    plain.payload().len() + plain.frame.metadata_bytes() + TEXT_OVERHEAD_BYTES
}

impl References {
    /// No texts yet. At most `texts_max` of each topic will be kept.
    pub fn new(texts_max: usize, account: ReferenceAccount) -> Self {
        Self { account, texts_max, indices: HashMap::default(), topics: Vec::new(), free: Vec::new(), last_number: 0, swept: 0 }
    }

    /// Sets the most texts of one topic, and the most bytes of all shards.
    pub fn follow_config(&mut self, texts_max: usize, bytes_max: usize) {
        self.texts_max = texts_max;
        self.account.bytes_max = bytes_max;
    }

    /// Adds `message`, whose text is `plain`, unless it was added before. `None`: the text is too short or too long for references, or there is
    /// no room.
    pub(super) fn add(&mut self, dialect: Dialect, message: &Message, plain: &PlainFrame, tally: &mut Tally) -> Option<Referable> {
        let bytes = plain.payload().len();
        if !(TEXT_BYTES_MIN..REFERENCE_BYTES_MAX).contains(&bytes) {
            return None;
        }
        let key = (message.topic.clone(), dialect);
        let known = self.indices.get(&key).copied();
        let texts = known.and_then(|index| self.topics.get_mut(index as usize)?.as_mut()).map(|topic| &mut topic.texts);
        if let (Some(topic), Some(texts)) = (known, texts) {
            if let Some(text) = texts.iter().rev().find(|text| text.position == message.position) {
                return Some(Referable { topic, number: text.number, bytes: bytes as u32 });
            }
            while texts.len() >= self.texts_max
                && let Some(oldest) = texts.pop_front()
            {
                self.account.release(oldest.cost(), tally);
            }
        }
        if !self.account.take(cost(plain), tally) {
            return None;
        }
        let topic = known.unwrap_or_else(|| self.add_topic(key));
        self.last_number += 1;
        let text = Text { number: self.last_number, position: message.position, plain: plain.clone() };
        if let Some(Some(topic)) = self.topics.get_mut(topic as usize) {
            topic.texts.push_back(text);
        }
        Some(Referable { topic, number: self.last_number, bytes: bytes as u32 })
    }

    /// Gives a topic an index.
    fn add_topic(&mut self, key: (TopicName, Dialect)) -> u32 {
        let topic = Topic { name: key.0.clone(), dialect: key.1, texts: VecDeque::new() };
        let index = self.free.pop().unwrap_or_else(|| {
            self.topics.push(None);
            (self.topics.len() - 1) as u32
        });
        self.topics[index as usize] = Some(topic);
        self.indices.insert(key, index);
        index
    }

    /// The text with this number, if `topic` still has it.
    pub(super) fn text(&self, topic: u32, number: u64) -> Option<&[u8]> {
        let texts = &self.topics.get(topic as usize)?.as_ref()?.texts;
        let index = texts.binary_search_by_key(&number, |text| text.number).ok()?;
        texts.get(index).map(|text| text.plain.payload())
    }

    /// Removes topics for which `is_taken` is false. Examines at most `topics_max` topics; the next call continues behind them.
    pub fn sweep(&mut self, topics_max: usize, is_taken: impl Fn(&TopicName) -> bool, tally: &mut Tally) {
        for _ in 0..topics_max.min(self.topics.len()) {
            let index = self.swept;
            self.swept = (index + 1) % self.topics.len();
            let Some(Some(topic)) = self.topics.get(index) else { continue };
            if is_taken(&topic.name) {
                continue;
            }
            let held = topic.texts.iter().map(Text::cost).sum();
            self.account.release(held, tally);
            self.indices.remove(&(topic.name.clone(), topic.dialect));
            self.topics[index] = None;
            self.free.push(index as u32);
        }
        if self.indices.is_empty() {
            (self.topics, self.free, self.swept) = (Vec::new(), Vec::new(), 0);
        }
    }
}

#[cfg(test)]
mod tests;
