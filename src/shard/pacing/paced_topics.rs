//! The paced topics of one session, each with at most its newest message held.

use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::intervals::Intervals;
use crate::clock::Moment;
use crate::config::{OnSlow, Rule};
use crate::hub::Message;
use crate::position::{Epoch, Offset, Position};
use crate::topic_name::TopicName;

/// The bytes that a topic takes whose interval runs, with its entry in the schedule.
const TOPIC_BYTES: usize = 160;

/// The bytes that the dropped messages of a topic take.
const DROPPED_BYTES: usize = 80;

/// One session's paced topics. A topic is in it only while its interval runs.
///
/// If the session's intervals change, its topics are adapted in parts, from the last to the first. The held message of
/// a topic that was not adapted yet goes out before the next message of the topic if the topic has no interval any
/// more.
#[derive(Default)]
pub struct PacedTopics {
    by_topic: IndexMap<TopicName, PacedTopic, RandomState>,
    /// How many of the first topics may still be due by earlier intervals.
    unadapted: usize,
    /// Whether the session is queued for [`PacedTopics::adapt`].
    is_queued: bool,
    intervals: Intervals,
    /// The bytes of held messages.
    bytes: usize,
    /// The number of topics with dropped messages.
    dropped: usize,
}

struct PacedTopic {
    due: Moment,
    held: Option<Message>,
    /// The held messages that were dropped since the topic's last message went out.
    dropped: Option<Box<DroppedRange>>,
}

/// Held messages of one topic that were dropped.
pub struct DroppedRange {
    /// The topic.
    pub topic: TopicName,
    /// The epoch of both offsets.
    pub epoch: Epoch,
    /// The first dropped offset.
    pub from: Offset,
    /// The last dropped offset.
    pub to: Offset,
    /// The rule of the message dropped last.
    pub rule: Arc<Rule>,
}

/// What leaves the pacing of a topic and goes out now.
pub struct Released {
    /// The session is told of these messages before the held message goes out.
    pub dropped: Option<Box<DroppedRange>>,
    /// The held message.
    pub message: Option<Message>,
}

/// The decision for one message.
pub enum Decision {
    /// The message goes out now; its topic has no interval.
    Unpaced,
    /// The message goes out now; its topic is due again at this moment.
    Now(Moment),
    /// The message is held until the topic is due. It replaces the message given back, if there was one.
    Held(Option<Message>),
}

/// The result of adapting a part of the topics to new intervals.
#[derive(Default)]
pub struct Adapted {
    /// The number of topics examined.
    pub examined: usize,
    /// The topics that are due earlier, with their new due times.
    pub moved: Vec<(TopicName, Moment)>,
    /// The topics that have no interval any more and held or dropped messages.
    pub released: Vec<Released>,
}

impl PacedTopics {
    /// The intervals of the session's subscriptions.
    pub fn intervals(&mut self) -> &mut Intervals {
        &mut self.intervals
    }

    /// Decides about a message.
    pub fn decide(&mut self, message: &Message, now: Moment) -> Decision {
        let Some(interval) = self.intervals.of(&message.topic) else { return Decision::Unpaced };
        let Some(paced) = self.by_topic.get_mut(&message.topic) else {
            let due = now + interval;
            self.by_topic.insert(message.topic.clone(), PacedTopic::due_at(due));
            return Decision::Now(due);
        };
        let older = paced.held.replace(message.clone());
        self.bytes = self.bytes + message.transit_bytes() - bytes(older.as_ref());
        Decision::Held(older)
    }

    /// Begins the interval of `topic` anew: a replay has just given the session a message of the topic. Returns the due
    /// time if it has changed.
    pub fn begin(&mut self, topic: &TopicName, now: Moment) -> Option<Moment> {
        let due = now + self.intervals.of(topic)?;
        match self.by_topic.get_mut(topic) {
            Some(paced) if paced.due >= due => return None,
            Some(paced) => paced.due = due,
            None => {
                self.by_topic.insert(topic.clone(), PacedTopic::due_at(due));
            }
        }
        Some(due)
    }

    /// Whether `topic` is due at exactly the moment `at`.
    pub fn is_due_at(&self, topic: &TopicName, at: Moment) -> bool {
        self.by_topic.get(topic).is_some_and(|paced| paced.due == at)
    }

    /// Ends the interval of `topic`. Returns what goes out now, and the end of the interval that follows a message.
    pub fn fall_due(&mut self, topic: &TopicName, now: Moment) -> Option<(Released, Option<Moment>)> {
        let paced = self.by_topic.get_mut(topic).filter(|paced| paced.due <= now)?;
        let Some(interval) = self.intervals.of(topic).filter(|_| paced.held.is_some()) else { return Some((self.end(topic)?, None)) };
        paced.due = now + interval;
        let (next, released) = (paced.due, paced.release()?);
        Some((self.counted_out(released), Some(next)))
    }

    /// Notes that the intervals have changed, so all topics are to be adapted.
    pub fn begin_adapting(&mut self) {
        self.unadapted = self.by_topic.len();
    }

    /// Whether topics are still to be adapted.
    pub fn is_adapting(&self) -> bool {
        self.unadapted > 0
    }

    /// Notes that the session is queued for its turn. Returns `false` if it was queued already.
    pub fn enqueue(&mut self) -> bool {
        !std::mem::replace(&mut self.is_queued, true)
    }

    /// Notes that the session's turn has come.
    pub fn dequeue(&mut self) {
        self.is_queued = false;
    }

