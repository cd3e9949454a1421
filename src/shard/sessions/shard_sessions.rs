//! The sessions of a shard: its state, and the reading side of each session by slot.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::following::{FOLLOWING_TIME, Following};
use super::reading::{Reading, Readings};
use crate::codes::CloseCode;
use crate::dialect::Event;
use crate::frame::Inflater;
use crate::metrics::{CloseReason, Gauge, LimitKey};
use crate::session_id::{Member, SessionId, SessionSecret};
use crate::shard::context::SessionContext;
use crate::shard::delivery::{FrameKind, Queued};
use crate::shard::env::ShardParts;
use crate::shard::intake::{Admitted, Arrived, NewSession};
use crate::shard::reader::Reader;
use crate::shard::slot::{Connection, Finding, InputWait, Socket};
use crate::shard::state::ShardState;
use crate::shard::upkeep::{Drain, act_on, due_for};
use crate::topic_name::TopicName;

/// The number of paced topics after which a sweep closes no further session that has some: a millisecond's work. The
/// next tick sweeps on.
const RELEASED_PER_SWEEP: usize = 4_096;

/// One shard's sessions.
pub struct Sessions {
    /// All state of the sessions except their readers.
    pub state: ShardState,
    /// The reading sides of open sessions.
    readings: Readings,
    inflater: Inflater,
    /// Sessions whose readers may still follow a former configuration.
    following: Following,
    /// Set once the gateway drains. A session that begins from then on is told so and closed too.
    draining: Option<Drain>,
}

impl Sessions {
    /// A shard without sessions.
    pub fn new(parts: ShardParts) -> Self {
        let state = ShardState::new(parts);
        Self {
            readings: Readings::new(state.env.input_account()),
            state,
            inflater: Inflater::default(),
            following: Following::default(),
            draining: None,
        }
    }

    /// Begins a session whose socket is registered with this thread's runtime. `rest` is what the client has sent
    /// behind its request. The 101 is queued before the reader is called, because nothing may discard it.
    pub fn admit(&mut self, admitted: Admitted, tcp: TcpStream, rest: &[u8]) {
        let slot = self.enter(admitted.session);
        self.attach(slot, Socket::registered(tcp), rest);
        self.state.delivery.queue(slot, Queued { frame: admitted.head.into(), kind: FrameKind::Reply });
        self.open(slot);
    }

    /// Begins a session whose socket follows by [`Sessions::arrive`].
    pub fn expect(&mut self, session: NewSession) {
        let slot = self.enter(session);
        self.state.table.expect(slot);
        self.open(slot);
    }

    /// Begins a session whose socket has arrived.
    pub fn begin(&mut self, session: NewSession, arrived: Arrived) {
        let slot = self.enter(session);
        if self.attach_arrived(slot, arrived) {
            self.open(slot);
        }
    }

    /// Attaches the socket of an expected session.
    pub fn arrive(&mut self, id: SessionId, arrived: Arrived) {
        if let Some(slot) = self.state.table.take_expected(id) {
            self.attach_arrived(slot, arrived);
        }
    }

    /// Ends an expected session whose client has gone before its socket arrived.
    pub fn cancel_expected(&mut self, id: SessionId) {
        if let Some(slot) = self.state.table.take_expected(id) {
            self.state.end(slot, CloseReason::Gone);
        }
    }

    /// Tells all sessions, later ones too, that the gateway drains, and sets the random moment at which each is closed.
    pub fn drain(&mut self, drain: Drain) {
        if self.draining.is_some() {
            return; // all sessions were told
        }
        self.draining = Some(drain);
        for slot in self.state.table.open_slots() {
            self.announce_drain(slot);
        }
    }

    /// Whether the gateway drains.
    pub fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// Adopts the configuration in force if it has changed, and has some readers follow it.
    pub fn follow_config(&mut self) {
        let ShardState { table, delivery, env, .. } = &mut self.state;
        if let Some(former) = env.follow_config() {
            delivery.follow_config(&env.config);
            self.following.begin(&env.config.rules, &former.rules, table.end());
        }
        while let Some(slot) = self.following.next() {
            if self.follow(slot) && self.state.env.moment().since(self.state.env.now) >= FOLLOWING_TIME {
                return;
            }
        }
    }

    /// Whether readers may still follow a former configuration.
    pub fn are_following(&self) -> bool {
        !self.following.is_over()
    }

    /// Has the reader of the session in `slot` follow the configuration of this tick. Returns `false` if it did
    /// already, or if the session is closing or has no reader.
    pub(super) fn follow(&mut self, slot: u32) -> bool {
        let generation = self.state.env.generation();
        let Some(reading) = self.readings.get_mut(slot) else { return false };
        if std::mem::replace(&mut reading.generation, generation) == generation || !self.state.table.is_open(slot) {
            return false;
        }
        self.call(slot, |reader, context, _| reader.on_reload(context));
        if self.following.may_enter_presence() {
            self.enter_presence(slot);
        }
        true
    }

