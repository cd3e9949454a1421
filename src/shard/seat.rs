//! A session's hold on its shard while its reader is called: to speak, to subscribe, to publish, to close.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::outbox::{Queued, What};
use super::reader::{Begun, Options, Reader, Seat};
use super::sessions::Sessions;
use super::slot::Subscription;
use crate::clock::Moment;
use crate::codes::{CloseCode, ErrorCode};
use crate::config::Config;
use crate::dialect::{Event, RequestId, echo_frame};
use crate::frame::OpCode;
use crate::hub::{Hub, Publication, PublishError, Wanted};
use crate::metrics::{CloseReason, LimitKey, Tally};
use crate::position::Position;
use crate::session_id::Member;
use crate::topic_name::{Pattern, TopicName};

/// One session in its shard, for the time of one call.
pub struct Seated<'a> {
    sessions: &'a mut Sessions,
    slot: u32,
}

impl<'a> Seated<'a> {
    /// The session in `slot`.
    pub fn new(sessions: &'a mut Sessions, slot: u32) -> Self {
        Self { sessions, slot }
    }

    /// Adds a subscription to the shard's lists; `true`: it is the first on that name or pattern here.
    fn add(&mut self, pattern: &Pattern, options: Options) -> bool {
        let slot = self.slot;
        let Some(session) = self.sessions.slot(slot) else { return false };
        if let Err(index) = session.find(pattern) {
            // Most sessions have one or a few: room for just these.
            if session.subscriptions.len() == session.subscriptions.capacity() {
                session.subscriptions.reserve_exact(1 + session.subscriptions.len() / 2);
            }
            let number = session.subscriptions.iter().map(|older| older.number.saturating_add(1)).max().unwrap_or(0);
            session.subscriptions.insert(index, Subscription::new(pattern.clone(), options.interval, number));
        }
        let first = self.sessions.subscribers.add(pattern, slot);
        if options.presence {
            self.sessions.subscribers.set_watching(pattern, slot, true);
        }
        self.sessions.follow_intervals(slot);
        self.sessions.tally.subscriptions(1);
        first
    }
}

