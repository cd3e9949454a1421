//! One shard's state, room by room, and what is done for a session that touches several of them: writing to it and ending it.

use std::sync::Arc;

use super::catchup::CatchUp;
use super::delivery::{Delivery, SubscriptionOptions, What, Written};
use super::env::{Env, Parts};
use super::pacing::Pacing;
use super::pattern_set::PatternSet;
use super::slot::{LINGER, Table};
use crate::codes::CloseCode;
use crate::dialect::Event;
use crate::hub::{Message, PresenceChange};
use crate::metrics::CloseReason;
use crate::topic_name::{Pattern, TopicName};

/// Pieces of history that one session is given before the next.
const PIECES_PER_SHARE: usize = 4;

/// A shard's sessions but for what reads and decides for them.
pub struct ShardState {
    /// Their connections.
    pub table: Table,
    /// What is written to them.
    pub delivery: Delivery,
    /// What they read out of history.
    pub catch_up: CatchUp,
    /// What `interval_ms` holds back.
    pub pacing: Pacing,
    /// What all of these work with.
    pub env: Env,
}

impl ShardState {
    /// No sessions yet.
    pub fn new(parts: Parts) -> Self {
        let env = Env::new(parts);
        Self { table: Table::default(), delivery: Delivery::new(&env.config), catch_up: CatchUp::default(), pacing: Pacing::default(), env }
    }

    /// Gives `message` to each of its subscribers once.
    pub fn fan_out(&mut self, message: &Message) {
        let Self { table, delivery, catch_up, pacing, env } = self;
        delivery.fan_out(message, table, catch_up, pacing, env);
    }

    /// Tells those who watch that a member came or went.
    pub fn fan_out_presence(&mut self, change: &Arc<PresenceChange>) {
        self.delivery.fan_out_presence(change, &self.table, &mut self.env);
    }

    /// Sends the held messages that are due by now.
    pub fn send_due(&mut self) {
        let Self { delivery, pacing, env, .. } = self;
        while let Some((slot, message)) = pacing.take_due(env.now, &mut env.tally) {
            delivery.queue_message(slot, &message);
        }
    }

    /// Tells one session something, in its dialect.
    pub fn say(&mut self, slot: u32, event: &Event<'_>) {
        self.delivery.say(slot, event, What::Reply, &mut self.env.tally);
    }

    /// The bytes that wait for a session, in its outbox or held by its pacing.
    pub fn owed_bytes(&self, slot: u32) -> usize {
        self.delivery.outbox_bytes(slot) + self.pacing.bytes(slot)
    }

    /// Writes to at most `sessions` sessions, those first that have waited longest; whether that was all.
    pub fn flush(&mut self, sessions: usize) -> bool {
        self.delivery.begin_flush();
        for _ in 0..sessions {
            let Some(slot) = self.delivery.next_dirty() else { break };
            self.flush_slot(slot);
        }
        let ended = self.delivery.end_flush(&mut self.env);
        if ended {
            self.table.free_slots();
        }
        ended
    }

    fn flush_slot(&mut self, slot: u32) {
        let Self { table, delivery, catch_up, env, .. } = self;
        let Some(connection) = table.get_mut(slot) else { return };
        let written = delivery.write_chain_of(slot, connection, env);
        if written == Written::All && connection.is_at_rest() && !delivery.is_backlogged(slot) && !catch_up.has(slot) {
            return;
        }
        match written {
            Written::Lost => return self.end(slot, CloseReason::Gone),
            Written::Overflowed => self.cut_off_slow(slot),
            Written::All | Written::Waits => {}
        }
        self.write_outbox(slot);
    }

    /// Writes the outbox of a session; once it is empty, the session may go on with its replay.
    pub fn write_outbox(&mut self, slot: u32) {
        if self.drain_outbox(slot) {
            self.catch_up.await_history(slot);
            self.after_emptying(slot);
        }
    }

