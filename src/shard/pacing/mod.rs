//! Pacing: a session gets at most one message of a topic in `interval_ms`, always the newest.

mod intervals;
mod paced_topics;
mod schedule;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use foldhash::HashMap;

use paced_topics::{Adapted, Decision, PacedTopics};
pub use paced_topics::{DroppedRange, Released};
use schedule::{Due, Schedule};

use crate::clock::Moment;
use crate::hub::Message;
use crate::metrics::{DropReason, Gauge, Tally};
use crate::topic_name::{Pattern, TopicName};

/// The messages that a shard holds back for its sessions, with one schedule and one timer for all.
#[derive(Default)]
pub struct Pacing {
    /// The paced topics by slot, of sessions with an interval.
    paced: HashMap<u32, PacedTopics>,
    schedule: Schedule,
    /// Slots that have become overfull since the last [`Pacing::take_overfull`].
    overfull: Vec<u32>,
    /// Slots whose topics are still to be adapted to new intervals, in their order.
    adapting: VecDeque<u32>,
    /// The paced topics of sessions that have ended.
    ended: VecDeque<PacedTopics>,
}

/// The decision of pacing for one message of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacingDecision {
    /// The message goes out. Its topic has no interval.
    Free,
    /// The message goes out, and the interval of its topic begins.
    Paced,
    /// The message is held until the interval of its topic ends.
    Held,
}

impl Pacing {
    /// Whether the session in `slot` is paced.
    pub fn has(&self, slot: u32) -> bool {
        self.paced.contains_key(&slot)
    }

