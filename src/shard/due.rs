//! Messages held back by `interval_ms`, sent at their due time: one schedule and one timer a shard.

use super::schedule::Due;
use super::sessions::Sessions;
use crate::session_id::SessionId;
use crate::topic_name::TopicName;

impl Sessions {
    /// Sends what has fallen due by now.
    pub fn send_due(&mut self) {
        while let Some(Due { slot, session, topic, .. }) = self.due.take_due(self.now) {
            self.send_held(slot, session, &topic);
        }
    }

    /// A replay has given the session in `slot` a message of `topic`, so the topic's interval, if it has one, counts from now.
    pub fn begin_interval(&mut self, slot: u32, topic: &TopicName) {
        let now = self.now;
        let Some(session) = self.slot(slot) else { return };
        let Some(interval) = session.interval(topic) else { return };
        let (at, id) = (now + interval, session.id);
        let Some(paces) = session.paces.as_mut() else { return };
        if paces.begin(topic, at) {
            self.note_due(Due { at, slot, session: id, topic: topic.clone() });
        }
    }

    /// Notes when a topic is due for a session, which has it in its paces already.
    pub fn note_due(&mut self, due: Due) {
        let Self { due: schedule, slots, .. } = self;
        schedule.note(due, |older| {
            let session = slots.get(older.slot).filter(|session| session.id == older.session);
            session.and_then(|session| session.paces.as_ref()).is_some_and(|paces| paces.is_due_at(&older.topic, older.at))
        });
    }

    fn send_held(&mut self, slot: u32, session: SessionId, topic: &TopicName) {
        let now = self.now;
        let Some(held_by) = self.slot(slot).filter(|held_by| held_by.id == session) else { return };
        let interval = held_by.interval(topic);
        let Some((message, next)) = held_by.paces.as_mut().and_then(|paces| paces.fall_due(topic, interval, now)) else { return };
        if let Some(at) = next {
            self.note_due(Due { at, slot, session, topic: topic.clone() });
        }
        self.unhold(&message);
        let frame = self.pass.add_message(&message);
        let Self { slots, pass, .. } = self;
        if let Some(session) = slots.get_mut(slot) {
            pass.link(slot, &mut session.chain, frame);
        }
    }
}
