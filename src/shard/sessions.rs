//! The sessions that a shard owns, what is done for one of them, and their end.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use foldhash::HashMap;

use super::drain::Drain;
use super::inbox::Inbox;
use super::outbox::{End, Queued, What};
use super::pace::Paces;
use super::pass::Pass;
use super::ready::ReadyList;
use super::schedule::{Due, Schedule};
use super::slot::{Slot, Stage, smallest_interval};
use super::slots::Slots;
use super::subscribers::Subscribers;
use crate::clock::{Clock, Moment};
use crate::codes::CloseCode;
use crate::config::{Config, Live};
use crate::dialect::{Encoder, Event, event_frame};
use crate::frame::Deflater;
use crate::hub::{Attempt, Hub, Message, OutletId, Publication, PublishError};
use crate::metrics::{CloseReason, DropReason, LimitKey, Metrics, Tally};
use crate::position::Position;
use crate::session_id::SessionId;
use crate::topic_name::{Pattern, TopicName};

/// How long a session's connection outlives its Close, at most.
pub const LINGER: Duration = Duration::from_secs(2);

/// One shard's sessions and all that acting for them needs.
pub struct Sessions {
    /// By slot.
    pub slots: Slots,
    /// Sessions whose socket is on its way.
    pub expected: HashMap<SessionId, u32>,
    /// The gateway drains: who comes now is sent away too.
    pub draining: Option<Drain>,
    /// Sessions that are open.
    pub open: usize,
    /// Who takes what.
    pub subscribers: Subscribers,
    /// What is to be written.
    pub pass: Pass,
    /// Makes frames.
    pub encoder: Encoder,
    /// Which shard this is.
    pub index: usize,
    /// What the shard counts that is no sum.
    pub metrics: Arc<Metrics>,
    /// Counts.
    pub tally: Tally,
    /// When what `interval_ms` holds back is due.
    pub due: Schedule,
    /// Slots with floors, and how many items the shard will have taken when each can go.
    pub floored: Vec<(u64, u32)>,
    /// Slots that want to be looked at in the next turn, though no socket woke them.
    pub again: Vec<u32>,
    /// Sessions that want a share of history, in the order in which they get it.
    pub awaiting: VecDeque<(u32, SessionId)>,
    /// Slots with an outbox.
    pub backlogged: BTreeSet<u32>,
    /// The bytes of replies that wait for the session that is being read.
    pub reply_bytes: usize,
    /// Items that were taken from the inbox.
    pub taken: u64,
    /// Now, as of this turn.
    pub now: Moment,
    /// The configuration of this turn.
    pub config: Arc<Config>,
    /// The shard's place in the hub.
    pub outlet: OutletId,
    /// The shard's mailbox.
    pub inbox: Arc<Inbox>,
    /// The shard's list of ready slots.
    pub ready: Arc<ReadyList>,
    /// Subscriptions of all shards.
    pub subscriptions_total: Arc<AtomicUsize>,
    /// Topics.
    pub hub: Arc<Hub>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// The time.
    pub clock: Clock,
}

/// What a shard is made of.
pub struct Parts {
    /// Which shard this is.
    pub index: usize,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    /// The shard's place in the hub.
    pub outlet: OutletId,
    /// The shard's mailbox.
    pub inbox: Arc<Inbox>,
    /// Subscriptions of all shards.
    pub subscriptions_total: Arc<AtomicUsize>,
    /// Topics.
    pub hub: Arc<Hub>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// The time.
    pub clock: Clock,
}

impl Sessions {
    /// No sessions yet.
    pub fn new(parts: Parts) -> Self {
        let config = parts.live.load();
        Self {
            slots: Slots::default(),
            expected: HashMap::default(),
            draining: None,
            open: 0,
            subscribers: Subscribers::default(),
            pass: Pass::default(),
            encoder: encoder(&config),
            index: parts.index,
            tally: Tally::new(Arc::clone(&parts.metrics)),
            metrics: parts.metrics,
            due: Schedule::default(),
            floored: Vec::new(),
            again: Vec::new(),
            awaiting: VecDeque::new(),
            backlogged: BTreeSet::new(),
            reply_bytes: 0,
            taken: 0,
            now: parts.clock.moment(),
            config,
            outlet: parts.outlet,
            inbox: parts.inbox,
            ready: Arc::default(),
            subscriptions_total: parts.subscriptions_total,
            hub: parts.hub,
            live: parts.live,
            clock: parts.clock,
        }
    }