    /// Writes the outbox of a session; `true`: nothing waits any more.
    pub fn drain_outbox(&mut self, slot: u32) -> bool {
        let Some(connection) = self.table.get_mut(slot) else { return false };
        match self.delivery.write_outbox(slot, connection, &mut self.env) {
            Written::All => true,
            Written::Waits | Written::Overflowed => false,
            Written::Lost => {
                self.end(slot, CloseReason::Gone);
                false
            }
        }
    }

    /// All is written: TLS holds nothing back, a closing session ends its side, one whose input waits reads on.
    fn after_emptying(&mut self, slot: u32) {
        // What was queued meanwhile, such as a Close, goes first; the flush comes back here.
        if !self.delivery.owes_nothing(slot) {
            return;
        }
        let Some(connection) = self.table.get_mut(slot) else { return };
        if connection.poll_flush().is_ready() && (connection.end_writing() || connection.is_open() && connection.input_waits()) {
            self.table.look_again(slot);
        }
    }

    /// Gives out `pieces` of history, to those to whom all else is written: a `subscribed` goes before what is replayed.
    pub fn give_out_history(&mut self, mut pieces: usize) {
        let mut awaiting = self.catch_up.take_awaiting();
        awaiting.retain(|&slot| {
            if pieces == 0 || !self.delivery.owes_nothing(slot) {
                return true;
            }
            self.catch_up.end_await(slot);
            pieces -= self.give_share(slot, pieces.min(PIECES_PER_SHARE));
            false
        });
        self.catch_up.put_back(awaiting);
    }

    /// Gives a session `pieces` of history at most, as far as its socket takes them; how many it was given.
    fn give_share(&mut self, slot: u32, pieces: usize) -> usize {
        let mut given = 0;
        while given < pieces && self.drain_outbox(slot) && self.catch_up.is_replaying(slot) {
            self.pull_replay(slot);
            given += 1;
        }
        self.write_outbox(slot);
        given
    }

    /// Reads the next piece of history into the outbox.
    fn pull_replay(&mut self, slot: u32) {
        let Self { table, delivery, catch_up, pacing, env } = self;
        let Some(id) = table.get(slot).map(|connection| connection.id()) else { return };
        let Some((topic, piece)) = catch_up.pull(slot, env.now, || env.pushed()) else { return };
        if delivery.queue_replayed(slot, &topic, piece, id, env) {
            pacing.begin_interval(slot, &topic, env.now);
        }
    }

    /// The pacing of a session follows its subscriptions, which have changed; what is held of topics without an interval goes out.
    pub fn follow_intervals(&mut self, slot: u32) {
        let Self { delivery, pacing, env, .. } = self;
        let subscriptions = delivery.subscribers.of(slot);
        if subscriptions.are_paced() && !pacing.has(slot) {
            pacing.begin(slot, subscriptions.iter().map(|subscription| (subscription.pattern(), subscription.interval())));
        }
        if pacing.has(slot) {
            let released = pacing.follow(slot, env.now, &mut env.tally);
            released.iter().for_each(|message| delivery.queue_message(slot, message));
            delivery.look_closer(slot);
        }
    }

    /// Ends the pacing of topics that `left` names; what was held goes out now.
    pub fn release_held(&mut self, slot: u32, left: impl Fn(&TopicName) -> bool) {
        let Self { delivery, pacing, env, .. } = self;
        let released = pacing.release(slot, left, &mut env.tally);
        released.iter().for_each(|message| delivery.queue_message(slot, message));
    }

    /// Enters a subscription of a session, which has taken a place for it; `true`: it is the first on that name or pattern here.
    pub fn add_subscription(&mut self, slot: u32, pattern: &Pattern, options: SubscriptionOptions) -> bool {
        let first = self.delivery.subscribers.add(pattern, slot, options);
        self.pacing.set_interval(slot, pattern, options.interval);
        self.env.tally.subscriptions(1);
        first
    }

