//! The state of one shard, and the operations on a session that touch several parts of it: writing to it and ending it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashSet;

use super::release_budget::ReleaseBudget;
use super::uncharged_work::UnchargedWork;
use crate::codes::CloseCode;
use crate::dialect::Event;
use crate::dialect::centrifugo::{Push, Reply, Unsubscribed};
use crate::hub::{Message, PresenceChange};
use crate::metrics::{CloseReason, Gauge};
use crate::position::Position;
use crate::shard::catchup::CatchUp;
use crate::shard::delivery::{Delivery, FrameKind, PresenceQueue, Written};
use crate::shard::env::{Env, ShardParts};
use crate::shard::pacing::Pacing;
use crate::shard::slot::{LINGER, Table};
use crate::topic_name::{Pattern, TopicName};

/// The state of a shard's sessions, without their readers.
pub struct ShardState {
    /// The sessions' connections.
    pub table: Table,
    /// Subscribers, the write batch and the outboxes.
    pub delivery: Delivery,
    /// Joins and leaves that sessions are still to be told.
    pub presence: PresenceQueue,
    /// Replays from history.
    pub catch_up: CatchUp,
    /// Messages that `interval_ms` holds back.
    pub pacing: Pacing,
    /// The clock, the configuration, the hub and the counts.
    pub env: Env,
    /// The budget of a tick for releasing the memory of ended sessions.
    release_budget: ReleaseBudget,
    /// Work that was done for sessions beside their commands.
    pub uncharged: UnchargedWork,
    /// Subscriptions that have ended because messages were lost, by slot and topic. Their readers are still to be told.
    pub lapsed: Vec<(u32, TopicName)>,
}

impl ShardState {
    /// The state of a shard without sessions.
    pub fn new(parts: ShardParts) -> Self {
        let env = Env::new(parts);
        Self {
            table: Table::default(),
            delivery: Delivery::new(&env.config, env.reference_account()),
            presence: PresenceQueue::default(),
            catch_up: CatchUp::default(),
            pacing: Pacing::default(),
            env,
            release_budget: ReleaseBudget::default(),
            uncharged: UnchargedWork::default(),
            lapsed: Vec::new(),
        }
    }

    /// Begins a tick: reads the clock and renews the tick's budgets.
    pub fn begin_tick(&mut self) {
        self.env.begin_tick();
        self.table.turns().begin_openings();
        self.release_budget.begin_tick(self.delivery.ended(), &self.pacing, &self.catch_up);
        self.delivery.subscribers.begin_tick();
        self.presence.begin_tick(self.env.processed(), self.env.now);
    }

    /// Takes the next session that is to be read, and begins its turn. `None`: none is left, or the time is over.
    pub fn next_turn(&mut self) -> Option<u32> {
        let Self { table, env, .. } = self;
        table.turns().next(|| env.moment())
    }

    /// Whether the session that is being read has had its turn.
    pub fn is_turn_over(&mut self) -> bool {
        let now = self.env.moment();
        self.table.turns().is_over(now)
    }

    /// Gives `message` to each of its subscribers once.
    pub fn fan_out(&mut self, message: &Message) {
        let Self { table, delivery, catch_up, pacing, env, .. } = self;
        delivery.fan_out(message, table, catch_up, pacing, env);
    }

    /// Takes a change of presence, and tells watchers about waiting changes if this tick still may.
    pub fn on_presence_change(&mut self, change: &Arc<PresenceChange>) {
        self.delivery.on_presence_change(change, &mut self.presence, &mut self.env);
        self.tell_changes();
    }

    /// Tells watchers as many changes of presence as this tick may. While the changes exceed `inbox_bytes`, the tick's
    /// bound does not hold.
    pub fn tell_changes(&mut self) {
        let bytes_max = self.env.config.limits.inbox_bytes;
        while self.presence.may_be_told() || self.presence.bytes() > bytes_max {
            self.delivery.tell_changes(&mut self.presence, &self.table, &mut self.env);
            if self.delivery.is_full() {
                self.flush(usize::MAX);
            }
        }
    }

    /// Whether the first `pushed` items of the inbox have been processed for the session in `slot`, changes of presence
    /// included.
    pub fn has_processed(&self, slot: u32, pushed: u64) -> bool {
        let waits_for_change = || self.delivery.subscribers.is_watching(slot) && self.presence.first().is_some_and(|first| first <= pushed);
        self.env.processed() >= pushed && !waits_for_change()
    }

    /// Has the subscribers of topic `name`, whose log was replaced, continue in the new log behind `after`.
    pub fn log_replaced(&mut self, name: &TopicName, after: Position) {
        let Some(topic) = self.env.hub().find(name) else { return };
        let mut slots = Vec::new();
        self.delivery.subscribers.lists(name, |subscribed| slots.extend(&subscribed.slots));
        slots.sort_unstable();
        slots.dedup();
        slots.retain(|&slot| self.table.is_open(slot));
        for slot in slots {
            self.release_held(slot, name);
            self.catch_up.switch_log(slot, &topic, after);
            self.delivery.outgoing.use_slow_path(slot);
            self.table.schedule(slot);
        }
    }

