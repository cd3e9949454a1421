//! Pacing: of each topic at most one message in `interval_ms` for one session, always the newest.

mod intervals;
mod paces;
mod schedule;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use foldhash::HashMap;

use paces::{Followed, Paced, Paces};
use schedule::{Due, Schedule};

use crate::clock::Moment;
use crate::hub::Message;
use crate::metrics::{DropReason, Tally};
use crate::topic_name::{Pattern, TopicName};

/// What a shard holds back for its sessions, and when each topic is due: one schedule and one timer for all.
#[derive(Default)]
pub struct Pacing {
    /// By slot, of sessions with an interval.
    paced: HashMap<u32, Paces>,
    schedule: Schedule,
    /// Slots for which more is held than they may have, since this was last asked.
    overfull: Vec<u32>,
    /// Slots whose topics are to follow new intervals, in their turns.
    behind: VecDeque<u32>,
    /// What is held for sessions that have ended.
    ended: VecDeque<Paces>,
}

/// What pacing decides for one message of one session.
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

    /// The session in `slot` is paced from now on, by the intervals of its subscriptions.
    pub fn begin<'a>(&mut self, slot: u32, subscriptions: impl Iterator<Item = (&'a Pattern, Option<Duration>)>) {
        let paces = self.paced.entry(slot).or_default();
        subscriptions.for_each(|(pattern, interval)| paces.intervals().set(pattern, interval));
    }

    /// A subscription of the session in `slot` has this interval from now on. [`Pacing::begin_to_follow`] is to be called after the last.
    pub fn set_interval(&mut self, slot: u32, pattern: &Pattern, interval: Option<Duration>) {
        if let Some(paces) = self.paced.get_mut(&slot) {
            paces.intervals().set(pattern, interval);
        }
    }

    /// A subscription of the session in `slot` has ended. [`Pacing::begin_to_follow`] is to be called after the last.
    pub fn end_interval(&mut self, slot: u32, pattern: &Pattern) {
        if let Some(paces) = self.paced.get_mut(&slot) {
            paces.intervals().remove(pattern);
        }
    }

    /// Decides whether a message goes out now to the session in `slot`. A held message replaces the older held message of its topic,
    /// which counts as conflated. A session that holds more than `bytes_max` bytes becomes overfull.
    pub fn decide(&mut self, slot: u32, message: &Message, bytes_max: usize, now: Moment, tally: &mut Tally) -> PacingDecision {
        match self.paced.get_mut(&slot).map_or(Paced::Freely, |paces| paces.pace(message, now)) {
            Paced::Freely => PacingDecision::Free,
            Paced::Now(at) => {
                self.note_due(Due { at, slot, topic: message.topic.clone() });
                PacingDecision::Paced
            }
            Paced::Held(older) => {
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

    /// A replay has given the session in `slot` a message of `topic`, so the topic's interval, if it has one, counts from now.
    pub fn begin_interval(&mut self, slot: u32, topic: &TopicName, now: Moment) {
        if let Some(at) = self.paced.get_mut(&slot).and_then(|paces| paces.begin(topic, now)) {
            self.note_due(Due { at, slot, topic: topic.clone() });
        }
    }

    /// When the next topic is due.
    pub fn next(&self) -> Option<Moment> {
        self.schedule.next()
    }

    /// Takes the next message that is due by `now`, with the slot that it goes to.
    pub fn take_due(&mut self, now: Moment, tally: &mut Tally) -> Option<(u32, Message)> {
        while let Some(Due { slot, topic, .. }) = self.schedule.take_due(now) {
            let Some(paces) = self.paced.get_mut(&slot) else { continue };
            let Some((message, next)) = paces.fall_due(&topic, now) else { continue };
            if let Some(at) = next {
                self.note_due(Due { at, slot, topic });
            }
            book(&message, -1, tally);
            return Some((slot, message));
        }
        None
    }

    /// The intervals of the session in `slot` were set, or ended: its topics are to follow them, by [`Pacing::follow`].
    pub fn begin_to_follow(&mut self, slot: u32) {
        let Some(paces) = self.paced.get_mut(&slot) else { return };
        if paces.intervals().take_changed() {
            paces.fall_behind();
        }
        self.end_if_over(slot);
    }

    /// Whether topics of the session in `slot` are still to follow its intervals.
    pub fn is_behind(&self, slot: u32) -> bool {
        self.paced.get(&slot).is_some_and(Paces::are_behind)
    }

    /// At most so many topics of the session in `slot` follow its intervals. What was held of topics without one, to go out now; and how
    /// many were looked at.
    pub fn follow(&mut self, slot: u32, most: usize, now: Moment, tally: &mut Tally) -> (Vec<Message>, usize) {
        let Some(paces) = self.paced.get_mut(&slot) else { return (Vec::new(), 0) };
        let Followed { looked_at, moved, released } = paces.follow(most, now);
        moved.into_iter().for_each(|(topic, at)| self.note_due(Due { at, slot, topic }));
        released.iter().for_each(|message| book(message, -1, tally));
        self.end_if_over(slot);
        (released, looked_at)
    }

    /// The topics of the session in `slot` follow its intervals after those of the sessions that wait already.
    pub fn wait_to_follow(&mut self, slot: u32) {
        if self.paced.get_mut(&slot).is_some_and(Paces::begin_to_wait) {
            self.behind.push_back(slot);
        }
    }

    /// The session whose topics are to follow next.
    pub fn next_behind(&mut self) -> Option<u32> {
        let slot = self.behind.pop_front()?;
        self.paced.get_mut(&slot).into_iter().for_each(Paces::end_wait);
        Some(slot)
    }

    /// Whether topics of some session wait to follow its intervals.
    pub fn are_behind(&self) -> bool {
        !self.behind.is_empty()
    }

    /// What is held for the session in `slot` of `topic`, where its interval has ended and it has not followed yet: it goes out now.
    pub fn catch_up(&mut self, slot: u32, topic: &TopicName, tally: &mut Tally) -> Option<Message> {
        let held = self.paced.get_mut(&slot)?.catch_up(topic)?;
        book(&held, -1, tally);
        Some(held)
    }

    /// Ends the pacing of `topic` for the session in `slot`; what was held, to go out now or to be counted.
    pub fn release(&mut self, slot: u32, topic: &TopicName, tally: &mut Tally) -> Option<Message> {
        let held = self.paced.get_mut(&slot)?.end(topic);
        self.end_if_over(slot);
        held.iter().for_each(|message| book(message, -1, tally));
        held
    }

    /// Ends the pacing of all topics of the session in `slot`; what was held, to go out now.
    pub fn release_all(&mut self, slot: u32, tally: &mut Tally) -> Vec<Message> {
        let held = self.paced.get_mut(&slot).map(Paces::end_all).unwrap_or_default();
        self.end_if_over(slot);
        held.iter().for_each(|message| book(message, -1, tally));
        held
    }

    /// The session in `slot` ends; [`Pacing::give_up_ended`] is to follow.
    pub fn forget(&mut self, slot: u32) {
        self.ended.extend(self.paced.remove(&slot));
    }

    /// Gives up no more than `most` topics, and what was held of them, of sessions that have ended; how many there were.
    pub fn give_up_ended(&mut self, most: usize, tally: &mut Tally) -> usize {
        let mut given_up = 0;
        while given_up < most
            && let Some(paces) = self.ended.front_mut()
        {
            let Some(held) = paces.give_up_last() else {
                self.ended.pop_front();
                continue;
            };
            given_up += 1;
            if let Some(message) = held {
                book(&message, -1, tally);
                tally.dropped(message.rule.id, DropReason::Closed, 1);
            }
        }
        given_up
    }

    /// How many topics are left for [`Pacing::give_up_ended`].
    pub fn ended(&self) -> usize {
        self.ended.iter().map(Paces::topics).sum()
    }

    /// Whether something is left for [`Pacing::give_up_ended`].
    pub fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// A session is paced while a subscription has an interval, or a topic's interval runs.
    fn end_if_over(&mut self, slot: u32) {
        if self.paced.get_mut(&slot).is_some_and(|paces| !paces.intervals().are_paced() && paces.is_empty()) {
            self.paced.remove(&slot);
        }
    }

    /// Takes a slot for which more was held than it may have.
    pub fn take_overfull(&mut self) -> Option<u32> {
        self.overfull.pop()
    }

    /// Gives up the oldest of what is held for the session in `slot`, as far as the rules allow, until `bytes_max` are left. No gap
    /// tells of it: under an interval the jump in offsets does.
    pub fn shrink(&mut self, slot: u32, bytes_max: usize, reason: DropReason, tally: &mut Tally) {
        let dropped = self.paced.get_mut(&slot).map(|paces| paces.give_up_oldest(bytes_max)).unwrap_or_default();
        for message in &dropped {
            book(message, -1, tally);
            tally.dropped(message.rule.id, reason, 1);
        }
    }

    /// The slots that something is held for.
    pub fn holding(&self) -> impl Iterator<Item = u32> {
        self.paced.iter().filter(|(_, paces)| paces.bytes() > 0).map(|(&slot, _)| slot)
    }

    /// The slots of paced sessions, and the bytes of what is remembered of the topics whose interval runs.
    pub fn note_bytes(&self) -> impl Iterator<Item = (u32, usize)> {
        self.paced.iter().map(|(&slot, paces)| (slot, paces.note_bytes()))
    }

    /// The bytes of payloads that are held for the session in `slot`.
    pub fn bytes(&self, slot: u32) -> usize {
        self.paced.get(&slot).map_or(0, Paces::bytes)
    }

    /// The oldest message that is held for the session in `slot`.
    pub fn oldest(&self, slot: u32) -> Option<&Message> {
        self.paced.get(&slot)?.oldest()
    }

    /// How often the intervals of the session in `slot` were looked up.
    #[cfg(test)]
    fn looks(&mut self, slot: u32) -> usize {
        self.paced.get_mut(&slot).map_or(0, |paces| paces.intervals().looks.get())
    }

    /// Notes when a topic is due for a session, which has it in its paces already.
    fn note_due(&mut self, due: Due) {
        let Self { schedule, paced, .. } = self;
        schedule.note(due, |older| paced.get(&older.slot).is_some_and(|paces| paces.is_due_at(&older.topic, older.at)));
    }
}

/// Books that a message is held back, or no more: it counts as in the outbox.
fn book(message: &Message, change: i64, tally: &mut Tally) {
    tally.queued(message.rule.id, change);
    tally.outbox_bytes(change * message.payload().len() as i64);
}
