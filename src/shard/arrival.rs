//! How a session gets into its shard: out of its lobby, or from elsewhere, seated before its socket or with it.

use tokio::net::TcpStream;

use super::newcomer::{Arrived, Newcomer};
use super::outbox::{Outbox, Queued, What};
use super::pass::Chain;
use super::ready::SlotWaker;
use super::sessions::Sessions;
use super::slot::{Slot, Stage};
use super::socket::Socket;
use crate::metrics::CloseReason;
use crate::session_id::SessionId;

impl Sessions {
    /// Takes a newcomer over whose socket the runtime of this thread knows, and what it has said already. Its 101 goes out
    /// first; until then nothing may happen that could discard it.
    pub fn admit(&mut self, newcomer: Newcomer, tcp: TcpStream, head: Vec<u8>, unread: &[u8]) {
        let place = self.take_in(newcomer);
        if let Some(session) = self.slot(place) {
            session.socket = Socket::Plain(tcp);
            session.unread = unread.to_vec();
        }
        self.again.push(place); // its waker is to be known to the socket
        self.queue(place, Queued { frame: head.into(), what: What::Reply });
        self.open(place);
    }

    /// Takes a newcomer over whose socket follows.
    pub fn expect(&mut self, newcomer: Newcomer) {
        let id = newcomer.id;
        let place = self.take_in(newcomer);
        self.expected.insert(id, place);
        self.open(place);
    }

    /// Takes a newcomer over, with its socket.
    pub fn seat(&mut self, newcomer: Newcomer, arrived: Arrived) {
        let place = self.take_in(newcomer);
        if self.land(place, arrived) {
            self.open(place);
        }
    }

    fn take_in(&mut self, newcomer: Newcomer) -> u32 {
        let Newcomer { id, address, variant, reader, permit, .. } = newcomer;
        let place = self.slots.seat(|place| Slot {
            id,
            address,
            variant,
            socket: Socket::Expected,
            waker: SlotWaker::new(place, &self.ready),
            reader: Some(reader),
            chain: Chain::default(),
            outbox: None,
            unread: Vec::new(),
            paused: false,
            awaits_history: false,
            subscriptions: Vec::new(),
            replays: None,
            paces: None,
            stamp: 0,
            stage: Stage::Open,
            heard_at: self.now,
            pinged_at: self.now,
            deadline: None,
            leaves_at: None,
            permit: Some(permit),
        });
        self.open += 1;
        self.inbox.occupy();
        self.tally.session_opened();
        place
    }

    fn open(&mut self, place: u32) {
        self.call(place, |reader, seat| reader.open(seat));
        self.send_away(place);
    }

    /// An expected session's socket is here.
    pub fn arrive(&mut self, id: SessionId, arrived: Arrived) {
        let Some(place) = self.expected.remove(&id) else { return };
        if self.slot(place).is_some_and(|session| session.id == id) {
            self.land(place, arrived);
        }
    }

    /// Gives a session its socket; what its client has sent already is read in the next turn. `false`: it can't be used.
    fn land(&mut self, place: u32, arrived: Arrived) -> bool {
        let Some(session) = self.slot(place) else { return false };
        match Socket::new(arrived.stream) {
            Ok(socket) => {
                session.socket = socket;
                // A copy: the bytes lie in the 8 KiB that the head was read into, which would stay with the session.
                session.unread = arrived.already_read.to_vec();
                self.again.push(place);
                self.say_first(place, arrived.head);
                true
            }
            Err(error) => {
                tracing::warn!(session = %session.id, %error, "a new session's socket can't be used");
                self.end(place, CloseReason::Gone);
                false
            }
        }
    }

    /// Puts the 101 before everything that the session has been told while its socket was on its way. What waits goes out with it
    /// at once: an outbox that overflows later is discarded, and the 101 must not be.
    fn say_first(&mut self, slot: u32, head: Vec<u8>) {
        let now = self.now;
        let Self { slots, tally, backlogged, .. } = self;
        let Some(session) = slots.get_mut(slot) else { return };
        if session.outbox.is_none() && session.chain.is_empty() {
            return self.queue(slot, Queued { frame: head.into(), what: What::Reply });
        }
        let outbox = session.outbox.get_or_insert_with(|| {
            backlogged.insert(slot);
            Box::new(Outbox::new(now))
        });
        outbox.push_first(head.into(), tally);
        self.drain_outbox(slot);
    }

    /// An expected session's client has gone.
    pub fn forsake(&mut self, id: SessionId) {
        let Some(place) = self.expected.remove(&id) else { return };
        if self.slot(place).is_some_and(|session| session.id == id) {
            self.end(place, CloseReason::Gone);
        }
    }
}
