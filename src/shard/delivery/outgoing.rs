//! The sessions that a shard writes to: each with its encoding, its links into the write batch, and an outbox if its
//! socket is full.

use std::collections::BTreeSet;
use std::time::Duration;

use foldhash::HashSet;

use super::outbox::{Outbox, QueuedMessage};
use super::write_batch::{Chain, ClientWindow};
use crate::clock::Moment;
use crate::dialect::Encoding;
use crate::metrics::Tally;
use crate::shard::slot::SlotMap;
use crate::topic_name::TopicName;

/// The frames that one session is owed.
pub struct Outgoing {
    /// The encoding of the session's frames.
    pub encoding: Encoding,
    /// The session's frames in the write batch.
    pub chain: Chain,
    /// The frames that the session's socket has not accepted.
    pub outbox: Option<Box<Outbox>>,
    /// The messages in the client's deflate window that later ones may refer to. Known only while there is no outbox.
    pub window: ClientWindow,
    /// The number, in this shard, of the message that the session was given last.
    pub last_item: u64,
    /// Whether the session may have a replay or paced topics. The fan-out then hands it messages one by one
    /// (`fan_out.rs`).
    pub needs_slow_path: bool,
}

/// The outgoing sides of a shard's sessions.
#[derive(Default)]
pub struct OutgoingTable {
    by_slot: SlotMap<Outgoing>,
    /// Slots with an outbox.
    backlogged: BTreeSet<u32>,
}

impl OutgoingTable {
    /// Begins a session with `encoding` in `slot`.
    pub fn open(&mut self, slot: u32, encoding: Encoding) {
        let (chain, window) = (Chain::default(), ClientWindow::default());
        self.by_slot.put(slot, Outgoing { encoding, chain, outbox: None, window, last_item: 0, needs_slow_path: false });
    }

    /// Removes the session in `slot`. Returns its outbox, if it has one.
    pub(super) fn end(&mut self, slot: u32) -> Option<Box<Outbox>> {
        self.backlogged.remove(&slot);
        self.by_slot.take(slot)?.outbox
    }

    /// The outgoing side of the session in `slot`.
    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&Outgoing> {
        self.by_slot.get(slot)
    }

    /// The outgoing side of the session in `slot`.
    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Outgoing> {
        self.by_slot.get_mut(slot)
    }

    /// The encoding of the frames of the session in `slot`.
    pub fn encoding(&self, slot: u32) -> Option<Encoding> {
        self.get(slot).map(|outgoing| outgoing.encoding)
    }

    /// Has the fan-out take the slow path for the session in `slot`, which has a replay or paced topics.
    pub fn use_slow_path(&mut self, slot: u32) {
        if let Some(outgoing) = self.get_mut(slot) {
            outgoing.needs_slow_path = true;
        }
    }

    /// The outbox of the session in `slot`, if it has one.
    pub(super) fn outbox(&self, slot: u32) -> Option<&Outbox> {
        self.get(slot)?.outbox.as_deref()
    }

    /// The outbox of the session in `slot`, if it has one.
    pub(super) fn outbox_mut(&mut self, slot: u32) -> Option<&mut Outbox> {
        self.get_mut(slot)?.outbox.as_deref_mut()
    }

    /// The outbox of the session in `slot`, created if there is none.
    pub(super) fn outbox_or_new(&mut self, slot: u32, now: Moment) -> Option<&mut Outbox> {
        let Self { by_slot, backlogged } = self;
        Some(by_slot.get_mut(slot)?.outbox.get_or_insert_with(|| {
            backlogged.insert(slot);
            Box::new(Outbox::new(now))
        }))
    }

    /// Removes the outbox of the session in `slot`, which is done.
    pub(super) fn end_outbox(&mut self, slot: u32) {
        self.backlogged.remove(&slot);
        if let Some(outgoing) = self.get_mut(slot) {
            outgoing.outbox = None;
        }
    }

    /// The slots with an outbox.
    pub fn backlogged(&self) -> impl Iterator<Item = u32> {
        self.backlogged.iter().copied()
    }

    /// Whether the session in `slot` has an outbox.
    pub fn is_backlogged(&self, slot: u32) -> bool {
        self.outbox(slot).is_some()
    }

    /// Whether frames wait for the socket of the session in `slot`.
    pub fn is_slow(&self, slot: u32) -> bool {
        self.outbox(slot).is_some_and(|outbox| !outbox.is_empty())
    }

    /// The bytes in the outbox of the session in `slot` that count against `limits.outbox_bytes`. Replies and replayed
    /// messages do not count.
    pub fn counted_bytes(&self, slot: u32) -> usize {
        self.outbox(slot).map_or(0, |outbox| outbox.account().counted_bytes)
    }

    /// The bytes in the outbox of the session in `slot`.
    pub fn outbox_bytes(&self, slot: u32) -> usize {
        self.outbox(slot).map_or(0, Outbox::bytes)
    }

    /// The bytes of the gaps that sessions are still to be told.
    pub fn gap_bytes(&self) -> usize {
        self.backlogged().filter_map(|slot| self.outbox(slot)).map(Outbox::gap_bytes).sum()
    }

    /// The oldest message in the outbox of the session in `slot`.
    pub fn oldest(&self, slot: u32) -> Option<&QueuedMessage> {
        self.outbox(slot)?.oldest().map(|message| &**message)
    }

    /// Whether a heartbeat for the session in `slot` is still in its outbox.
    pub fn ping_waits(&self, slot: u32) -> bool {
        self.outbox(slot).is_some_and(Outbox::has_ping)
    }

    /// How long the socket of the session in `slot` has accepted nothing while frames wait; `None`: no frame waits.
    pub fn stuck_for(&self, slot: u32, now: Moment) -> Option<Duration> {
        self.outbox(slot).filter(|outbox| !outbox.is_empty()).map(|outbox| now.since(outbox.moved_at()))
    }

    /// Drops the messages of `topics` in the outbox of the session in `slot`.
    pub fn drop_topics(&mut self, slot: u32, topics: &HashSet<TopicName>, tally: &mut Tally) {
        if let Some(outbox) = self.outbox_mut(slot) {
            outbox.drop_topics(topics, tally);
        }
    }

    /// Gives up the messages in all outboxes that are older than their rule allows.
    pub fn end_aged(&mut self, now: Moment, tally: &mut Tally) {
        let Self { by_slot, backlogged } = self;
        for &slot in &*backlogged {
            if let Some(outbox) = by_slot.get_mut(slot).and_then(|outgoing| outgoing.outbox.as_mut()) {
                outbox.end_aged(now, tally);
            }
        }
    }
}