    /// Queues the held messages whose intervals have passed.
    pub fn send_due(&mut self) {
        while let Some((slot, released)) = self.pacing.take_due(self.env.now, &mut self.env.tally) {
            self.delivery.queue_released(slot, released, &mut self.env.tally);
            if self.delivery.is_full() {
                self.flush(usize::MAX);
            }
        }
    }

    /// Queues `event` for one session, in its dialect.
    pub fn queue_event(&mut self, slot: u32, event: &Event<'_>) {
        let kind = if matches!(event, Event::Presence { .. }) { FrameKind::Members } else { FrameKind::Reply };
        self.delivery.queue_event(slot, event, kind, &mut self.env.tally);
    }

    /// The bytes that wait for a session, in its outbox or held by its pacing.
    pub fn owed_bytes(&self, slot: u32) -> usize {
        self.delivery.outgoing.outbox_bytes(slot) + self.pacing.bytes(slot)
    }

    /// Writes to at most `sessions` sessions, the longest waiting first. Returns whether the write batch is complete.
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
        if written == Written::All && connection.is_idle() && !delivery.outgoing.is_backlogged(slot) && !catch_up.has(slot) {
            return;
        }
        match written {
            Written::Lost => return self.end(slot, CloseReason::Gone),
            Written::Waits => self.read_deferred(slot),
            Written::Overflowed => {
                self.read_deferred(slot);
                self.cut_off_slow(slot);
            }
            Written::All => {}
        }
        self.end_lapsed();
        self.write_outbox(slot);
    }

    /// Has a session whose socket is full read from history what was not queued for it.
    fn read_deferred(&mut self, slot: u32) {
        for (topic, (first, last)) in self.delivery.take_deferred() {
            match self.env.hub().find(&topic) {
                Some(topic) => self.catch_up.read_from(slot, topic, first),
                // Only a pattern matched the topic, and the topic has ended with its history.
                None => self.queue_event(slot, &Event::Gap { topic: &topic, from: first.offset, to: last, epoch: None }),
            }
            self.delivery.outgoing.use_slow_path(slot);
        }
    }

    /// Ends the subscriptions of Centrifugo's protocol that have lost messages. Their queued messages are dropped, so
    /// that none comes twice when the client subscribes anew. A subscription with an interval does not get all messages
    /// anyway and is not ended.
    pub fn end_lapsed(&mut self) {
        loop {
            let lapsed = self.delivery.take_lapsed();
            if lapsed.is_empty() {
                return;
            }
            let mut by_slot: BTreeMap<u32, HashSet<TopicName>> = BTreeMap::new();
            for (slot, topic) in lapsed {
                if self.delivery.subscribers.of(slot).is_positioned(&Pattern::from(topic.clone())) {
                    by_slot.entry(slot).or_default().insert(topic);
                }
            }
            for (slot, topics) in by_slot {
                let patterns: Vec<Pattern> = topics.iter().cloned().map(Pattern::from).collect();
                self.end_subscriptions(slot, &patterns);
                self.delivery.outgoing.drop_topics(slot, &topics, &mut self.env.tally);
                for topic in topics {
                    let push = Push::Unsubscribe(Unsubscribed::INSUFFICIENT_STATE);
                    self.delivery.reply(slot, &Reply::Push { channel: topic.as_str(), push }, &mut self.env.tally);
                    self.lapsed.push((slot, topic));
                }
            }
        }
    }

    /// Writes the outbox of a session. Once the outbox is empty, the session may continue its replay.
    pub fn write_outbox(&mut self, slot: u32) {
        if self.empty_outbox(slot) {
            self.catch_up.queue_for_history(slot);
            self.after_emptying(slot);
        }
    }

    /// Writes as much of a session's outbox as its socket accepts. Returns `true` if no bytes are left.
    pub fn empty_outbox(&mut self, slot: u32) -> bool {
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

    /// Completes the write of an outbox. TLS writes what it buffers, a closing session ends its writing side, and a
    /// session whose input waits for the outbox is scheduled. Sessions that wait for anything else are not scheduled:
    /// their wakers wake them, and a schedule here would repeat without end.
    fn after_emptying(&mut self, slot: u32) {
        // Frames queued meanwhile, such as a Close, go first. The flush calls this again.
        if !self.delivery.owes_nothing(slot) {
            return;
        }
        let Some(connection) = self.table.get_mut(slot) else { return };
        if connection.poll_flush().is_ready() && (connection.end_writing() || connection.is_open() && connection.waits_for_outbox()) {
            self.table.schedule(slot);
        }
    }

    /// Adds a subscription of a session, which was reserved. Pacing begins with [`ShardState::set_interval`].
    /// Returns `true` if it is the shard's first subscription to that name or pattern.
    pub fn add_subscription(&mut self, slot: u32, pattern: &Pattern, interval: Option<Duration>) -> bool {
        let keeps_window = self.delivery.outgoing.encoding(slot).is_some_and(|encoding| encoding.kept_window().is_some());
        let first = self.delivery.subscribers.add(pattern, slot, interval, keeps_window);
        self.env.tally.add(Gauge::Subscriptions, 1);
        first
    }

    /// Sets the interval of an existing subscription; `None` ends its pacing. [`ShardState::adapt_intervals`] has to
    /// be called before the next message, because until then held messages may be older than messages that go out.
    pub fn set_interval(&mut self, slot: u32, pattern: &Pattern, interval: Option<Duration>) {
        if self.delivery.subscribers.of(slot).contains(pattern) {
            self.delivery.subscribers.set_interval(pattern, slot, interval);
            self.pacing.set_interval(slot, pattern, interval);
        }
    }

    /// Sets whether a subscription of the session receives joins and leaves from now on.
    pub fn watch(&mut self, slot: u32, pattern: &Pattern, watches: bool) {
        if self.delivery.subscribers.of(slot).contains(pattern) {
            self.delivery.subscribers.watch(pattern, slot, watches, self.env.pushed());
        }
    }

    /// Queues a Close behind the waiting frames, and ends the session apart from its socket.
    pub fn close(&mut self, slot: u32, code: CloseCode, reason: &str, why: CloseReason) {
        if self.begin_to_close(slot, why) {
            self.delivery.queue_close(slot, code, reason);
        }
    }

    /// Like [`ShardState::close`], with a code of the session's own dialect or the code of the peer's Close; `None`: a
    /// Close without a code.
    pub fn close_with(&mut self, slot: u32, code: Option<u16>, reason: &str, why: CloseReason) {
        if self.begin_to_close(slot, why) {
            self.delivery.queue_close_with(slot, code, reason);
        }
    }

    /// Closes a session that does not read. All waiting frames are discarded, except a frame that is partly written.
    pub fn cut_off(&mut self, slot: u32, code: CloseCode, reason: &str, why: CloseReason) {
        if self.table.get(slot).is_some_and(|connection| connection.is_fresh()) {
            self.empty_outbox(slot); // the 101 is the first frame that waits
        }
        if !self.begin_to_close(slot, why) {
            return;
        }
        if let Some(connection) = self.table.get_mut(slot) {
            connection.cut_off();
        }
        self.delivery.discard(slot, self.env.now, &mut self.env.tally);
        self.delivery.queue_close(slot, code, reason);
        self.release_ended();
    }

    /// Closes a session that reads too slowly.
    pub fn cut_off_slow(&mut self, slot: u32) {
        let reason = "this session does not read fast enough; resume with `since`";
        self.cut_off(slot, CloseCode::SlowConsumer, reason, CloseReason::Slow);
    }

    /// Ends a session whose peer has gone, or whose time after the Close is over. Its slot becomes free at the end of
    /// the write batch.
    pub fn end(&mut self, slot: u32, why: CloseReason) {
        self.begin_to_close(slot, why);
        if self.table.remove(slot).is_some() {
            self.delivery.remove(slot, &mut self.env.tally);
        }
        self.release_ended();
    }

    /// Releases as much memory of ended sessions as this tick may.
    pub fn release_ended(&mut self) {
        let Self { delivery, catch_up, pacing, release_budget, env, .. } = self;
        release_budget.release(delivery.ended(), pacing, catch_up, &mut env.tally);
    }

    /// Whether memory of ended sessions is left for a later tick.
    pub fn has_ended(&mut self) -> bool {
        !self.delivery.ended().is_empty() || self.pacing.has_ended() || self.catch_up.has_ended()
    }

    /// Removes a session from everything but its socket. Returns `false` if it was closing already.
    fn begin_to_close(&mut self, slot: u32, why: CloseReason) -> bool {
        let until = self.env.now + LINGER;
        let Some(connection) = self.table.get_mut(slot).filter(|connection| connection.is_open()) else { return false };
        connection.begin_to_close(until);
        let id = connection.id();
        self.env.hub().forget_publisher(&connection.waker());
        tracing::debug!(session = %id, address = %connection.address(), reason = why.as_str(), "a session ends");
        self.table.note_closing(slot);
        self.catch_up.forget(slot);
        self.uncharged.forget(slot);
        self.pacing.forget(slot);
        if self.delivery.subscribers.end_session(slot, id) {
            self.table.hold_slot(slot);
            self.delivery.outgoing.use_slow_path(slot); // the lists of subscribers still name the slot
            self.unsubscribe_ended_sessions();
        }
        self.env.load().vacate();
        self.env.tally.session_closed(why);
        true
    }
}
