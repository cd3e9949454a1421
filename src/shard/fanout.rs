//! Fan-out: one message to the chains of all who take it.

use std::sync::Arc;

use super::outbox::{End, What};
use super::pace::Paced;
use super::schedule::Due;
use super::sessions::Sessions;
use crate::dialect::Event;
use crate::hub::{Message, PresenceChange};

impl Sessions {
    /// Gives `message` to each of its subscribers once.
    pub fn fan_out(&mut self, message: &Message) {
        let stamp = self.taken;
        let mut routed = 0;
        let mut frame = None;
        let mut closer_look = Vec::new();
        let Self { subscribers, slots, pass, .. } = self;
        subscribers.lists(&message.topic, |subscribed| {
            for &slot in &subscribed.slots {
                let Some(session) = slots.get_mut(slot) else { continue };
                if session.stamp == stamp || message.except == Some(session.id) {
                    continue;
                }
                session.stamp = stamp;
                if !session.is_plain() {
                    closer_look.push(slot);
                    continue;
                }
                let frame = *frame.get_or_insert_with(|| pass.add_message(message));
                pass.link(slot, &mut session.chain, frame);
                routed += 1;
            }
        });
        self.tally.routed(message.rule.id, routed);
        for slot in closer_look {
            self.give(slot, message, &mut frame);
        }
    }

    /// Gives a message to a session that replays or paces something.
    fn give(&mut self, slot: u32, message: &Message, frame: &mut Option<u32>) {
        let now = self.now;
        let Some(session) = self.slot(slot) else { return };
        if session.replays.as_ref().is_some_and(|replays| replays.withholds(&message.topic, message.position.offset)) {
            return;
        }
        let id = session.id;
        let interval = session.interval(&message.topic);
        let paced = match (session.paces.as_mut(), interval) {
            (Some(paces), Some(interval)) => Some(paces.pace(message, interval, now)),
            _ => None,
        };
        self.tally.routed(message.rule.id, 1);
        match paced {
            Some(Paced::Held(older)) => {
                self.hold(message);
                if let Some(older) = older {
                    self.unhold(&older);
                    self.give_up(&older, End::Conflated);
                }
                return;
            }
            Some(Paced::Now(at)) => self.note_due(Due { at, slot, session: id, topic: message.topic.clone() }),
            None => {}
        }
        let Self { slots, pass, .. } = self;
        let frame = *frame.get_or_insert_with(|| pass.add_message(message));
        if let Some(session) = slots.get_mut(slot) {
            pass.link(slot, &mut session.chain, frame);
        }
    }

    /// Tells those who watch that a member came or went.
    pub fn fan_out_presence(&mut self, change: &Arc<PresenceChange>) {
        let stamp = self.taken;
        let mut watching = Vec::new();
        let Self { subscribers, slots, .. } = self;
        subscribers.lists(&change.topic, |subscribed| {
            for &slot in &subscribed.watchers {
                let Some(session) = slots.get_mut(slot) else { continue };
                if session.stamp != stamp && session.id != change.member.session {
                    session.stamp = stamp;
                    watching.push(slot);
                }
            }
        });
        for slot in watching {
            self.say(slot, &Event::PresenceChange(change), What::Presence(Arc::clone(change)));
        }
    }
}