    /// Adapts at most `most` topics. After that, none of these is due later than its interval from now.
    pub fn adapt(&mut self, most: usize, now: Moment) -> Adapted {
        let mut adapted = Adapted::default();
        while adapted.examined < most && self.unadapted > 0 {
            adapted.examined += 1;
            self.unadapted -= 1;
            let Some((topic, paced)) = self.by_topic.get_index_mut(self.unadapted) else { continue };
            let Some(interval) = self.intervals.of(topic) else {
                // The last topic takes the place of the removed one. It was adapted already.
                let gone = self.by_topic.swap_remove_index(self.unadapted);
                let released = gone.and_then(|(_, mut paced)| paced.release());
                adapted.released.extend(released.map(|released| self.counted_out(released)));
                continue;
            };
            if now + interval < paced.due {
                paced.due = now + interval;
                adapted.moved.push((topic.clone(), paced.due));
            }
        }
        adapted
    }

    /// Ends the pacing of `topic` if the topic has no interval any more and was not adapted yet.
    pub fn take_unpaced(&mut self, topic: &TopicName) -> Option<Released> {
        let may_have = self.is_adapting() || self.intervals.have_changed();
        let is_ended = may_have && self.by_topic.contains_key(topic) && self.intervals.of(topic).is_none();
        if is_ended { self.end(topic) } else { None }
    }

    /// Ends the pacing of `topic`.
    pub fn end(&mut self, topic: &TopicName) -> Option<Released> {
        let released = self.remove(topic)?.release()?;
        Some(self.counted_out(released))
    }

    /// Ends the pacing of all topics.
    pub fn end_all(&mut self) -> Vec<Released> {
        self.unadapted = 0;
        let released: Vec<Released> = self.by_topic.drain(..).filter_map(|(_, mut paced)| paced.release()).collect();
        released.into_iter().map(|released| self.counted_out(released)).collect()
    }

    /// The number of topics whose interval runs.
    pub fn topics(&self) -> usize {
        self.by_topic.len()
    }

    /// Releases the last topic, at the session's end. Returns its held message; `None`: no topic is left.
    pub fn release_last(&mut self) -> Option<Option<Message>> {
        self.by_topic.pop().map(|(_, paced)| paced.held)
    }

    /// Counts out what leaves. The epoch of a message tells the loss of messages in an earlier epoch itself.
    fn counted_out(&mut self, released: Released) -> Released {
        let Released { dropped, message } = released;
        self.bytes -= bytes(message.as_ref());
        self.dropped -= usize::from(dropped.is_some());
        let is_told = |dropped: &DroppedRange| message.as_ref().is_none_or(|message| message.position.epoch == dropped.epoch);
        Released { dropped: dropped.filter(|dropped| is_told(dropped)), message }
    }

    /// Removes `topic`. The last topic takes its place; if that one was adapted already, it is examined again.
    fn remove(&mut self, topic: &TopicName) -> Option<PacedTopic> {
        let removed = self.by_topic.swap_remove(topic);
        self.unadapted = self.unadapted.min(self.by_topic.len());
        removed
    }

    /// Drops the oldest held messages whose rule allows it, until at most `bytes_max` bytes are held. Returns these
    /// messages.
    pub fn drop_oldest(&mut self, bytes_max: usize) -> Vec<Message> {
        let may_go = |message: &&Message| message.rule.on_slow != OnSlow::Disconnect;
        let mut oldest: Vec<Message> = self.by_topic.values().filter_map(|paced| paced.held.as_ref()).filter(may_go).cloned().collect();
        oldest.sort_unstable_by_key(|message| message.moment);
        let mut left = self.bytes;
        oldest.retain(|message| {
            let goes = left > bytes_max;
            left -= if goes { message.transit_bytes() } else { 0 };
            goes
        });
        for message in &oldest {
            if let Some(paced) = self.by_topic.get_mut(&message.topic) {
                self.dropped += usize::from(paced.dropped.is_none());
                paced.drop_held();
            }
        }
        self.bytes = left;
        oldest
    }

    /// The bytes of held messages.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes of the entries of topics whose interval runs.
    pub fn interval_bytes(&self) -> usize {
        self.by_topic.len() * TOPIC_BYTES + self.dropped * DROPPED_BYTES
    }

    /// Whether no topic's interval runs.
    pub fn is_empty(&self) -> bool {
        self.by_topic.is_empty()
    }

    /// The oldest held message.
    pub fn oldest(&self) -> Option<&Message> {
        self.by_topic.values().filter_map(|paced| paced.held.as_ref()).min_by_key(|message| message.moment)
    }
}

impl PacedTopic {
    fn due_at(due: Moment) -> Self {
        Self { due, held: None, dropped: None }
    }

    fn drop_held(&mut self) {
        let Some(message) = self.held.take() else { return };
        let (Position { epoch, offset: to }, rule) = (message.position, Arc::clone(&message.rule));
        let from = self.dropped.as_ref().filter(|earlier| earlier.epoch == epoch).map_or(to, |earlier| earlier.from);
        self.dropped = Some(Box::new(DroppedRange { topic: message.topic.clone(), epoch, from, to, rule }));
    }

    fn release(&mut self) -> Option<Released> {
        let (message, dropped) = (self.held.take(), self.dropped.take());
        (dropped.is_some() || message.is_some()).then_some(Released { dropped, message })
    }
}

fn bytes(held: Option<&Message>) -> usize {
    held.map_or(0, |message| message.transit_bytes())
}
