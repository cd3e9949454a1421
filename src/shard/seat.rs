//! A session's hold on its shard while its reader is called: to speak, to subscribe, to publish, to close.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::outbox::{Queued, What};
use super::sessions::Sessions;
use super::slot::Subscription;
use crate::clock::Moment;
use crate::codes::{CloseCode, ErrorCode};
use crate::config::Config;
use crate::dialect::{Event, echo_frame};
use crate::frame::OpCode;
use crate::hub::{Hub, Publication, PublishError, Start, Topic, Wanted};
use crate::metrics::{CloseReason, LimitKey, Tally};
use crate::position::Position;
use crate::session_id::{Member, SessionId};
use crate::topic_name::{Pattern, TopicName};

/// One session in its shard, for the time of one call.
pub struct Seat<'a> {
    sessions: &'a mut Sessions,
    slot: u32,
}

/// A subscription's options.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// At most one message per topic in that time.
    pub interval: Option<Duration>,
    /// Whether joins and leaves are told.
    pub presence: bool,
}

/// A topic on which a session begins, by its name or by a pattern.
pub struct Begun {
    /// The topic.
    pub topic: Arc<Topic>,
    /// Where the session begins on it.
    pub start: Start,
}

impl<'a> Seat<'a> {
    pub(super) fn new(sessions: &'a mut Sessions, slot: u32) -> Self {
        Self { sessions, slot }
    }

    /// The shard's counts.
    pub fn tally(&mut self) -> &mut Tally {
        &mut self.sessions.tally
    }

    /// Now, as of this turn.
    pub fn now(&self) -> Moment {
        self.sessions.now
    }