    /// Enters a session into the presence of the topics it is subscribed to by name, where the rules have presence on.
    fn enter_presence(&self, slot: u32) {
        let ShardState { table, delivery, env, .. } = &self.state;
        let Some(connection) = table.get(slot).filter(|connection| connection.is_open()) else { return };
        let info = |topic: &TopicName| self.reader(slot).and_then(|reader| reader.info(topic));
        let member = |topic: &TopicName| Member { session: connection.id(), user: self.user(slot), info: info(topic) };
        let names = delivery.subscribers.of(slot).iter().filter_map(|subscription| subscription.pattern().as_name());
        names.filter(|topic| env.config.rules.of(topic).presence).for_each(|topic| env.hub().enter(&topic, &member(&topic)));
    }

    /// Visits every session once and does what is due for it: deadlines, heartbeats, time-outs, closes. Returns `false`
    /// if sessions that leave a drain are left for the next tick.
    pub fn sweep(&mut self) -> bool {
        self.state.table.note_queued_active(self.state.env.now);
        let (mut released, mut is_complete) = (0, true);
        for slot in 0..self.state.table.end() {
            // What a queued session had to send in time may be among its unread input. Its turn looks at the deadline.
            if !self.state.table.turns().is_queued(slot) {
                self.meet_deadline(slot);
            }
            // A deadline does not replace the ping: a client can cause deadlines without end.
            let Some(found) = due_for(&self.state, slot) else { continue };
            if found == Finding::DrainDue {
                let topics = self.state.pacing.topics(slot);
                if topics > 0 && released >= RELEASED_PER_SWEEP {
                    is_complete = false;
                    continue;
                }
                released += topics;
            }
            act_on(&mut self.state, slot, found);
        }
        let env = &mut self.state.env;
        self.state.delivery.outgoing.end_aged(env.now, &mut env.tally);
        self.state.delivery.sweep_references(&mut env.tally);
        self.state.delivery.forget_lapses(env.now);
        is_complete
    }

    /// Calls the session's reader if its deadline has passed.
    pub(super) fn meet_deadline(&mut self, slot: u32) {
        let now = self.state.env.now;
        if self.state.table.get_mut(slot).is_some_and(|connection| connection.liveness().take_deadline(now)) {
            self.call(slot, |reader, context, _| reader.on_deadline(context));
        }
    }

    /// Tells each reader about its subscriptions that have ended because messages were lost.
    pub fn tell_lapsed(&mut self) {
        for (slot, topic) in std::mem::take(&mut self.state.lapsed) {
            self.call(slot, |reader, context, _| reader.on_lapse(&topic, context));
        }
    }

    /// Tells readers about work that was done for their sessions beside their commands.
    pub fn charge_work(&mut self) {
        for slot in self.state.uncharged.take_grown() {
            self.call(slot, |reader, context, _| reader.on_work(context));
        }
    }

    /// Drops the reading sides of sessions that have begun to close.
    pub fn drop_closing(&mut self) {
        while let Some(slot) = self.state.table.take_closing() {
            self.readings.end(slot);
        }
    }

    /// Publishes the bytes of input that the sessions hold as a metric.
    pub fn show_input(&mut self) {
        self.state.env.tally.set_part(Gauge::InputBytes, self.readings.input_bytes());
    }

    /// The bytes that were read for a session and that its reader has not used.
    #[cfg(test)]
    pub fn unread(&self, slot: u32) -> &[u8] {
        self.readings.get(slot).map_or(&[], |reading| reading.unread.bytes())
    }

    fn enter(&mut self, session: NewSession) -> u32 {
        self.drop_closing(); // a session that ended in this tick may have left its slot to this one
        let NewSession { id, address, encoding, reader, permit, .. } = session;
        let ShardState { table, delivery, env, .. } = &mut self.state;
        let slot = table.add(|waker| Connection::new(id, address, permit, waker, env.now));
        delivery.outgoing.open(slot, encoding);
        self.readings.open(slot, reader, env.generation());
        env.load().occupy();
        env.tally.session_opened();
        slot
    }

    fn open(&mut self, slot: u32) {
        // The reader may begin with commands. Their replies are counted from zero, and a command may have to wait.
        self.state.delivery.begin_reading();
        let now = self.state.env.moment();
        self.state.table.turns().begin_opening(now);
        self.call(slot, |reader, context, _| reader.on_open(context));
        let is_bulk = self.readings.get(slot).is_some_and(|reading| reading.waits == InputWait::Turn);
        self.state.table.get_mut(slot).into_iter().for_each(|connection| connection.end_turn(is_bulk));
        self.note_waiting(slot);
        self.announce_drain(slot);
    }

