//! Requests to a shard's sessions from outside: frames of HTTP requests, administrators' commands, closes, the list of
//! the slowest, counts of subscriptions.

use bytes::Bytes;

use super::shard_sessions::Sessions;
use crate::codes::CloseCode;
use crate::metrics::{CloseReason, Counter};
use crate::session_id::{Forwarded, SessionId, SessionSecret};
use crate::shard::admin_command::{AdminCommand, UserSessions};
use crate::shard::intake::SessionView;
use crate::shard::slot::Connection;
use crate::shard::state::ShardState;
use crate::topic_name::TopicName;

impl Sessions {
    /// Hands `frame`, which an HTTP request carries, to the session that has `secret`. The frame is a sign of life of
    /// the client.
    pub fn forward_frame(&mut self, secret: SessionSecret, frame: Bytes) -> Forwarded {
        let Some(slot) = self.slot_of(secret) else { return Forwarded::NoSession };
        let ShardState { table, env, .. } = &mut self.state;
        let Some(connection) = table.get_mut(slot).filter(|connection| connection.is_open()) else { return Forwarded::NoSession };
        connection.liveness().note_activity(env.now);
        env.tally.count(Counter::ReceivedBytes, frame.len() as u64);
        let forwarded = self.call(slot, |reader, context, _| reader.on_frame(frame, context)).unwrap_or(Forwarded::NoSession);
        self.note_waiting(slot);
        forwarded
    }

    /// Closes the session `id`. Returns `false` if it is not in this shard.
    pub fn close(&mut self, id: SessionId, code: CloseCode, reason: &str) -> bool {
        let found = self.state.table.open().find(|(_, connection)| connection.id() == id).map(|(slot, _)| slot);
        if let Some(slot) = found {
            self.state.close(slot, code, reason, CloseReason::Operator);
        }
        found.is_some()
    }

    /// Closes the named sessions of this shard. Returns their number.
    pub fn close_user(&mut self, sessions: &UserSessions) -> usize {
        let found = self.of_user(sessions);
        for &slot in &found {
            self.state.close(slot, CloseCode::Operator, "closed by an operator", CloseReason::Operator);
        }
        found.len()
    }

    /// Executes `command` in the named sessions of this shard. Returns the number of sessions on which it had an
    /// effect.
    pub fn execute(&mut self, sessions: &UserSessions, command: &AdminCommand) -> usize {
        self.of_user(sessions)
            .into_iter()
            .filter(|&slot| self.call(slot, |reader, context, _| reader.on_admin_command(command, context)) == Some(true))
            .count()
    }

    /// The slots of the open ones of `sessions`. Their readers follow the configuration of this tick first, which may
    /// have other users for their credentials.
    fn of_user(&mut self, UserSessions { user, only, spared }: &UserSessions) -> Vec<u32> {
        let is_meant = |id| only.is_none_or(|only| only == id) && !spared.contains(&id);
        let open = self.state.table.open().filter(|(_, connection)| is_meant(connection.id()));
        let mut found: Vec<u32> = open.map(|(slot, _)| slot).collect();
        found.retain(|&slot| {
            self.follow(slot);
            self.state.table.is_open(slot) && self.user(slot).as_deref() == Some(user)
        });
        found
    }

    /// The `limit` sessions with the fullest outboxes, fullest first.
    pub fn slowest(&self, limit: usize) -> Vec<SessionView> {
        let mut views: Vec<SessionView> = self.state.table.open().filter_map(|(slot, connection)| self.view(slot, connection)).collect();
        views.sort_by_key(|view| std::cmp::Reverse(view.outbox_bytes));
        views.truncate(limit);
        views
    }

    /// For each of `topics`, the number of subscriptions by patterns that match it.
    pub fn count_by_pattern(&self, topics: &[TopicName]) -> Vec<usize> {
        topics.iter().map(|topic| self.state.delivery.subscribers.count_by_pattern(topic)).collect()
    }

    fn view(&self, slot: u32, connection: &Connection) -> Option<SessionView> {
        let state = &self.state;
        let queued = state.delivery.outgoing.oldest(slot).map(|message| (&message.topic, message.moment));
        let held = state.pacing.oldest(slot).map(|message| (&message.topic, message.moment));
        let oldest = [queued, held].into_iter().flatten().min_by_key(|&(_, moment)| moment);
        Some(SessionView {
            id: connection.id(),
            user: self.user(slot),
            address: connection.address(),
            dialect: state.delivery.outgoing.encoding(slot)?.name(),
            outbox_bytes: state.owed_bytes(slot),
            oldest: oldest.map(|(topic, moment)| (topic.clone(), state.env.now.since(moment))),
        })
    }
}
