//! The sessions of a shard: its state, and the reading side of each session by slot.

use std::sync::Arc;
use std::task::Poll;

use tokio::net::TcpStream;

use super::context::SessionContext;
use super::delivery::{FrameKind, Queued};
use super::env::ShardParts;
use super::intake::{Admitted, Arrived, NewSession};
use super::reader::Reader;
use super::reading::{Reading, Readings};
use super::slot::{Connection, InputWait, Socket};
use super::state::ShardState;
use super::upkeep::{Drain, act_on, due_for};
use crate::codes::CloseCode;
use crate::dialect::Event;
use crate::frame::Inflater;
use crate::metrics::{CloseReason, LimitKey};
use crate::session_id::{SessionId, SessionSecret};

/// The most reads of one socket in a tick. Under TLS, one read returns one record of at most 16 KiB.
const READS_PER_TICK: usize = 4;

/// One shard's sessions.
pub struct Sessions {
    /// All state of the sessions except their readers.
    pub state: ShardState,
    /// The reading sides of open sessions.
    readings: Readings,
    inflater: Inflater,
    ready: Vec<u32>,
    /// Set once the gateway drains. A session that begins from then on is told so and closed too.
    draining: Option<Drain>,
}

/// The result of one read of a socket.
enum ReadOn {
    /// The socket may have more bytes.
    More,
    /// The socket has no more bytes now, or the session does not read on.
    Enough,
}

