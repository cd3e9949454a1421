//! Fan-out: links one message to the chains of all its subscribers.

use std::sync::Arc;

use super::presence_queue::{PresenceQueue, WATCHERS_PER_PART};
use super::shard_delivery::Delivery;
use super::write_batch::FrameNumber;
use crate::config::OnSlow;
use crate::dialect::Encoding;
use crate::hub::{Message, PresenceChange, Topic};
use crate::shard::catchup::CatchUp;
use crate::shard::env::Env;
use crate::shard::pacing::{Pacing, PacingDecision};
use crate::shard::slot::Table;

/// The shared results of one message's fan-out.
struct FanOut {
    /// Whether a slow session reads the message from history instead.
    deferrable: bool,
    /// The frame that all sessions share.
    frame: Option<FrameNumber>,
    /// The message's topic, looked up when a slow session needs it. The inner `None` means that the topic has ended.
    topic: Option<Option<Arc<Topic>>>,
}

impl Delivery {
    /// Gives `message` to each of its subscribers once. Sessions that still replay its topic, or whose pacing holds it,
    /// do not get it now.
    pub fn fan_out(&mut self, message: &Message, table: &Table, catch_up: &mut CatchUp, pacing: &mut Pacing, env: &mut Env) {
        let item = env.processed();
        let mut routed = 0;
        let mut made = FanOut { deferrable: message.rule.on_slow == OnSlow::Replay, frame: None, topic: None };
        let mut on_slow_path = Vec::new();
        let Self { subscribers, outgoing, batch, .. } = self;
        let is_excepted = |slot| message.except.is_some_and(|id| table.get(slot).is_some_and(|connection| connection.id() == id));
        subscribers.lists(&message.topic, |subscribed| {
            for &slot in &subscribed.slots {
                let Some(session) = outgoing.get_mut(slot) else { continue };
                if session.last_item == item || is_excepted(slot) {
                    continue;
                }
                session.last_item = item;
                if session.needs_slow_path || made.deferrable && session.outbox.is_some() {
                    on_slow_path.extend(Some(slot).filter(|&slot| table.is_open(slot))); // an ended session may still be in the list
                    continue;
                }
                let frame = *made.frame.get_or_insert_with(|| batch.add_message(message, made.deferrable));
                batch.link(slot, &mut session.chain, frame);
                routed += 1;
            }
        });
        if !made.deferrable {
            env.tally.routed(message.rule.id, routed);
        }
        for slot in on_slow_path {
            self.give(slot, message, &mut made, catch_up, pacing, env);
        }
    }

    /// Gives a message to a session that may replay or pace a topic, or that is slow.
    fn give(&mut self, slot: u32, message: &Message, made: &mut FanOut, catch_up: &mut CatchUp, pacing: &mut Pacing, env: &mut Env) {
        if catch_up.withholds(slot, message, env.processed()) {
            return;
        }
        if let Some(older) = pacing.take_unpaced(slot, &message.topic, &mut env.tally) {
            self.queue_released(slot, older, &mut env.tally);
        }
        let bytes_max = env.config.limits.outbox_bytes.saturating_sub(self.outgoing.counted_bytes(slot));
        let decision = pacing.decide(slot, message, bytes_max, env.now, &mut env.tally);
        let mut deferrable = made.deferrable && decision == PacingDecision::Free;
        if deferrable && self.outgoing.is_slow(slot) {
            let topic = made.topic.get_or_insert_with(|| env.hub().find(&message.topic));
            if let Some(topic) = topic {
                catch_up.read_from(slot, Arc::clone(topic), message.position);
                return self.outgoing.use_slow_path(slot);
            }
            deferrable = false; // a topic that has ended has no history to read
        }
        if !deferrable {
            env.tally.routed(message.rule.id, 1);
        }
        let Some(session) = self.outgoing.get_mut(slot).filter(|_| decision != PacingDecision::Held) else { return };
        session.needs_slow_path = pacing.has(slot) || catch_up.has(slot);
        let frame = match made.deferrable == deferrable {
            true => *made.frame.get_or_insert_with(|| self.batch.add_message(message, deferrable)),
            false => self.batch.share_message(message),
        };
        self.batch.link(slot, &mut session.chain, frame);
    }

    /// Takes a change from the inbox. Without watchers the change is dropped.
    pub fn on_presence_change(&self, change: &Arc<PresenceChange>, changes: &mut PresenceQueue, env: &mut Env) {
        let subscribers = &self.subscribers;
        if subscribers.are_watching(&change.topic) {
            changes.take(env.processed(), change, |number| subscribers.began_behind(&change.topic, number), &mut env.tally);
        }
    }

    /// Tells the changes of the current round to the next part of their watchers.
    pub fn tell_changes(&mut self, changes: &mut PresenceQueue, table: &Table, env: &mut Env) {
        let Self { subscribers, outgoing, batch, encoder, .. } = self;
        let (round, from) = changes.round();
        let to = subscribers.end_of_part(round.iter().map(|told| &told.change.topic), from, WATCHERS_PER_PART);
        let (mut watchers, mut frames) = (0, 0);
        for told in round {
            let (number, member) = (told.number, told.change.member.session);
            let mut made: Vec<(Encoding, Option<FrameNumber>)> = Vec::new();
            subscribers.announced_to(&told.change.topic.clone(), number, from..to.unwrap_or(u32::MAX), |slot| {
                let Some(session) = outgoing.get_mut(slot) else { return };
                let is_other = table.get(slot).is_some_and(|connection| connection.is_open() && connection.id() != member);
                // Changes and messages are numbered together, so only this change can have set this number.
                if session.last_item == number || !is_other {
                    return;
                }
                session.last_item = number;
                let known = made.iter().find(|(encoding, _)| *encoding == session.encoding).map(|(_, frame)| *frame);
                let frame = known.unwrap_or_else(|| {
                    let bytes = told.frame(session.encoding, encoder, &mut env.tally);
                    let frame = bytes.map(|bytes| batch.add_change(&told.change, bytes));
                    made.push((session.encoding, frame));
                    frame
                });
                let Some(frame) = frame else { return };
                watchers += usize::from(session.chain.is_empty());
                batch.link(slot, &mut session.chain, frame);
                frames += 1;
            });
        }
        changes.announced(to, watchers, frames, &mut env.tally);
    }
}
