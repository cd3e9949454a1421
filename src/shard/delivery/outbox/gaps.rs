//! The gaps of one session: dropped messages that it is not told of yet.

use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::queued::QueuedMessage;
use crate::config::Rule;
use crate::position::{Epoch, Offset, Position};
use crate::shard::pacing::DroppedRange;
use crate::topic_name::TopicName;

/// The bytes that the gaps of one topic take beside their spans: the entry in the map, and the map's free capacity.
const TOPIC_BYTES: usize = 128;

/// The bytes that a span takes. Its vector grows by halves.
const SPAN_BYTES: usize = 24;

/// The bytes that the gaps of one session may take at least, even if the bound of its outbox is less.
pub(super) const BYTES_LEAST: usize = 64 << 10;

/// The most gaps of one topic before its oldest waiting message. Past that, the last of them is extended over messages
/// conflated in between: their offsets do not come either.
const GAPS_PER_TOPIC_MAX: usize = 16;

/// A range of dropped offsets, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The topic whose messages were dropped.
    pub topic: TopicName,
    /// The first dropped offset.
    pub from: Offset,
    /// The last dropped offset.
    pub to: Offset,
}

/// The messages of each topic that were dropped since the topic's last message went out.
#[derive(Default)]
pub struct Gaps {
    by_topic: IndexMap<TopicName, TopicGaps, RandomState>,
    count: usize,
    /// How many of the first topics are still to be examined while messages are marked.
    unchecked: usize,
}

/// The gaps of one topic.
pub struct TopicGaps {
    /// The epoch of the topic in which the messages were dropped. In a later epoch, the epoch itself tells the loss.
    epoch: Epoch,
    /// The ranges in ascending order, both ends included.
    spans: Vec<(Offset, Offset)>,
    /// The rule of the message dropped last. Under one rule the oldest message of the outbox is dropped first, so no older
    /// message waits than one that was dropped there.
    rule: Arc<Rule>,
}

impl Gaps {
    /// About the memory of the gaps, in bytes.
    pub fn bytes(&self) -> usize {
        self.by_topic.len() * TOPIC_BYTES + self.count * SPAN_BYTES
    }

    /// Whether the gaps take no more memory than an outbox bounded by `bytes_max` (or [`BYTES_LEAST`]). They may take
    /// it beside the outbox, because each is remembered until its topic's next message.
    pub fn fit(&self, bytes_max: usize) -> bool {
        self.bytes() <= bytes_max.max(BYTES_LEAST)
    }

    /// Whether `topic` has gaps.
    pub fn has(&self, topic: &TopicName) -> bool {
        self.by_topic.contains_key(topic)
    }

    /// The topics with gaps, each with its rule.
    pub fn topics(&self) -> impl Iterator<Item = (&TopicName, &Rule)> {
        self.by_topic.iter().map(|(topic, gaps)| (topic, &*gaps.rule))
    }

    /// Whether there are no gaps.
    pub fn is_empty(&self) -> bool {
        self.by_topic.is_empty()
    }

    /// Notes that `message` was dropped.
    pub fn note(&mut self, message: &QueuedMessage) {
        let (Position { epoch, offset }, rule) = (message.position, &message.rule);
        self.change(&message.topic, epoch, rule, |topic| {
            let older = topic.spans.partition_point(|&(from, _)| from < offset);
            let is_full = older >= GAPS_PER_TOPIC_MAX && Arc::ptr_eq(&topic.rule, rule);
            let last = if is_full { GAPS_PER_TOPIC_MAX } else { older };
            match topic.spans[..last].last_mut().filter(|(_, to)| to.next() == offset || is_full) {
                Some((_, to)) => {
                    *to = offset;
                    topic.spans.drain(last..older);
                }
                None => topic.spans.insert(older, (offset, offset)),
            }
            if !Arc::ptr_eq(&topic.rule, rule) {
                topic.rule = Arc::clone(rule);
            }
        });
    }

    /// Notes messages that were dropped before they were queued. Older messages of their topic may still wait, so a range
    /// extends only a gap that it follows at once. [`Gaps::fit`] bounds the number of the others.
    pub fn note_range(&mut self, dropped: &DroppedRange) {
        let (from, to) = (dropped.from, dropped.to);
        self.change(&dropped.topic, dropped.epoch, &dropped.rule, |topic| {
            match topic.spans.last_mut().filter(|(_, last)| last.next() == from) {
                Some((_, last)) => *last = to,
                None => topic.spans.push((from, to)),
            }
        });
    }