impl Sessions {
    /// A shard without sessions.
    pub fn new(parts: ShardParts) -> Self {
        let state = ShardState::new(parts);
        Self { readings: Readings::new(state.env.input_account()), state, inflater: Inflater::default(), ready: Vec::new(), draining: None }
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

    /// Adopts the configuration in force if it has changed, and has every reader follow it.
    pub fn follow_config(&mut self) {
        let Some(former) = self.state.env.follow_config() else { return };
        self.state.delivery.follow_config(&self.state.env.config);
        for slot in self.state.table.open_slots() {
            self.call(slot, |reader, context, _| reader.on_reload(context));
        }
        self.enter_presence(&former.rules);
    }

    /// Visits every session once and does what is due for it: deadlines, heartbeats, time-outs, closes.
    pub fn sweep(&mut self) {
        for slot in 0..self.state.table.end() {
            let now = self.state.env.now;
            // A deadline does not replace the ping: a client can cause deadlines without end.
            if self.state.table.get_mut(slot).is_some_and(|connection| connection.liveness().take_deadline(now)) {
                self.call(slot, |reader, context, _| reader.on_deadline(context));
            }
            due_for(&self.state, slot).into_iter().for_each(|found| act_on(&mut self.state, slot, found));
        }
        let env = &mut self.state.env;
        self.state.delivery.outgoing.give_up_aged(env.now, &mut env.tally);
        self.state.delivery.sweep_references(&mut env.tally);
        self.state.delivery.forget_lapses(env.now);
    }

    /// Tells each reader about its subscriptions that have ended because messages were lost.
    pub fn tell_lapsed(&mut self) {
        for (slot, topic) in std::mem::take(&mut self.state.lapsed) {
            self.call(slot, |reader, context, _| reader.on_lapse(&topic, context));
        }
    }

    /// Reads the sockets of the scheduled and woken slots.
    pub fn read_ready(&mut self, buffer: &mut [u8]) {
        let mut ready = std::mem::take(&mut self.ready);
        self.state.table.take_ready(&mut ready);
        for slot in ready.drain(..) {
            // Answers are written before the session's next commands are read, so the commands cannot grow its chain.
            // A fresh socket is written to before it is read, because the first read registers the socket.
            let ShardState { table, delivery, .. } = &mut self.state;
            if table.get(slot).is_some_and(Connection::is_fresh) && !delivery.owes_nothing(slot) || delivery.owes_answers(slot) {
                table.schedule(slot);
                continue;
            }
            self.read_and_write(slot, buffer);
        }
        self.ready = ready;
    }

    fn read_and_write(&mut self, slot: u32, buffer: &mut [u8]) {
        self.read(slot, buffer);
        // If the write batch has frames for the session, the flush writes these before the outbox.
        if self.state.delivery.owes_nothing(slot) {
            self.state.write_outbox(slot);
        }
    }

    /// Runs the slices of long commands, one session after the other.
    pub fn run_slices(&mut self, buffer: &mut [u8]) {
        for _ in 0..self.state.slices.len() {
            let Some(slot) = self.state.slices.next() else { return };
            if self.state.table.is_open(slot) {
                self.read_and_write(slot, buffer);
            }
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
        self.state.env.tally.show_input_bytes(self.readings.input_bytes());
    }

    /// The bytes that were read for a session and that its reader has not used.
    #[cfg(test)]
    pub fn unread(&self, slot: u32) -> &[u8] {
        self.readings.get(slot).map_or(&[], |reading| &reading.unread)
    }

    fn enter(&mut self, session: NewSession) -> u32 {
        let NewSession { id, address, encoding, reader, permit, .. } = session;
        let ShardState { table, delivery, env, .. } = &mut self.state;
        let slot = table.add(|waker| Connection::new(id, address, permit, waker, env.now));
        delivery.outgoing.open(slot, encoding);
        self.readings.open(slot, reader);
        env.occupy();
        env.tally.session_opened();
        slot
    }

    fn open(&mut self, slot: u32) {
        // The reader may begin with commands. Their replies are counted from zero, and a command may have to wait.
        self.state.delivery.begin_reading();
        self.call(slot, |reader, context, _| reader.on_open(context));
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

    /// Attaches a session's socket and copies the bytes read ahead. The copy releases the large buffer that held them.
    fn attach(&mut self, slot: u32, socket: Socket, read_ahead: &[u8]) {
        let (Some(connection), Some(reading)) = (self.state.table.get_mut(slot), self.readings.get_mut(slot)) else { return };
        connection.attach(socket);
        connection.set_input_wait(InputWait::Nothing.with_unread(read_ahead), self.state.env.now);
        reading.unread = read_ahead.to_vec();
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

    /// Reads one session's socket, with a few reads of at most a buffer each.
    fn read(&mut self, slot: u32, buffer: &mut [u8]) {
        self.state.delivery.begin_reading();
        self.read_socket(slot, buffer);
        self.count_input(slot);
    }

    /// Updates the count of the session's input. Closes the session if its address would hold too many unfinished
    /// bytes.
    fn count_input(&mut self, slot: u32) {
        let Some(connection) = self.state.table.get(slot) else { return };
        let fits = self.readings.count(slot, connection.address().ip(), &self.state.env.config.limits);
        if !fits && connection.is_open() {
            let reason = "messages from this address that are not whole hold as much as limits.unfinished_bytes_per_address allows";
            self.state.env.tally.limit_hit(LimitKey::UnfinishedBytesPerAddress);
            self.state.close(slot, CloseCode::TryAgainLater, reason, CloseReason::TooFull);
        }
    }

    fn read_socket(&mut self, slot: u32, buffer: &mut [u8]) {
        if !self.read_unread(slot) {
            return;
        }
        // A short read tells the runtime that the socket is empty. The next poll needs no system call to register the
        // waker.
        for _ in 0..READS_PER_TICK {
            if let ReadOn::Enough = self.read_once(slot, buffer) {
                return;
            }
        }
        self.state.table.schedule(slot);
    }

    /// Calls the reader with the bytes that it has not used. Returns `false` if the socket is not to be read now.
    fn read_unread(&mut self, slot: u32) -> bool {
        if !self.state.table.is_open(slot) {
            return true;
        }
        let is_called = |reading: &&mut Reading| reading.waits != InputWait::Nothing || reading.awaits_engine || !reading.unread.is_empty();
        let Some(reading) = self.readings.get_mut(slot).filter(is_called) else { return true };
        let mut unread = std::mem::take(&mut reading.unread);
        let used = self.read_input(slot, &mut unread);
        unread.drain(..used);
        self.keep_unread(slot, unread)
    }

    /// Keeps the bytes that a session's reader did not use. Returns `true` if none are left and no command waits.
    fn keep_unread(&mut self, slot: u32, unread: Vec<u8>) -> bool {
        let now = self.state.env.now;
        let Some(connection) = self.state.table.get_mut(slot).filter(|connection| connection.is_open()) else { return false };
        let Some(reading) = self.readings.get_mut(slot) else { return false };
        let wait = reading.waits.with_unread(&unread);
        connection.set_input_wait(wait, now);
        reading.unread = if unread.is_empty() { Vec::new() } else { unread }; // an idle session keeps no allocation
        wait == InputWait::Nothing
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
        connection.liveness().note_activity(now);
        let is_open = connection.is_open();
        self.state.env.tally.received_bytes(read as u64);
        if !is_open {
            return ReadOn::More; // input after our Close is discarded
        }
        let used = self.read_input(slot, &mut buffer[..read]);
        let waits = self.readings.get(slot).is_some_and(|reading| reading.waits != InputWait::Nothing);
        if (used < read || waits) && self.state.table.is_open(slot) {
            self.keep_unread(slot, buffer[used..read].to_vec());
            return ReadOn::Enough;
        }
        if read == buffer.len() {
            self.state.table.schedule(slot);
            return ReadOn::Enough;
        }
        ReadOn::More
    }

    fn read_input(&mut self, slot: u32, input: &mut [u8]) -> usize {
        if let Some(reading) = self.readings.get_mut(slot) {
            (reading.waits, reading.awaits_engine) = (InputWait::Nothing, false); // the reader repeats what waits
        }
        self.call(slot, |reader, context, inflater| reader.read(input, inflater, context)).unwrap_or(input.len())
    }

    /// Calls the session's reader. Returns the result of `act`; `None` if the reader is being called or missing.
    pub fn call<R>(&mut self, slot: u32, act: impl FnOnce(&mut dyn Reader, &mut SessionContext<'_>, &mut Inflater) -> R) -> Option<R> {
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

    /// The session's user.
    pub fn user(&self, slot: u32) -> Option<Arc<str>> {
        self.reader(slot)?.user()
    }

    /// The session's reader; `None` while it is being called.
    pub fn reader(&self, slot: u32) -> Option<&dyn Reader> {
        self.readings.get(slot)?.reader.as_deref()
    }
}
