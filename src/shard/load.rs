//! How much one shard has taken on, where other threads can see it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts of one shard: what its inbox was ever given, and whom it has.
#[derive(Debug, Default)]
pub struct Load {
    /// All items that were ever pushed into its inbox.
    pushed: AtomicU64,
    /// Its sessions and pending connections, by which new connections are spread.
    occupied: AtomicUsize,
    /// Bytes that wait in its outboxes, as they were last counted.
    outbox_bytes: AtomicUsize,
    /// Control items in its inbox.
    controls: AtomicUsize,
}

impl Load {
    /// An item was pushed. Called under the inbox's lock, so whoever has seen a message in its topic sees it counted here.
    pub fn push(&self) {
        self.pushed.fetch_add(1, Ordering::Release);
    }

    /// How many items were ever pushed; what comes later has a higher number.
    pub fn pushed(&self) -> u64 {
        self.pushed.load(Ordering::Acquire)
    }

    /// Its inbox has a control item more.
    pub fn push_control(&self) {
        self.controls.fetch_add(1, Ordering::Relaxed);
    }

    /// Its inbox has one less.
    pub fn take_control(&self) {
        self.controls.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many control items its inbox has.
    pub fn controls(&self) -> usize {
        self.controls.load(Ordering::Relaxed)
    }

    /// The shard has a session or a pending connection more.
    pub fn occupy(&self) {
        self.occupied.fetch_add(1, Ordering::Relaxed);
    }

    /// It has one less.
    pub fn vacate(&self) {
        self.occupied.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many sessions and pending connections it has.
    pub fn occupied(&self) -> usize {
        self.occupied.load(Ordering::Relaxed)
    }

    /// Its outboxes hold so many bytes.
    pub fn show_outbox_bytes(&self, bytes: usize) {
        self.outbox_bytes.store(bytes, Ordering::Relaxed);
    }

    /// How many bytes its outboxes held when they were last counted.
    pub fn outbox_bytes(&self) -> usize {
        self.outbox_bytes.load(Ordering::Relaxed)
    }
}