    /// Replaces the options of a subscription that a session has.
    pub fn set_options(&mut self, slot: u32, pattern: &Pattern, options: SubscriptionOptions) {
        if self.delivery.subscribers.of(slot).contains(pattern) {
            self.delivery.subscribers.set_options(pattern, slot, options);
            self.pacing.set_interval(slot, pattern, options.interval);
        }
    }

    /// Ends subscriptions of a session. What they alone brought is not replayed or held back any more.
    pub fn end_subscriptions(&mut self, slot: u32, patterns: &[Pattern]) {
        let Some(id) = self.table.get(slot).map(|connection| connection.id()) else { return };
        let mut ended = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            if let Some(last) = self.delivery.subscribers.remove(pattern, slot) {
                self.pacing.end_interval(slot, pattern);
                ended.push((pattern, last));
            }
        }
        let gone: PatternSet = ended.iter().map(|&(pattern, _)| pattern).collect();
        let kept: PatternSet = self.delivery.subscribers.of(slot).iter().map(|subscription| subscription.pattern()).collect();
        let left = |topic: &TopicName| gone.matches(topic) && !kept.matches(topic);
        self.catch_up.leave(slot, left);
        self.release_held(slot, left);
        let Self { table, delivery, env, .. } = self;
        if let Some(connection) = table.get(slot)
            && delivery.mark_left(slot, left, connection, env) == Written::Overflowed
        {
            self.cut_off_slow(slot);
        }
        for (pattern, last) in ended {
            self.env.unsubscribe(pattern, id, last);
        }
    }

    /// Queues a Close behind what waits, and ends the session but for that. `code` is what goes on the wire, `None`: nothing.
    pub fn close(&mut self, slot: u32, code: Option<u16>, reason: &str, why: CloseReason) {
        if self.begin_to_close(slot, why) {
            self.delivery.queue_close(slot, code, reason);
        }
    }

    /// Closes a session that takes nothing: what waits is discarded, but for the frame that has begun.
    pub fn cut_off(&mut self, slot: u32, code: CloseCode, reason: &str, why: CloseReason) {
        if self.table.get(slot).is_some_and(|connection| connection.is_fresh()) {
            self.drain_outbox(slot); // the 101 is the first that waits
        }
        if !self.begin_to_close(slot, why) {
            return;
        }
        if let Some(connection) = self.table.get_mut(slot) {
            connection.cut_off();
        }
        self.delivery.discard(slot, &mut self.env.tally);
        self.delivery.queue_close(slot, Some(code.number()), reason);
    }

    /// Closes a session that reads too slowly.
    pub fn cut_off_slow(&mut self, slot: u32) {
        let reason = "this session does not read fast enough; resume with `since`";
        self.cut_off(slot, CloseCode::SlowConsumer, reason, CloseReason::Slow);
    }

    /// The peer has gone, or its time after the Close is over: the slot becomes free at the write batch's end.
    pub fn end(&mut self, slot: u32, why: CloseReason) {
        self.begin_to_close(slot, why);
        if self.table.remove(slot).is_some() {
            self.delivery.close(slot, &mut self.env.tally);
        }
    }

    /// Takes a session out of everything but its socket; `false`: it was closing already.
    fn begin_to_close(&mut self, slot: u32, why: CloseReason) -> bool {
        let until = self.env.now + LINGER;
        let Some(connection) = self.table.get_mut(slot).filter(|connection| connection.is_open()) else { return false };
        connection.begin_to_close(until);
        let id = connection.id();
        tracing::debug!(session = %id, address = %connection.address(), reason = why.as_str(), "a session ends");
        self.table.note_closing(slot);
        self.catch_up.forget(slot);
        self.pacing.forget(slot, &mut self.env.tally);
        for (pattern, last) in self.delivery.subscribers.remove_all(slot) {
            self.env.unsubscribe(&pattern, id, last);
        }
        self.env.vacate();
        self.env.tally.session_closed(why);
        true
    }
}
