//! A shard's sessions whole: its state, and by slot what reads and decides for each session.

use std::sync::Arc;
use std::task::Poll;

use tokio::net::TcpStream;

use super::context::SessionContext;
use super::delivery::{Queued, What};
use super::env::Parts;
use super::intake::{Admitted, Arrived, NewSession, SessionView};
use super::reader::Reader;
use super::slot::{BySlot, Connection, Finding, Socket};
use super::state::ShardState;
use super::upkeep::{Drain, act_on, due_for};
use crate::config::Rules;
use crate::dialect::Event;
use crate::frame::Inflater;
use crate::metrics::CloseReason;
use crate::session_id::{Member, SessionId};
use crate::topic_name::TopicName;

/// Reads of one socket in a tick: under TLS each gives a record of 16 KiB at most.
const READS_PER_TICK: usize = 4;

/// One shard's sessions.
pub struct Sessions {
    /// All but the readers.
    pub state: ShardState,
    /// The reading sides of open sessions.
    readings: BySlot<Reading>,
    inflater: Inflater,
    ready: Vec<u32>,
    /// The gateway drains: who comes now is sent away too.
    draining: Option<Drain>,
}

/// One session's reading side.
struct Reading {
    /// Decides for it; absent while it is being called.
    reader: Option<Box<dyn Reader>>,
    /// What was read and can't be acted on yet.
    unread: Vec<u8>,
    /// Its reader is to be called, input or not: a command waits.
    waits: bool,
}

/// What became of one read of a socket.
enum ReadOn {
    /// There may be more.
    More,
    /// There is no more now, or the session takes no more.
    Enough,
}

impl Sessions {
    /// No sessions yet.
    pub fn new(parts: Parts) -> Self {
        let state = ShardState::new(parts);
        Self { state, readings: BySlot::default(), inflater: Inflater::default(), ready: Vec::new(), draining: None }
    }

    /// Begins a session whose socket the runtime of this thread knows; `rest` is what it has said already. Its 101 goes out first;
    /// until then nothing may happen that could discard it.
    pub fn admit(&mut self, admitted: Admitted, tcp: TcpStream, rest: &[u8]) {
        let slot = self.enter(admitted.session);
        self.attach(slot, Socket::Plain(tcp), rest);
        self.state.delivery.queue(slot, Queued { frame: admitted.head.into(), what: What::Reply });
        self.open(slot);
    }

    /// Begins a session whose socket follows.
    pub fn expect(&mut self, session: NewSession) {
        let slot = self.enter(session);
        self.state.table.expect(slot);
        self.open(slot);
    }

    /// Begins a session with its socket.
    pub fn begin(&mut self, session: NewSession, arrived: Arrived) {
        let slot = self.enter(session);
        if self.land(slot, arrived) {
            self.open(slot);
        }
    }

    /// An expected session's socket is here.
    pub fn arrive(&mut self, id: SessionId, arrived: Arrived) {
        if let Some(slot) = self.state.table.take_expected(id) {
            self.land(slot, arrived);
        }
    }

    /// An expected session's client has gone.
    pub fn forsake(&mut self, id: SessionId) {
        if let Some(slot) = self.state.table.take_expected(id) {
            self.state.end(slot, CloseReason::Gone);
        }
    }

    /// Closes the session of that name; `false`: there is none.
    pub fn close(&mut self, id: SessionId, code: u16, reason: &str) -> bool {
        let found = self.state.table.open().find(|(_, connection)| connection.id() == id).map(|(slot, _)| slot);
        if let Some(slot) = found {
            self.state.close(slot, Some(code), reason, CloseReason::Operator);
        }
        found.is_some()
    }

    /// The gateway drains: every session is told so, and that it leaves at its own moment; those to come are, too.
    pub fn drain(&mut self, drain: Drain) {
        if self.draining.is_some() {
            return; // all have been told
        }
        self.draining = Some(drain);
        for slot in self.state.table.open_slots() {
            self.send_away(slot);
        }
    }

    /// Whether the gateway drains.
    pub fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// Takes over the configuration in force, if it is another.
    pub fn follow_config(&mut self) {
        let Some(former) = self.state.env.follow_config() else { return };
        self.state.delivery.follow_config(&self.state.env.config);
        for slot in self.state.table.open_slots() {
            self.call(slot, |reader, context, _| reader.reload(context));
        }
        self.enter_presence(&former.rules);
    }

    /// The `limit` sessions with the fullest outboxes, fullest first.
    pub fn slowest(&self, limit: usize) -> Vec<SessionView> {
        let mut views: Vec<SessionView> = self.state.table.open().filter_map(|(slot, connection)| self.view(slot, connection)).collect();
        views.sort_by_key(|view| std::cmp::Reverse(view.outbox_bytes));
        views.truncate(limit);
        views
    }