    /// The session in `slot`, if there is one.
    pub fn slot(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(slot)
    }

    /// Where the gateway drains: tells the session so, and that it leaves at its own moment.
    pub fn send_away(&mut self, slot: u32) {
        let (Some(drain), now) = (self.draining, self.now) else { return };
        let Some(session) = self.slot(slot).filter(|session| session.is_open()) else { return };
        let (leaves_at, retry_after) = drain.draw(now);
        session.leaves_at = Some(leaves_at);
        self.say(slot, &Event::Draining { retry_after }, What::Reply);
    }

    /// Puts a frame for one session behind what is to be written to it.
    pub fn queue(&mut self, slot: u32, queued: Queued) {
        let Self { slots, pass, reply_bytes, .. } = self;
        if let Some(session) = slots.get_mut(slot) {
            if matches!(queued.what, What::Reply) {
                *reply_bytes += queued.frame.len();
            }
            let frame = pass.add_frame(queued);
            pass.link(slot, &mut session.chain, frame);
        }
    }

    /// Tells one session something, in its dialect; nothing where that has no word for it.
    pub fn say(&mut self, slot: u32, event: &Event<'_>, what: What) {
        let Some(variant) = self.slot(slot).map(|slot| slot.variant) else { return };
        if let Some(frame) = event_frame(event, variant, &mut self.encoder, &mut self.tally) {
            self.queue(slot, Queued { frame, what });
        }
    }

    /// Books a message as held back by an interval: it counts as in the outbox.
    pub fn hold(&mut self, message: &Message) {
        self.tally.queued(message.rule.id, 1);
        self.tally.outbox_bytes(message.payload().len() as i64);
    }

    /// Undoes [`Sessions::hold`].
    pub fn unhold(&mut self, message: &Message) {
        self.tally.queued(message.rule.id, -1);
        self.tally.outbox_bytes(-(message.payload().len() as i64));
    }

    /// Gives up a message that was routed to a session and waits nowhere any more.
    pub fn give_up(&mut self, message: &Message, end: End) {
        end.book(message.rule.id, &mut self.tally);
    }