    /// Changes the gaps of `topic` in `epoch`. A topic without gaps in it gets `rule`.
    fn change(&mut self, topic: &TopicName, epoch: Epoch, rule: &Arc<Rule>, change: impl FnOnce(&mut TopicGaps)) {
        let new = || TopicGaps { epoch, spans: Vec::new(), rule: Arc::clone(rule) };
        let topic = self.by_topic.entry(topic.clone()).or_insert_with(new);
        self.count -= topic.spans.len();
        if topic.epoch != epoch {
            *topic = new();
        }
        change(topic);
        self.count += topic.spans.len();
    }

    /// Whether a gap is to be told before `message`. A gap lies behind the replayed messages that still wait.
    pub fn has_before(&self, message: &QueuedMessage) -> bool {
        self.by_topic.get(&message.topic).is_some_and(|topic| topic.before(message.position) > 0)
    }

    /// Takes the gaps of `name` that are to be told before `position`, in order.
    pub fn take_before(&mut self, name: &TopicName, position: Position) -> Vec<Gap> {
        let Some(topic) = self.by_topic.get_mut(name) else { return Vec::new() };
        let gap = |(from, to)| Gap { topic: name.clone(), from, to };
        let gaps: Vec<Gap> = topic.spans.drain(..topic.before(position)).map(gap).collect();
        if topic.spans.is_empty() {
            self.remove(name);
        }
        self.count -= gaps.len();
        gaps
    }

    /// Forgets the gaps of at most `most` topics. Returns the number of these topics.
    pub fn forget_some(&mut self, most: usize) -> usize {
        let topics = most.min(self.by_topic.len());
        let forgotten = self.by_topic.drain(self.by_topic.len() - topics..);
        self.count -= forgotten.map(|(_, topic)| topic.spans.len()).sum::<usize>();
        topics
    }

    /// The number of topics with gaps.
    pub fn len(&self) -> usize {
        self.by_topic.len()
    }

    /// Forgets the gaps of `name` up to `offset`.
    pub fn forget_to(&mut self, name: &TopicName, offset: Offset) {
        let Some(topic) = self.by_topic.get_mut(name) else { return };
        let gone = topic.spans.partition_point(|&(from, _)| from <= offset);
        topic.spans.drain(..gone);
        self.count -= gone;
        if topic.spans.is_empty() {
            self.remove(name);
        }
    }

    /// Begins to prune topics. [`Gaps::prune`] examines all topics that have gaps now.
    pub fn begin_pruning(&mut self) {
        self.unchecked = self.by_topic.len();
    }

    /// Examines at most `most` topics. Each keeps as many of its first gaps as `kept` says. Returns the number of topics
    /// examined; fewer than `most` means that all were.
    pub fn prune(&mut self, most: usize, kept: impl Fn(&TopicName, &TopicGaps) -> usize) -> usize {
        let examined = most.min(self.unchecked);
        for _ in 0..examined {
            self.unchecked -= 1;
            let Some((name, topic)) = self.by_topic.get_index_mut(self.unchecked) else { continue };
            let kept = kept(name, topic);
            self.count -= topic.count() - kept;
            topic.spans.truncate(kept);
            if kept == 0 {
                self.by_topic.swap_remove_index(self.unchecked);
            }
        }
        examined
    }

    /// Removes a topic. The last topic takes its place; if that one was examined already, it is examined again.
    fn remove(&mut self, topic: &TopicName) -> Option<TopicGaps> {
        let removed = self.by_topic.swap_remove(topic);
        self.unchecked = self.unchecked.min(self.by_topic.len());
        removed
    }

    /// Forgets all gaps.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// All gaps, in no particular order.
    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = Gap> {
        let of_topic = |(topic, gaps): (&TopicName, &TopicGaps)| {
            let gap = |&(from, to): &(Offset, Offset)| Gap { topic: topic.clone(), from, to };
            gaps.spans.iter().map(gap).collect::<Vec<_>>()
        };
        self.by_topic.iter().flat_map(of_topic)
    }
}

impl TopicGaps {
    /// The number of gaps.
    pub fn count(&self) -> usize {
        self.spans.len()
    }

    /// The number of gaps that are told before a message at `position`. In another epoch there are none.
    pub fn before(&self, position: Position) -> usize {
        if self.epoch == position.epoch { self.spans.partition_point(|(_, to)| *to < position.offset) } else { 0 }
    }
}
