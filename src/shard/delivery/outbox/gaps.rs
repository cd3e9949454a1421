//! What was dropped for one session and is not yet told.

use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::queued::Routed;
use crate::config::Rule;
use crate::position::{Epoch, Offset, Position};
use crate::topic_name::TopicName;

/// What the gaps of one topic take, in bytes, beside its spans: the place in the map, and what that has free.
const TOPIC_BYTES: usize = 128;

/// What a span takes, in bytes: its vector grows by halves.
const SPAN_BYTES: usize = 24;

/// What the gaps of one session may take, in bytes, where the bound of its outbox is less.
pub(super) const BYTES_LEAST: usize = 64 << 10;

/// Past so many of one topic, the last grows over what was conflated between: those offsets don't come either.
const GAPS_PER_TOPIC_MAX: usize = 16;

/// Offsets that were dropped, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The topic whose messages were dropped.
    pub topic: TopicName,
    /// The first.
    pub from: Offset,
    /// The last.
    pub to: Offset,
}

/// Of each topic what was dropped since its last message went out.
#[derive(Default)]
pub struct Gaps {
    by_topic: IndexMap<TopicName, Topic, RandomState>,
    count: usize,
    /// So many of the first topics are still to be looked at where topics are being left.
    unchecked: usize,
}

/// The gaps of one topic.
pub struct Topic {
    /// The life of the topic that they are of; in the next, the epoch says what was lost.
    epoch: Epoch,
    /// Rising; both ends included.
    spans: Vec<(Offset, Offset)>,
    /// Of the last one dropped. Under one rule the oldest goes first, so nothing that was dropped has an older one waiting.
    rule: Arc<Rule>,
}

impl Gaps {
    /// About how much memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.by_topic.len() * TOPIC_BYTES + self.count * SPAN_BYTES
    }

    /// Whether they take no more than an outbox that is bounded by `bytes_max`, beside which they may: each is remembered until its
    /// topic's next message.
    pub fn fit(&self, bytes_max: usize) -> bool {
        self.bytes() <= bytes_max.max(BYTES_LEAST)
    }

    /// The topics of which there are some, each with its rule.
    pub fn topics(&self) -> impl Iterator<Item = (&TopicName, &Rule)> {
        self.by_topic.iter().map(|(topic, gaps)| (topic, &*gaps.rule))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_topic.is_empty()
    }

    /// Notes that `message` was dropped.
    pub fn note(&mut self, message: &Routed) {
        let (epoch, offset, rule) = (message.position.epoch, message.position.offset, &message.rule);
        let Some(topic) = self.by_topic.get_mut(&message.topic).filter(|topic| topic.epoch == epoch) else {
            let topic = Topic { epoch, spans: vec![(offset, offset)], rule: Arc::clone(rule) };
            let former = self.by_topic.insert(message.topic.clone(), topic);
            self.count = self.count + 1 - former.map_or(0, |former| former.spans.len());
            return;
        };
        let is_full = topic.spans.len() >= GAPS_PER_TOPIC_MAX && Arc::ptr_eq(&topic.rule, rule);
        match topic.spans.last_mut().filter(|(_, to)| to.next() == offset || is_full) {
            Some((_, to)) => *to = offset,
            None => {
                topic.spans.push((offset, offset));
                self.count += 1;
            }
        }
        if !Arc::ptr_eq(&topic.rule, rule) {
            topic.rule = Arc::clone(rule);
        }
    }

    /// Whether one is to be told before `message`: what was dropped lies behind the replayed messages that still wait.
    pub fn has_before(&self, message: &Routed) -> bool {
        self.by_topic.get(&message.topic).is_some_and(|topic| topic.has_before(message))
    }

    /// Takes those of `name` that are to be told before what has `position`, in order.
    pub fn take_before(&mut self, name: &TopicName, position: Position) -> Vec<Gap> {
        let of_its_life = self.by_topic.get_mut(name).filter(|topic| topic.epoch == position.epoch);
        let Some(topic) = of_its_life else { return Vec::new() };
        let told = topic.spans.partition_point(|(_, to)| *to < position.offset);
        let gap = |(from, to)| Gap { topic: name.clone(), from, to };
        let gaps: Vec<Gap> = topic.spans.drain(..told).map(gap).collect();
        if topic.spans.is_empty() {
            self.remove(name);
        }
        self.count -= gaps.len();
        gaps
    }

    /// Forgets those of at most `most` topics; returns the number of these topics.
    pub fn forget_some(&mut self, most: usize) -> usize {
        let topics = most.min(self.by_topic.len());
        let forgotten = self.by_topic.drain(self.by_topic.len() - topics..);
        self.count -= forgotten.map(|(_, topic)| topic.spans.len()).sum::<usize>();
        topics
    }

    /// The number of topics that have some.
    pub fn len(&self) -> usize {
        self.by_topic.len()
    }

    /// Forgets those of `topic`.
    pub fn forget(&mut self, topic: &TopicName) {
        self.count -= self.remove(topic).map_or(0, |topic| topic.spans.len());
    }

    /// Topics are to be left: all that there are now are looked at by [`Gaps::leave`].
    pub fn begin_to_leave(&mut self) {
        self.unchecked = self.by_topic.len();
    }

    /// Looks at no more topics than `most`, and forgets those that `left` names. How many there were; fewer than `most`: that was all.
    pub fn leave(&mut self, most: usize, left: impl Fn(&TopicName, &Topic) -> bool) -> usize {
        let looked_at = most.min(self.unchecked);
        for _ in 0..looked_at {
            self.unchecked -= 1;
            let is_left = self.by_topic.get_index(self.unchecked).is_some_and(|(topic, gaps)| left(topic, gaps));
            if is_left && let Some((_, gaps)) = self.by_topic.swap_remove_index(self.unchecked) {
                self.count -= gaps.spans.len();
            }
        }
        looked_at
    }

    /// The last topic takes its place; where that was looked at already, it is once more.
    fn remove(&mut self, topic: &TopicName) -> Option<Topic> {
        let removed = self.by_topic.swap_remove(topic);
        self.unchecked = self.unchecked.min(self.by_topic.len());
        removed
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// All, in no order.
    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = Gap> {
        let of_topic = |(topic, gaps): (&TopicName, &Topic)| {
            let gap = |&(from, to): &(Offset, Offset)| Gap { topic: topic.clone(), from, to };
            gaps.spans.iter().map(gap).collect::<Vec<_>>()
        };
        self.by_topic.iter().flat_map(of_topic)
    }
}

impl Topic {
    /// Whether the first is told before `message`, which is of the same life.
    pub fn has_before(&self, message: &Routed) -> bool {
        self.epoch == message.position.epoch && self.spans.first().is_some_and(|(_, to)| *to < message.position.offset)
    }
}
