//! Messages held back by `interval_ms`, by due time: one heap and one timer a shard.

use super::pace::Due;
use super::sessions::Sessions;
use crate::session_id::SessionId;
use crate::topic_name::TopicName;

impl Sessions {
    /// Sends what has fallen due by now.
    pub fn send_due(&mut self) {
        while self.due.peek().is_some_and(|due| due.at <= self.now) {
            let Some(Due { slot, session, topic, .. }) = self.due.pop() else { return };
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
        paces.begin(topic, at);
        self.due.push(Due { at, slot, session: id, topic: topic.clone() });
    }

    fn send_held(&mut self, slot: u32, session: SessionId, topic: &TopicName) {
        let now = self.now;
        let Some(held_by) = self.slot(slot).filter(|held_by| held_by.id == session) else { return };
        let interval = held_by.interval(topic);
        let Some((message, next)) = held_by.paces.as_mut().and_then(|paces| paces.fall_due(topic, interval, now)) else { return };
        if let Some(at) = next {
            self.due.push(Due { at, slot, session, topic: topic.clone() });
        }
        self.unhold(&message);
        let frame = self.turn.add_message(&message);
        let Self { slots, turn, .. } = self;
        if let Some(session) = slots.get_mut(slot) {
            turn.link(slot, &mut session.chain, frame);
        }
    }
}