impl Seat for Seated<'_> {
    fn tally(&mut self) -> &mut Tally {
        &mut self.sessions.tally
    }

    fn now(&self) -> Moment {
        self.sessions.now
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.sessions.config)
    }

    fn hub(&self) -> Arc<Hub> {
        Arc::clone(&self.sessions.hub)
    }

    fn is_open(&mut self) -> bool {
        self.sessions.slot(self.slot).is_some_and(|slot| slot.is_open())
    }

    fn can_go_on(&mut self) -> bool {
        let most = self.sessions.config.limits.outbox_bytes;
        let turn_bytes = self.sessions.reply_bytes;
        let Some(slot) = self.sessions.slot(self.slot) else { return false };
        let waiting = slot.outbox.as_ref().map_or(0, |outbox| outbox.uncounted_bytes());
        slot.is_open() && waiting + turn_bytes < most
    }

    fn say(&mut self, event: &Event<'_>) {
        self.sessions.say(self.slot, event, What::Reply);
    }

    fn refuse(&mut self, id: Option<RequestId<'_>>, code: ErrorCode, message: &str) {
        self.sessions.tally.command_error(code);
        self.say(&Event::Error { id, code, message });
    }

    fn echo(&mut self, opcode: OpCode, payload: &[u8]) {
        let Some(variant) = self.sessions.slot(self.slot).map(|slot| slot.variant) else { return };
        let frame = echo_frame(opcode, payload, variant.framing, &mut self.sessions.encoder, &mut self.sessions.tally);
        self.sessions.queue(self.slot, Queued { frame, what: What::Reply });
    }

    fn pong(&mut self, payload: &[u8]) {
        let Some(framing) = self.sessions.slot(self.slot).map(|slot| slot.variant.framing) else { return };
        self.sessions.queue(self.slot, Queued { frame: framing.heartbeat_answer(payload), what: What::Pong });
    }

    fn close(&mut self, code: CloseCode, reason: &str, why: CloseReason) {
        self.sessions.close(self.slot, Some(code.number()), reason, why);
    }

    fn answer_close(&mut self, code: Option<u16>, why: CloseReason) {
        self.sessions.close(self.slot, code, "", why);
    }

    fn limit_hit(&mut self, limit: LimitKey) {
        self.sessions.limit_hit(limit);
    }

    fn wake_at(&mut self, moment: Option<Moment>) {
        if let Some(slot) = self.sessions.slot(self.slot) {
            slot.deadline = moment;
        }
    }

    fn try_publish(&mut self, topic: &TopicName, publication: &Publication<'_>) -> Option<Result<Position, PublishError>> {
        self.sessions.try_publish(self.slot, topic, publication)
    }

    fn pause(&mut self) {
        if let Some(slot) = self.sessions.slot(self.slot) {
            slot.paused = true;
        }
    }

    fn pause_for_a_turn(&mut self) {
        self.pause();
        self.sessions.again.push(self.slot);
    }

    fn pushed(&self) -> u64 {
        self.sessions.inbox.pushed()
    }

    fn has_taken(&self, pushed: u64) -> bool {
        self.sessions.taken >= pushed
    }

    fn subscriptions(&mut self) -> Vec<Pattern> {
        let Some(slot) = self.sessions.slot(self.slot) else { return Vec::new() };
        let mut subscriptions: Vec<&Subscription> = slot.subscriptions.iter().collect();
        subscriptions.sort_unstable_by_key(|subscription| subscription.number);
        subscriptions.into_iter().map(|subscription| subscription.pattern.clone()).collect()
    }

    fn subscription_count(&mut self) -> usize {
        self.sessions.slot(self.slot).map_or(0, |slot| slot.subscriptions.len())
    }

    fn is_subscribed(&mut self, pattern: &Pattern) -> bool {
        self.sessions.slot(self.slot).is_some_and(|slot| slot.find(pattern).is_ok())
    }

    fn covers(&mut self, topic: &TopicName) -> bool {
        self.sessions.slot(self.slot).is_some_and(|slot| slot.covers(topic))
    }

    fn take_place(&mut self) -> bool {
        let most = self.sessions.config.limits.subscriptions_total;
        let total = &self.sessions.subscriptions_total;
        total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < most).then_some(count + 1)).is_ok()
    }

    fn give_place_back(&mut self) {
        self.sessions.subscriptions_total.fetch_sub(1, Ordering::Relaxed);
    }

    fn subscribe(
        &mut self,
        topic: &TopicName,
        options: Options,
        member: &Member,
        wanted: Wanted<'_>,
    ) -> Result<(Begun, bool), PublishError> {
        let (topic, start, presence) = self.sessions.hub.subscribe(topic, self.sessions.outlet, member, wanted)?;
        self.add(&Pattern::from(topic.name().clone()), options);
        Ok((Begun { topic, start }, presence))
    }

    fn subscribe_pattern(&mut self, pattern: &Pattern, options: Options) {
        if self.add(pattern, options) {
            self.sessions.hub.subscribe_pattern(pattern, self.sessions.outlet);
        }
    }

    fn set_options(&mut self, pattern: &Pattern, options: Options) {
        let slot = self.slot;
        let Some(session) = self.sessions.slot(slot) else { return };
        let Ok(index) = session.find(pattern) else { return };
        session.subscriptions[index].set_interval(options.interval);
        self.sessions.subscribers.set_watching(pattern, slot, options.presence);
        self.sessions.follow_intervals(slot);
    }

    fn begin(&mut self, begun: Begun) {
        let Begun { topic, start } = begun;
        let pushed = self.sessions.inbox.pushed();
        let behind = pushed > self.sessions.taken;
        if start.replay_from.is_none() && !behind {
            return;
        }
        let Some(session) = self.sessions.slot(self.slot) else { return };
        let replays = session.replays.get_or_insert_default();
        match start.replay_from {
            Some(next) => replays.add(topic, next),
            None => {
                replays.set_floor(topic.name().clone(), start.position.offset, pushed);
                self.sessions.floored.push((pushed, self.slot));
            }
        }
        self.sessions.again.push(self.slot);
    }

    fn is_replaying(&mut self, topic: &TopicName) -> bool {
        self.sessions.slot(self.slot).and_then(|slot| slot.replays.as_ref()).is_some_and(|replays| replays.is_replaying(topic))
    }

    fn unsubscribe(&mut self, pattern: &Pattern) -> bool {
        let slot = self.slot;
        let Some(session) = self.sessions.slot(slot) else { return false };
        let Ok(index) = session.find(pattern) else { return false };
        session.subscriptions.remove(index);
        if session.subscriptions.is_empty() {
            session.subscriptions = Vec::new();
        }
        let kept = session.subscriptions.clone();
        let left = |topic: &TopicName| pattern.matches(topic) && !kept.iter().any(|other| other.pattern.matches(topic));
        if let Some(replays) = session.replays.as_mut() {
            replays.leave(left);
        }
        self.sessions.release_held(slot, left);
        self.sessions.leave_waiting(slot, left);
        self.sessions.leave(slot, pattern);
        true
    }

    fn rename(&mut self, member: &Member) {
        for pattern in self.subscriptions() {
            if let Some(topic) = pattern.as_name() {
                self.sessions.hub.rename(&topic, member);
            }
        }
    }
}

impl Sessions {
    /// Calls the session's reader with its seat.
    pub fn call<R>(&mut self, slot: u32, act: impl FnOnce(&mut dyn Reader, &mut dyn Seat) -> R) -> Option<R> {
        let mut reader = self.slot(slot)?.reader.take()?;
        let result = act(&mut *reader, &mut Seated::new(self, slot));
        if let Some(slot) = self.slot(slot) {
            slot.reader = Some(reader);
        }
        Some(result)
    }
}