    /// Begins to pace the session in `slot` by the intervals of its subscriptions.
    pub fn begin<'a>(&mut self, slot: u32, subscriptions: impl Iterator<Item = (&'a Pattern, Option<Duration>)>) {
        let topics = self.paced.entry(slot).or_default();
        subscriptions.for_each(|(pattern, interval)| topics.intervals().set(pattern, interval));
    }

    /// Sets the interval of a subscription of the session in `slot`. [`Pacing::begin_adapting`] has to be called after
    /// the last change.
    pub fn set_interval(&mut self, slot: u32, pattern: &Pattern, interval: Option<Duration>) {
        if let Some(topics) = self.paced.get_mut(&slot) {
            topics.intervals().set(pattern, interval);
        }
    }

    /// Removes a subscription of the session in `slot` that has ended. [`Pacing::begin_adapting`] has to be called
    /// after the last change.
    pub fn end_interval(&mut self, slot: u32, pattern: &Pattern) {
        if let Some(topics) = self.paced.get_mut(&slot) {
            topics.intervals().remove(pattern);
        }
    }

    /// Decides whether a message goes out now to the session in `slot`. A held message replaces the older held message
    /// of its topic, which counts as conflated. A session that holds more than `bytes_max` bytes becomes overfull.
    pub fn decide(&mut self, slot: u32, message: &Message, bytes_max: usize, now: Moment, tally: &mut Tally) -> PacingDecision {
        match self.paced.get_mut(&slot).map_or(Decision::Unpaced, |topics| topics.decide(message, now)) {
            Decision::Unpaced => PacingDecision::Free,
            Decision::Now(at) => {
                self.schedule_due(Due { at, slot, topic: message.topic.clone() });
                PacingDecision::Paced
            }
            Decision::Held(older) => {
                book(message, 1, tally);
                if let Some(older) = older {
                    book(&older, -1, tally);
                    tally.conflated(older.rule.id, 1);
                }
                if self.bytes(slot) > bytes_max && self.overfull.last() != Some(&slot) {
                    self.overfull.push(slot);
                }
                PacingDecision::Held
            }
        }
    }

    /// Begins the interval of `topic`, if it has one: a replay has just given the session in `slot` a message of the
    /// topic.
    pub fn begin_interval(&mut self, slot: u32, topic: &TopicName, now: Moment) {
        if let Some(at) = self.paced.get_mut(&slot).and_then(|topics| topics.begin(topic, now)) {
            self.schedule_due(Due { at, slot, topic: topic.clone() });
        }
    }

    /// The moment at which the next topic is due; `None`: no topic is scheduled.
    pub fn next(&self) -> Option<Moment> {
        self.schedule.next()
    }

    /// Takes what goes out of the next topic that is due by `now`, with the slot of its session.
    pub fn take_due(&mut self, now: Moment, tally: &mut Tally) -> Option<(u32, Released)> {
        while let Some(Due { slot, topic, .. }) = self.schedule.take_due(now) {
            let Some(topics) = self.paced.get_mut(&slot) else { continue };
            let Some((released, next)) = topics.fall_due(&topic, now) else { continue };
            if let Some(at) = next {
                self.schedule_due(Due { at, slot, topic });
            }
            return Some((slot, booked(released, tally)));
        }
        None
    }

    /// Notes that the intervals of the session in `slot` have changed. Its topics are adapted by [`Pacing::adapt`].
    pub fn begin_adapting(&mut self, slot: u32) {
        let Some(topics) = self.paced.get_mut(&slot) else { return };
        if topics.intervals().take_changed() {
            topics.begin_adapting();
        }
        self.end_if_over(slot);
    }

    /// Whether topics of the session in `slot` are still to be adapted to its intervals.
    pub fn is_adapting(&self, slot: u32) -> bool {
        self.paced.get(&slot).is_some_and(PacedTopics::is_adapting)
    }

    /// Adapts at most `most` topics of the session in `slot` to its intervals. Returns what goes out now, of topics that
    /// have no interval any more, and the number of topics examined.
    pub fn adapt(&mut self, slot: u32, most: usize, now: Moment, tally: &mut Tally) -> (Vec<Released>, usize) {
        let Some(topics) = self.paced.get_mut(&slot) else { return (Vec::new(), 0) };
        let Adapted { examined, moved, released } = topics.adapt(most, now);
        moved.into_iter().for_each(|(topic, at)| self.schedule_due(Due { at, slot, topic }));
        self.end_if_over(slot);
        (booked_all(released, tally), examined)
    }

    /// Queues the session in `slot` for [`Pacing::adapt`], behind those that wait already.
    pub fn queue_adapting(&mut self, slot: u32) {
        if self.paced.get_mut(&slot).is_some_and(PacedTopics::enqueue) {
            self.adapting.push_back(slot);
        }
    }

    /// Takes the slot of the session whose topics are adapted next.
    pub fn next_adapting(&mut self) -> Option<u32> {
        let slot = self.adapting.pop_front()?;
        self.paced.get_mut(&slot).into_iter().for_each(PacedTopics::dequeue);
        Some(slot)
    }

    /// Whether a session is queued for [`Pacing::adapt`].
    pub fn has_adapting(&self) -> bool {
        !self.adapting.is_empty()
    }

    /// Ends the pacing of `topic` for the session in `slot`, if the topic has no interval any more and was not adapted
    /// yet. Returns what goes out now.
    pub fn take_unpaced(&mut self, slot: u32, topic: &TopicName, tally: &mut Tally) -> Option<Released> {
        let released = self.paced.get_mut(&slot)?.take_unpaced(topic)?;
        Some(booked(released, tally))
    }

    /// Ends the pacing of `topic` for the session in `slot`. Returns what goes out now, or is to be counted.
    pub fn release(&mut self, slot: u32, topic: &TopicName, tally: &mut Tally) -> Option<Released> {
        let released = self.paced.get_mut(&slot)?.end(topic);
        self.end_if_over(slot);
        released.map(|released| booked(released, tally))
    }

    /// Ends the pacing of all topics of the session in `slot`. Returns what goes out now.
    pub fn release_all(&mut self, slot: u32, tally: &mut Tally) -> Vec<Released> {
        let released = self.paced.get_mut(&slot).map(PacedTopics::end_all).unwrap_or_default();
        self.end_if_over(slot);
        booked_all(released, tally)
    }

    /// Ends the pacing of the session in `slot`, which ends. [`Pacing::release_ended`] has to follow.
    pub fn forget(&mut self, slot: u32) {
        self.ended.extend(self.paced.remove(&slot));
    }

    /// Releases at most `most` topics of ended sessions, with their held messages. Returns the number of topics.
    pub fn release_ended(&mut self, most: usize, tally: &mut Tally) -> usize {
        let mut released = 0;
        while released < most
            && let Some(topics) = self.ended.front_mut()
        {
            let Some(held) = topics.release_last() else {
                self.ended.pop_front();
                continue;
            };
            released += 1;
            if let Some(message) = held {
                book(&message, -1, tally);
                tally.dropped(message.rule.id, DropReason::Closed, 1);
            }
        }
        released
    }

    /// The number of topics that are left for [`Pacing::release_ended`].
    pub fn ended(&self) -> usize {
        self.ended.iter().map(PacedTopics::topics).sum()
    }

    /// Whether [`Pacing::release_ended`] has something left.
    pub fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Ends the pacing of a session if no subscription has an interval and no topic's interval runs.
    fn end_if_over(&mut self, slot: u32) {
        if self.paced.get_mut(&slot).is_some_and(|topics| !topics.intervals().are_paced() && topics.is_empty()) {
            self.paced.remove(&slot);
        }
    }

    /// Takes the slot of a session that has become overfull.
    pub fn take_overfull(&mut self) -> Option<u32> {
        self.overfull.pop()
    }

    /// Drops the oldest held messages of the session in `slot`, as the rules allow, until `bytes_max` bytes are left.
    /// The gap goes out when the topic falls due.
    pub fn shrink(&mut self, slot: u32, bytes_max: usize, reason: DropReason, tally: &mut Tally) {
        let dropped = self.paced.get_mut(&slot).map(|topics| topics.drop_oldest(bytes_max)).unwrap_or_default();
        for message in &dropped {
            book(message, -1, tally);
            tally.dropped(message.rule.id, reason, 1);
        }
    }

    /// The slots of sessions with a held message.
    pub fn holding(&self) -> impl Iterator<Item = u32> {
        self.paced.iter().filter(|(_, topics)| topics.bytes() > 0).map(|(&slot, _)| slot)
    }

    /// The slots of paced sessions, each with the bytes of the entries of topics whose interval runs.
    pub fn interval_bytes(&self) -> impl Iterator<Item = (u32, usize)> {
        self.paced.iter().map(|(&slot, topics)| (slot, topics.interval_bytes()))
    }

    /// The bytes of the messages that are held for the session in `slot`.
    pub fn bytes(&self, slot: u32) -> usize {
        self.paced.get(&slot).map_or(0, PacedTopics::bytes)
    }

    /// The number of topics whose interval runs for the session in `slot`.
    pub fn topics(&self, slot: u32) -> usize {
        self.paced.get(&slot).map_or(0, PacedTopics::topics)
    }

    /// The oldest message that is held for the session in `slot`.
    pub fn oldest(&self, slot: u32) -> Option<&Message> {
        self.paced.get(&slot)?.oldest()
    }

    /// The number of look-ups of the intervals of the session in `slot`.
    #[cfg(test)]
    fn looks(&mut self, slot: u32) -> usize {
        self.paced.get_mut(&slot).map_or(0, |topics| topics.intervals().looks.get())
    }

    /// Schedules the due time of a session's topic. The topic's entry in the session's topics exists already.
    fn schedule_due(&mut self, due: Due) {
        let Self { schedule, paced, .. } = self;
        schedule.add(due, |older| paced.get(&older.slot).is_some_and(|topics| topics.is_due_at(&older.topic, older.at)));
    }
}

/// Books that the message of `released` is no longer held.
fn booked(released: Released, tally: &mut Tally) -> Released {
    released.message.iter().for_each(|message| book(message, -1, tally));
    released
}

fn booked_all(released: Vec<Released>, tally: &mut Tally) -> Vec<Released> {
    released.into_iter().map(|released| booked(released, tally)).collect()
}

/// Books that a message is held (`change` is 1) or no longer held (-1). It counts as in the outbox.
fn book(message: &Message, change: i64, tally: &mut Tally) {
    tally.queued(message.rule.id, change);
    tally.add(Gauge::OutboxBytes, change * message.transit_bytes() as i64);
}
