//! The connections of a shard's sessions by slot, and the slots that are scheduled.

use std::sync::Arc;
use std::task::Waker;

use foldhash::{HashMap, HashSet};

use super::connection::Connection;
use super::ready::{ReadyList, SlotWaker};
use super::slot_map::SlotMap;
use super::turns::Turns;
use crate::clock::Moment;
use crate::session_id::SessionId;

/// A shard's connections.
#[derive(Default)]
pub struct Table {
    connections: SlotMap<Connection>,
    /// How many slots are in use.
    taken: usize,
    /// How many of these have an open session.
    open: usize,
    /// The first slot that was never used.
    unused_from: u32,
    free: Vec<u32>,
    /// Slots that become free at the end of the write batch. None is reused while the batch may still name it.
    freed: Vec<u32>,
    /// Slots that lists of subscribers still name. They are not reused, even if their connections were removed.
    held: HashSet<u32>,
    /// Sessions whose socket is on its way.
    expected: HashMap<SessionId, u32>,
    /// Slots that a socket has woken.
    ready: Arc<ReadyList>,
    /// Slots whose sessions are called in the next tick, although no socket woke them.
    scheduled: Vec<u32>,
    turns: Turns,
    /// Slots whose sessions have begun to close.
    closing: Vec<u32>,
}

impl Table {
    /// Adds the connection of an open session. `make` gets the waker of the slot. Returns the slot.
    pub fn add(&mut self, make: impl FnOnce(Arc<SlotWaker>) -> Connection) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.unused_from += 1;
            self.unused_from - 1
        });
        self.connections.put(slot, make(SlotWaker::new(slot, &self.ready)));
        self.taken += 1;
        self.open += 1;
        slot
    }

    /// The connection in `slot`, if there is one.
    pub fn get(&self, slot: u32) -> Option<&Connection> {
        self.connections.get(slot)
    }

    /// The connection in `slot`, if there is one.
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Connection> {
        self.connections.get_mut(slot)
    }

    /// Whether the session in `slot` takes messages.
    pub fn is_open(&self, slot: u32) -> bool {
        self.get(slot).is_some_and(Connection::is_open)
    }

    /// Notes that the session in `slot` has begun to close.
    pub fn note_closing(&mut self, slot: u32) {
        self.open -= 1;
        self.closing.push(slot);
    }

    /// Takes a slot whose session has begun to close since the last call.
    pub fn take_closing(&mut self) -> Option<u32> {
        self.closing.pop()
    }

    /// Removes a connection. Its slot may be reused after [`Table::free_slots`].
    pub fn remove(&mut self, slot: u32) -> Option<Connection> {
        let connection = self.connections.take(slot)?;
        self.taken -= 1;
        self.freed.push(slot);
        Some(connection)
    }

    /// Allows the reuse of the slots of removed connections, except held ones.
    pub fn free_slots(&mut self) {
        if self.held.is_empty() {
            return self.free.append(&mut self.freed);
        }
        self.free.extend(self.freed.extract_if(.., |slot| !self.held.contains(slot)));
    }

    /// Prevents the reuse of `slot` until [`Table::release_slot`].
    pub fn hold_slot(&mut self, slot: u32) {
        self.held.insert(slot);
    }

    /// Undoes [`Table::hold_slot`].
    pub fn release_slot(&mut self, slot: u32) {
        self.held.remove(&slot);
    }

    /// One more than the highest slot that has been used.
    pub fn end(&self) -> u32 {
        self.unused_from
    }

    /// Whether no connection is left.
    pub fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// How many sessions are open.
    pub fn open_sessions(&self) -> usize {
        self.open
    }

    /// The connections of open sessions with their slots, in ascending order.
    pub fn open(&self) -> impl Iterator<Item = (u32, &Connection)> {
        self.connections.iter().filter(|(_, connection)| connection.is_open())
    }

    /// The slots of open sessions.
    pub fn open_slots(&self) -> Vec<u32> {
        self.open().map(|(slot, _)| slot).collect()
    }

    /// Notes that the socket of the session in `slot` is on its way.
    pub fn expect(&mut self, slot: u32) {
        if let Some(connection) = self.connections.get(slot) {
            self.expected.insert(connection.id(), slot);
        }
    }

    /// Takes the expected session `id`. Returns its slot; `None`: no such session waits for its socket.
    pub fn take_expected(&mut self, id: SessionId) -> Option<u32> {
        let slot = self.expected.remove(&id)?;
        self.get(slot).is_some_and(|connection| connection.id() == id).then_some(slot)
    }

    /// Has the session in `slot` called in the next tick, although its socket did not wake it.
    pub fn schedule(&mut self, slot: u32) {
        self.scheduled.push(slot);
    }

    /// Whether a session is scheduled for the next tick, or waits for its turn to be read.
    pub fn has_more(&self) -> bool {
        !self.scheduled.is_empty() || !self.turns.is_empty()
    }

    /// Begins the reading of a tick: queues the slots that are scheduled or woken behind those that wait already.
    pub fn begin_turns(&mut self) {
        let mut slots = std::mem::take(&mut self.scheduled);
        self.ready.take(&mut slots);
        slots.sort_unstable();
        for slot in slots.drain(..) {
            let is_bulk = self.get(slot).is_some_and(Connection::is_bulk);
            self.turns.add(slot, is_bulk);
        }
        self.scheduled = slots;
        self.turns.begin_tick();
    }

    /// Notes a sign of life for each queued slot: its unread input may be one.
    pub fn note_queued_active(&mut self, now: Moment) {
        let Self { connections, turns, .. } = self;
        turns
            .queued()
            .for_each(|slot| connections.get_mut(slot).into_iter().for_each(|connection| connection.liveness().note_activity(now)));
    }

    /// The turns of the sessions that are to be read.
    pub fn turns(&mut self) -> &mut Turns {
        &mut self.turns
    }

    /// Whether a socket has woken its slot. If none has, the next one wakes `waker`.
    pub fn is_ready_or_wakes(&self, waker: &Waker) -> bool {
        self.ready.is_filled_or_wakes(waker)
    }
}