    /// The configuration of this turn.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.sessions.config)
    }

    /// Topics.
    pub fn hub(&self) -> Arc<Hub> {
        Arc::clone(&self.sessions.hub)
    }

    /// Whether the session is neither closing nor gone.
    pub fn is_open(&mut self) -> bool {
        self.sessions.slot(self.slot).is_some_and(|slot| slot.is_open())
    }

    /// Whether commands may be read on: while replies or echoes fill the outbox, they are not.
    pub fn can_go_on(&mut self) -> bool {
        let most = self.sessions.config.limits.outbox_bytes;
        let turn_bytes = self.sessions.turn_reply_bytes;
        let Some(slot) = self.sessions.slot(self.slot) else { return false };
        let waiting = slot.outbox.as_ref().map_or(0, |outbox| outbox.uncounted_bytes());
        slot.is_open() && waiting + turn_bytes < most
    }

    /// Says something to the session, in its dialect.
    pub fn say(&mut self, event: &Event<'_>) {
        self.sessions.say(self.slot, event, What::Reply);
    }

    /// Says that a command is refused.
    pub fn refuse(&mut self, id: Option<crate::dialect::RequestId<'_>>, code: ErrorCode, message: &str) {
        self.sessions.tally.command_error(code);
        self.say(&Event::Error { id, code, message });
    }

    /// Sends a message of the session's own back.
    pub fn echo(&mut self, opcode: OpCode, payload: &[u8]) {
        let Some(variant) = self.sessions.slot(self.slot).map(|slot| slot.variant) else { return };
        let frame = echo_frame(opcode, payload, variant.window_bits, &mut self.sessions.encoder, &mut self.sessions.tally);
        self.sessions.queue(self.slot, Queued { frame, what: What::Reply });
    }

    /// Answers a Ping.
    pub fn pong(&mut self, payload: &[u8]) {
        let mut frame = Vec::with_capacity(crate::frame::HEAD_BYTES_MAX + payload.len());
        crate::frame::write_head(&mut frame, OpCode::Pong, false, payload.len());
        frame.extend_from_slice(payload);
        self.sessions.queue(self.slot, Queued { frame: frame.into(), what: What::Pong });
    }

    /// Ends the session: a Close with `code` goes out behind what waits.
    pub fn close(&mut self, code: CloseCode, reason: &str, why: CloseReason) {
        self.sessions.close(self.slot, Some(code.number()), reason, why);
    }

    /// Answers the peer's Close with its own code, or with none.
    pub fn answer_close(&mut self, code: Option<u16>, why: CloseReason) {
        self.sessions.close(self.slot, code, "", why);
    }

    /// A limit bit this session.
    pub fn limit_hit(&mut self, limit: LimitKey) {
        self.sessions.limit_hit(limit);
    }

    /// Its reader's `deadline` is to be called then; `None`: not at all.
    pub fn wake_at(&mut self, moment: Option<Moment>) {
        if let Some(slot) = self.sessions.slot(self.slot) {
            slot.deadline = moment;
        }
    }

    /// Publishes; `None`: an inbox is full, and the session is read again when it has room.
    pub fn try_publish(&mut self, topic: &TopicName, publication: &Publication) -> Option<Result<Position, PublishError>> {
        self.sessions.try_publish(self.slot, topic, publication)
    }

    /// The session has a command that can't be done yet: its reader is called again, input or not, once its waker was
    /// woken, or in the next turn.
    pub fn pause(&mut self) {
        if let Some(slot) = self.sessions.slot(self.slot) {
            slot.paused = true;
        }
        self.sessions.again.push(self.slot);
    }

    /// How many items the shard's inbox has had by now.
    pub fn pushed(&self) -> u64 {
        self.sessions.inbox.pushed()
    }

    /// Whether the shard has taken the first `pushed` items of its inbox.
    pub fn has_taken(&self, pushed: u64) -> bool {
        self.sessions.taken >= pushed
    }

    /// What the session is subscribed to.
    pub fn subscriptions(&mut self) -> Vec<Pattern> {
        let slot = self.sessions.slot(self.slot);
        slot.map(|slot| slot.subscriptions.iter().map(|subscription| subscription.pattern.clone()).collect()).unwrap_or_default()
    }

    /// How many that are.
    pub fn subscription_count(&mut self) -> usize {
        self.sessions.slot(self.slot).map_or(0, |slot| slot.subscriptions.len())
    }

    /// Whether the session is subscribed to `pattern`, spelled like that.
    pub fn is_subscribed(&mut self, pattern: &Pattern) -> bool {
        self.sessions.slot(self.slot).is_some_and(|slot| slot.find(pattern).is_ok())
    }

    /// Whether a subscription of the session takes `topic`.
    pub fn covers(&mut self, topic: &TopicName) -> bool {
        self.sessions.slot(self.slot).is_some_and(|slot| slot.covers(topic))
    }

    /// Takes a place among the subscriptions of all sessions; `false`: there is none left.
    pub fn take_place(&mut self) -> bool {
        let most = self.sessions.config.limits.subscriptions_total;
        let total = &self.sessions.subscriptions_total;
        total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < most).then_some(count + 1)).is_ok()
    }

    /// Gives back a place that was taken for nothing.
    pub fn give_place_back(&mut self) {
        self.sessions.subscriptions_total.fetch_sub(1, Ordering::Relaxed);
    }

    /// Subscribes to a topic by name. The flag: its rule knows presence. A place was taken for it.
    pub fn subscribe(
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

    /// Subscribes to a pattern. A place was taken for it.
    pub fn subscribe_pattern(&mut self, pattern: &Pattern, options: Options) {
        if self.add(pattern, options) {
            self.sessions.hub.subscribe_pattern(pattern, self.sessions.outlet);
        }
    }

    /// Replaces the options of a subscription that the session has.
    pub fn set_options(&mut self, pattern: &Pattern, options: Options) {
        let slot = self.slot;
        let Some(session) = self.sessions.slot(slot) else { return };
        let Ok(index) = session.find(pattern) else { return };
        session.subscriptions[index].interval = options.interval;
        self.sessions.subscribers.set_watching(pattern, slot, options.presence);
        self.sessions.follow_intervals(slot);
    }

    /// The session begins on `begun`: what it is owed of the history is read, and what comes behind is live.
    pub fn begin(&mut self, begun: Begun) {
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

    /// Whether history of `topic` is being read for the session.
    pub fn is_replaying(&mut self, topic: &TopicName) -> bool {
        self.sessions.slot(self.slot).and_then(|slot| slot.replays.as_ref()).is_some_and(|replays| replays.is_replaying(topic))
    }

    /// Ends a subscription; `false`: there was none. What it alone brought is not replayed or held back any more.
    pub fn unsubscribe(&mut self, pattern: &Pattern) -> bool {
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
        if let (Some(outbox), Some(name)) = (session.outbox.as_mut(), pattern.as_name()) {
            outbox.leave_topic(&name);
        }
        self.sessions.release_held(slot, left);
        self.sessions.leave(slot, pattern);
        true
    }

    /// The session's user is another one from now on, where presence tells of it.
    pub fn rename(&mut self, member: &Member) {
        for pattern in self.subscriptions() {
            if let Some(topic) = pattern.as_name() {
                self.sessions.hub.rename(&topic, member);
            }
        }
    }

    /// The session's name.
    pub fn id(&mut self) -> Option<SessionId> {
        self.sessions.slot(self.slot).map(|slot| slot.id)
    }

    /// Adds a subscription to the shard's lists; `true`: it is the first on that name or pattern here.
    fn add(&mut self, pattern: &Pattern, options: Options) -> bool {
        let slot = self.slot;
        let Some(session) = self.sessions.slot(slot) else { return false };
        if let Err(index) = session.find(pattern) {
            session.subscriptions.insert(index, Subscription { pattern: pattern.clone(), interval: options.interval });
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