    /// Looks at every session once for what is due, and does it.
    pub fn sweep(&mut self) {
        for slot in 0..self.state.table.end() {
            match due_for(&self.state, slot) {
                Some(Finding::Deadline) => {
                    if let Some(connection) = self.state.table.get_mut(slot) {
                        connection.liveness().set_deadline(None);
                    }
                    self.call(slot, |reader, context, _| reader.deadline(context));
                }
                Some(found) => act_on(&mut self.state, slot, found),
                None => {}
            }
        }
        let env = &mut self.state.env;
        self.state.delivery.give_up_aged(env.now, &mut env.tally);
    }

    /// Reads the sockets that have something.
    pub fn read_ready(&mut self, buffer: &mut [u8]) {
        let mut ready = std::mem::take(&mut self.ready);
        self.state.table.take_ready(&mut ready);
        for slot in ready.drain(..) {
            // What answers a session leaves before more is asked, so that no chain grows by what its own session sends. The first write
            // comes before the first read, which registers the socket.
            let ShardState { table, delivery, .. } = &mut self.state;
            let is_fresh = table.get(slot).is_some_and(Connection::is_fresh);
            if is_fresh && !delivery.owes_nothing(slot) || delivery.owes_answers(slot) {
                table.look_again(slot);
                continue;
            }
            self.read(slot, buffer);
            // What waits for it already goes first; the flush does both.
            if self.state.delivery.owes_nothing(slot) {
                self.state.write_outbox(slot);
            }
        }
        self.ready = ready;
    }

    /// Drops the reading sides of sessions that have ended but for their Close.
    pub fn drop_closing(&mut self) {
        while let Some(slot) = self.state.table.take_closing() {
            self.readings.take(slot);
        }
    }

    /// What was read of a session and waits for its reader.
    #[cfg(test)]
    pub fn unread(&self, slot: u32) -> &[u8] {
        self.readings.get(slot).map_or(&[], |reading| &reading.unread)
    }

    fn enter(&mut self, session: NewSession) -> u32 {
        let NewSession { id, address, variant, reader, permit, .. } = session;
        let ShardState { table, delivery, env, .. } = &mut self.state;
        let slot = table.add(|waker| Connection::new(id, address, permit, waker, env.now));
        delivery.open(slot, variant);
        self.readings.put(slot, Reading { reader: Some(reader), unread: Vec::new(), waits: false });
        env.occupy();
        env.tally.session_opened();
        slot
    }

    fn open(&mut self, slot: u32) {
        self.call(slot, |reader, context, _| reader.open(context));
        self.send_away(slot);
    }