    /// Publishes for a session; `None`: it is to be tried again, and the session's waker will say when.
    pub fn try_publish(&mut self, slot: u32, topic: &TopicName, publication: &Publication<'_>) -> Option<Result<Position, PublishError>> {
        match self.hub.try_publish(topic, publication) {
            Ok(Attempt::Published(position)) => Some(Ok(position)),
            Ok(Attempt::NoRoom(outlet)) => {
                let waker = self.slot(slot)?.waker();
                outlet.when_room(&waker);
                if outlet.has_room() {
                    waker.wake();
                }
                None
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Queues a Close behind what waits, and ends the session but for that. `code` is what goes on the wire, `None`: nothing.
    pub fn close(&mut self, slot: u32, code: Option<u16>, reason: &str, why: CloseReason) {
        if self.begin_to_close(slot, why) {
            self.queue_close(slot, code, reason);
        }
    }

    /// Closes a session that takes nothing: what waits is discarded, but for the frame that has begun.
    pub fn cut_off(&mut self, slot: u32, code: CloseCode, reason: &str, why: CloseReason) {
        if self.slot(slot).is_some_and(|session| session.is_fresh()) {
            self.drain_outbox(slot); // the 101 is the first that waits
        }
        if !self.begin_to_close(slot, why) {
            return;
        }
        if let Some(Stage::Closing { cut_off, .. }) = self.slot(slot).map(|session| &mut session.stage) {
            *cut_off = true;
        }
        self.drop_chain(slot);
        let Self { slots, tally, .. } = self;
        if let Some(outbox) = slots.get_mut(slot).and_then(|slot| slot.outbox.as_mut()) {
            outbox.discard(DropReason::Closed, tally);
        }
        self.queue_close(slot, Some(code.number()), reason);
    }

    /// The peer has gone, or its time after the Close is over: the slot becomes free at the pass's end.
    pub fn end(&mut self, slot: u32, why: CloseReason) {
        self.begin_to_close(slot, why);
        self.drop_chain(slot);
        let Some(mut session) = self.slots.take(slot) else { return };
        if let Some(outbox) = session.outbox.as_mut() {
            outbox.abandon(&mut self.tally);
            self.backlogged.remove(&slot);
        }
    }

    /// Takes a session out of everything but its socket; `false`: it was closing already.
    fn begin_to_close(&mut self, slot: u32, why: CloseReason) -> bool {
        let until = self.now + LINGER;
        let Some(session) = self.slot(slot).filter(|slot| slot.is_open()) else { return false };
        session.stage = Stage::Closing { until, ended: false, cut_off: false };
        session.unread = Vec::new();
        session.deadline = None;
        session.permit = None;
        tracing::debug!(session = %session.id, address = %session.address, reason = why.as_str(), "a session ends");
        let subscriptions = std::mem::take(&mut session.subscriptions);
        session.replays = None;
        self.forget_paces(slot, |_| true);
        for subscription in &subscriptions {
            self.leave(slot, &subscription.pattern);
        }
        self.open -= 1;
        self.inbox.vacate();
        self.tally.session_closed(why);
        true
    }

    /// Takes `slot` off a name or pattern that it was subscribed to, here and in the hub.
    pub fn leave(&mut self, slot: u32, pattern: &Pattern) {
        let Some(id) = self.slot(slot).map(|slot| slot.id) else { return };
        let last = self.subscribers.remove(pattern, slot);
        match pattern.as_name() {
            Some(name) => self.hub.unsubscribe(&name, self.outlet, id),
            None if last => self.hub.unsubscribe_pattern(pattern, self.outlet),
            None => {}
        }
        self.subscriptions_total.fetch_sub(1, Ordering::Relaxed);
        self.tally.subscriptions(-1);
    }

    /// Gives up what is held back for topics that the session has left, and the pacing itself once no subscription has it.
    pub fn forget_paces(&mut self, slot: u32, left: impl Fn(&TopicName) -> bool) {
        let Some(session) = self.slot(slot) else { return };
        let Some(paces) = session.paces.as_mut() else { return };
        let held = paces.leave(left);
        if !session.subscriptions.iter().any(|subscription| subscription.is_paced()) && paces.is_empty() {
            session.paces = None;
        }
        for message in held {
            self.unhold(&message);
            self.give_up(&message, End::Dropped(DropReason::Closed));
        }
    }

    /// Ends the pacing of topics that the session has left; what was held goes out now, before the answer.
    pub fn release_held(&mut self, slot: u32, left: impl Fn(&TopicName) -> bool) {
        let Some(paces) = self.slot(slot).and_then(|session| session.paces.as_mut()) else { return };
        for message in paces.leave(left) {
            self.unhold(&message);
            let frame = self.pass.add_message(&message);
            let Self { slots, pass, .. } = self;
            if let Some(session) = slots.get_mut(slot) {
                pass.link(slot, &mut session.chain, frame);
            }
        }
        self.forget_paces(slot, |_| false);
    }

    /// A session's subscriptions have changed: it is paced if one has an interval, and what is held of topics without one goes out.
    pub fn follow_intervals(&mut self, slot: u32) {
        let now = self.now;
        let Some(session) = self.slot(slot) else { return };
        if session.subscriptions.iter().any(|subscription| subscription.is_paced()) {
            session.paces.get_or_insert_with(|| Box::new(Paces::default()));
        }
        let Some(paces) = session.paces.as_mut() else { return };
        let subscriptions = session.subscriptions.clone();
        let id = session.id;
        let moved = paces.shorten(now, |topic| smallest_interval(&subscriptions, topic));
        moved.into_iter().for_each(|(topic, at)| self.note_due(Due { at, slot, session: id, topic }));
        self.release_held(slot, |topic| smallest_interval(&subscriptions, topic).is_none());
    }

    /// A limit bit one session.
    pub fn limit_hit(&mut self, limit: LimitKey) {
        self.tally.limit_hit(limit);
    }

    fn queue_close(&mut self, slot: u32, code: Option<u16>, reason: &str) {
        let Some(framing) = self.slot(slot).map(|session| session.variant.framing) else { return };
        self.queue(slot, Queued { frame: framing.goodbye(code, reason), what: What::Close });
    }

    /// Gives up what was to be written to a session.
    fn drop_chain(&mut self, slot: u32) {
        let mut frames = Vec::new();
        let Self { slots, pass, tally, .. } = self;
        let Some(session) = slots.get_mut(slot) else { return };
        pass.frames_of(session.chain, &mut frames);
        pass.unlink(&mut session.chain);
        for rule in frames.iter().filter_map(|&frame| pass.rule(frame)) {
            tally.dropped(rule, DropReason::Closed, 1);
        }
    }
}

/// What makes frames as `config` says.
pub fn encoder(config: &Config) -> Encoder {
    Encoder { deflater: Deflater::new(config.deflate.level), threshold: config.deflate.threshold }
}