    /// The slot of the session whose HTTP requests carry `secret`.
    pub fn slot_of(&self, secret: SessionSecret) -> Option<u32> {
        self.readings.slot_of(secret)
    }

    /// Notes what a session's reader waits for after a call without input of the socket.
    pub fn note_waiting(&mut self, slot: u32) {
        let unread = self.readings.get_mut(slot).map(|reading| std::mem::take(&mut reading.unread)).unwrap_or_default();
        self.keep_unread(slot, unread);
        self.count_input(slot);
    }

    /// Attaches a session's socket. Input read ahead is used in the next tick. Returns `false` if the socket can't be
    /// used.
    fn attach_arrived(&mut self, slot: u32, arrived: Arrived) -> bool {
        match Socket::new(arrived.stream) {
            Ok(socket) => {
                self.attach(slot, socket, &arrived.already_read);
                let env = &mut self.state.env;
                if self.state.delivery.queue_head(slot, arrived.head, env.now, &mut env.tally) {
                    // The outbox is written at once: the 101 is in it, and an outbox that overflows later is discarded.
                    self.state.empty_outbox(slot);
                }
                true
            }
            Err(error) => {
                tracing::warn!(slot, %error, "a new session's socket can't be used");
                self.state.end(slot, CloseReason::Gone);
                false
            }
        }
    }

    /// Attaches a session's socket and copies the bytes read ahead. The copy releases the large buffer that held them.
    fn attach(&mut self, slot: u32, socket: Socket, read_ahead: &[u8]) {
        let (Some(connection), Some(reading)) = (self.state.table.get_mut(slot), self.readings.get_mut(slot)) else { return };
        connection.attach(socket);
        let wait = if read_ahead.is_empty() { InputWait::Nothing } else { InputWait::Waker };
        connection.set_input_wait(wait, self.state.env.now);
        reading.unread = read_ahead.into();
        self.count_input(slot);
        self.state.table.schedule(slot); // the first read registers the session's waker with the socket
    }

    /// Tells the session that the gateway drains, if it does, and sets the moment at which the session is closed.
    fn announce_drain(&mut self, slot: u32) {
        let Some(drain) = self.draining else { return };
        let Some(connection) = self.state.table.get_mut(slot).filter(|connection| connection.is_open()) else { return };
        let (closes_at, retry_after) = drain.draw(self.state.env.now);
        connection.liveness().close_at(closes_at);
        self.state.queue_event(slot, &Event::Draining { retry_after });
    }

    /// Updates the count of the session's input. Closes the session if its address would hold too many unfinished
    /// bytes.
    pub(super) fn count_input(&mut self, slot: u32) {
        let Some(connection) = self.state.table.get(slot) else { return };
        let fits = self.readings.count(slot, connection.address().ip(), &self.state.env.config.limits);
        if !fits && connection.is_open() {
            let reason = "messages from this address that are not whole hold as much as limits.unfinished_bytes_per_address allows";
            self.state.env.tally.limit_hit(LimitKey::UnfinishedBytesPerAddress);
            self.state.close(slot, CloseCode::TryAgainLater, reason, CloseReason::TooFull);
        }
    }

    /// Calls the session's reader, which follows the configuration of this tick first. Returns the result of `act`;
    /// `None` if the reader is being called or missing, or if the configuration has ended the session.
    pub fn call<R>(&mut self, slot: u32, act: impl FnOnce(&mut dyn Reader, &mut SessionContext<'_>, &mut Inflater) -> R) -> Option<R> {
        if self.follow(slot) && !self.state.table.is_open(slot) {
            return None;
        }
        let mut reader = self.readings.get_mut(slot)?.reader.take()?;
        let mut context = SessionContext::new(&mut self.state, slot);
        let result = act(&mut *reader, &mut context, &mut self.inflater);
        let (waits, awaits_engine) = (context.waits(), context.awaits_engine());
        if let Some(reading) = self.readings.get_mut(slot) {
            reading.reader = Some(reader);
            reading.waits = reading.waits.max(waits);
            reading.awaits_engine |= awaits_engine;
        }
        Some(result)
    }

    /// The reading side of the session in `slot`.
    pub(super) fn reading(&mut self, slot: u32) -> Option<&mut Reading> {
        self.readings.get_mut(slot)
    }

    /// The session's user.
    pub fn user(&self, slot: u32) -> Option<Arc<str>> {
        self.reader(slot)?.user()
    }

    /// The session's reader; `None` while it is being called.
    pub fn reader(&self, slot: u32) -> Option<&dyn Reader> {
        self.readings.get(slot)?.reader.as_deref()
    }
}