    /// Gives a session its socket; what its client has sent already is read in the next tick. `false`: the socket can't be used.
    fn land(&mut self, slot: u32, arrived: Arrived) -> bool {
        match Socket::new(arrived.stream) {
            Ok(socket) => {
                self.attach(slot, socket, &arrived.already_read);
                let env = &mut self.state.env;
                if self.state.delivery.queue_head(slot, arrived.head, env.now, &mut env.tally) {
                    // It goes out at once: an outbox that overflows later is discarded, and the 101 must not be.
                    self.state.drain_outbox(slot);
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

    /// Gives a session its socket, and copies what was read ahead: the bytes lie in a buffer that would stay with the session.
    fn attach(&mut self, slot: u32, socket: Socket, read_ahead: &[u8]) {
        let (Some(connection), Some(reading)) = (self.state.table.get_mut(slot), self.readings.get_mut(slot)) else { return };
        connection.attach(socket);
        connection.set_input_waits(!read_ahead.is_empty());
        reading.unread = read_ahead.to_vec();
        self.state.table.look_again(slot); // the socket is to know its waker
    }

    /// Where the gateway drains: tells the session so, and that it leaves at its own moment.
    fn send_away(&mut self, slot: u32) {
        let Some(drain) = self.draining else { return };
        let Some(connection) = self.state.table.get_mut(slot).filter(|connection| connection.is_open()) else { return };
        let (leaves_at, retry_after) = drain.draw(self.state.env.now);
        connection.liveness().leaves_at(leaves_at);
        self.state.say(slot, &Event::Draining { retry_after });
    }

    /// Reads what one session's socket has, at most a buffer's worth.
    fn read(&mut self, slot: u32, buffer: &mut [u8]) {
        self.state.delivery.begin_reading();
        if !self.read_unread(slot) {
            return;
        }
        // A short read tells the runtime that the socket is empty; the poll after it arms the waker without a system call.
        for _ in 0..READS_PER_TICK {
            if let ReadOn::Enough = self.read_once(slot, buffer) {
                return;
            }
        }
        self.state.table.look_again(slot);
    }

    /// Has the reader go on with what was read before; `false`: it takes no more now.
    fn read_unread(&mut self, slot: u32) -> bool {
        if !self.state.table.is_open(slot) {
            return true;
        }
        let Some(reading) = self.readings.get_mut(slot).filter(|reading| reading.waits || !reading.unread.is_empty()) else { return true };
        let mut unread = std::mem::take(&mut reading.unread);
        let used = self.hand_up(slot, &mut unread);
        unread.drain(..used);
        self.keep_unread(slot, unread)
    }

    /// Keeps what a session's reader did not use; `true`: it used all, and waits for nothing.
    fn keep_unread(&mut self, slot: u32, unread: Vec<u8>) -> bool {
        let Some(connection) = self.state.table.get_mut(slot).filter(|connection| connection.is_open()) else { return false };
        let Some(reading) = self.readings.get_mut(slot) else { return false };
        connection.set_input_waits(!unread.is_empty());
        reading.unread = unread;
        !reading.waits && reading.unread.is_empty()
    }

    fn read_once(&mut self, slot: u32, buffer: &mut [u8]) -> ReadOn {
        let now = self.state.env.now;
        let Some(connection) = self.state.table.get_mut(slot) else { return ReadOn::Enough };
        let read = match connection.poll_read(buffer) {
            Poll::Pending => return ReadOn::Enough,
            Poll::Ready(Ok(0) | Err(_)) => {
                self.state.end(slot, CloseReason::Gone);
                return ReadOn::Enough;
            }
            Poll::Ready(Ok(read)) => read,
        };
        connection.liveness().heard(now);
        let is_open = connection.is_open();
        self.state.env.tally.received_bytes(read as u64);
        if !is_open {
            return ReadOn::More; // what comes after our Close is discarded
        }
        let used = self.hand_up(slot, &mut buffer[..read]);
        let waits = self.readings.get(slot).is_some_and(|reading| reading.waits);
        if (used < read || waits) && self.state.table.is_open(slot) {
            self.keep_unread(slot, buffer[used..read].to_vec());
            return ReadOn::Enough;
        }
        if read == buffer.len() {
            self.state.table.look_again(slot);
            return ReadOn::Enough;
        }
        ReadOn::More
    }

    fn hand_up(&mut self, slot: u32, input: &mut [u8]) -> usize {
        if let Some(reading) = self.readings.get_mut(slot) {
            reading.waits = false; // what waits is tried again
        }
        self.call(slot, |reader, context, inflater| reader.read(input, inflater, context)).unwrap_or(input.len())
    }

    /// Calls the session's reader with its context.
    fn call<R>(&mut self, slot: u32, act: impl FnOnce(&mut dyn Reader, &mut SessionContext<'_>, &mut Inflater) -> R) -> Option<R> {
        let mut reader = self.readings.get_mut(slot)?.reader.take()?;
        let mut context = SessionContext::new(&mut self.state, slot);
        let result = act(&mut *reader, &mut context, &mut self.inflater);
        let waits = context.waits();
        if let Some(reading) = self.readings.get_mut(slot) {
            reading.reader = Some(reader);
            reading.waits |= waits;
        }
        Some(result)
    }

    fn view(&self, slot: u32, connection: &Connection) -> Option<SessionView> {
        let state = &self.state;
        let queued = state.delivery.oldest(slot).map(|message| (&message.topic, message.moment));
        let held = state.pacing.oldest(slot).map(|message| (&message.topic, message.moment));
        let oldest = [queued, held].into_iter().flatten().min_by_key(|&(_, moment)| moment);
        Some(SessionView {
            id: connection.id(),
            user: self.user(slot),
            address: connection.address(),
            dialect: state.delivery.variant(slot)?.dialect,
            outbox_bytes: state.owed_bytes(slot),
            oldest: oldest.map(|(topic, moment)| (topic.clone(), state.env.now.since(moment))),
        })
    }

    fn user(&self, slot: u32) -> Option<Arc<str>> {
        self.readings.get(slot)?.reader.as_ref()?.user()
    }

    /// Where the rules in force turn presence on and `former` had it off, whoever is subscribed by name is there from now on.
    fn enter_presence(&self, former: &Rules) {
        let ShardState { table, delivery, env, .. } = &self.state;
        let rules = &env.config.rules;
        if rules == former || !rules.iter().any(|rule| rule.presence) {
            return;
        }
        let turned_on = |topic: &TopicName| rules.of(topic).presence && !former.of(topic).presence;
        for (slot, connection) in table.open() {
            let member = Member { session: connection.id(), user: self.user(slot) };
            let names = delivery.subscribers.of(slot).iter().filter_map(|subscription| subscription.pattern().as_name());
            names.filter(turned_on).for_each(|topic| env.hub().enter(&topic, &member));
        }
    }
}
