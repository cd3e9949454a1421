//! Fan-out: one message to the chains of all who take it.

use std::sync::Arc;

use super::outbox::What;
use super::outgoing::Delivery;
use super::write_batch::FrameNumber;
use crate::dialect::Event;
use crate::hub::{Message, PresenceChange};
use crate::shard::catchup::CatchUp;
use crate::shard::env::Env;
use crate::shard::pacing::Pacing;
use crate::shard::slot::Table;

impl Delivery {
    /// Gives `message` to each of its subscribers once; to none that still replays its topic, and to those whose pacing lets it through.
    pub fn fan_out(&mut self, message: &Message, table: &Table, catch_up: &CatchUp, pacing: &mut Pacing, env: &mut Env) {
        let stamp = env.taken();
        let mut routed = 0;
        let mut frame = None;
        let mut closer_look = Vec::new();
        let Self { subscribers, outgoing, batch, .. } = self;
        let is_excepted = |slot| message.except.is_some_and(|id| table.get(slot).is_some_and(|connection| connection.id() == id));
        subscribers.lists(&message.topic, |subscribed| {
            for &slot in &subscribed.slots {
                let Some(session) = outgoing.get_mut(slot) else { continue };
                if session.stamp == stamp || is_excepted(slot) {
                    continue;
                }
                session.stamp = stamp;
                if session.needs_closer_look {
                    closer_look.push(slot);
                    continue;
                }
                let frame = *frame.get_or_insert_with(|| batch.add_message(message));
                batch.link(slot, &mut session.chain, frame);
                routed += 1;
            }
        });
        env.tally.routed(message.rule.id, routed);
        for slot in closer_look {
            self.give(slot, message, &mut frame, catch_up, pacing, env);
        }
    }

    /// Gives a message to a session that may replay or pace something.
    fn give(
        &mut self,
        slot: u32,
        message: &Message,
        frame: &mut Option<FrameNumber>,
        catch_up: &CatchUp,
        pacing: &mut Pacing,
        env: &mut Env,
    ) {
        if catch_up.withholds(slot, &message.topic, message.position.offset) {
            return;
        }
        env.tally.routed(message.rule.id, 1);
        let bytes_max = env.config.limits.outbox_bytes.saturating_sub(self.outbox_bytes(slot));
        if !pacing.lets_through(slot, message, bytes_max, env.now, &mut env.tally) {
            return;
        }
        let Some(session) = self.outgoing.get_mut(slot) else { return };
        session.needs_closer_look = pacing.has(slot) || catch_up.has(slot);
        let frame = *frame.get_or_insert_with(|| self.batch.add_message(message));
        self.batch.link(slot, &mut session.chain, frame);
    }

    /// Tells those who watch that a member came or went.
    pub fn fan_out_presence(&mut self, change: &Arc<PresenceChange>, table: &Table, env: &mut Env) {
        let stamp = env.taken();
        let mut watching = Vec::new();
        let Self { subscribers, outgoing, .. } = self;
        subscribers.lists(&change.topic, |subscribed| {
            for &slot in &subscribed.watchers {
                let Some(session) = outgoing.get_mut(slot) else { continue };
                let is_itself = table.get(slot).is_some_and(|connection| connection.id() == change.member.session);
                if session.stamp != stamp && !is_itself {
                    session.stamp = stamp;
                    watching.push(slot);
                }
            }
        });
        for slot in watching {
            self.say(slot, &Event::PresenceChange(change), What::Presence(Arc::clone(change)), &mut env.tally);
        }
    }
}
