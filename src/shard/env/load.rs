//! The load of one shard, visible to other threads.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts of one shard's inbox, sessions and outboxes.
#[derive(Debug, Default)]
pub struct Load {
    /// The number of items that were ever pushed into its inbox.
    pushed: AtomicU64,
    /// Its sessions and pending connections. New connections go to the shard with the lowest number.
    occupied: AtomicUsize,
    /// Bytes in its outboxes, as of the last count.
    outbox_bytes: AtomicUsize,
    /// The number of control items in its inbox.
    controls: AtomicUsize,
}

impl Load {
    /// Counts a pushed item. The inbox calls this under its lock, so a thread that has seen a message in its topic also
    /// sees the message counted here.
    pub fn push(&self) {
        self.pushed.fetch_add(1, Ordering::Release);
    }

    /// The number of items that were ever pushed. Later items have higher numbers.
    pub fn pushed(&self) -> u64 {
        self.pushed.load(Ordering::Acquire)
    }

    /// Counts a control item that was put into the inbox.
    pub fn push_control(&self) {
        self.controls.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a control item that was taken from the inbox.
    pub fn take_control(&self) {
        self.controls.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number of control items in the inbox.
    pub fn controls(&self) -> usize {
        self.controls.load(Ordering::Relaxed)
    }

    /// Counts a session or a pending connection that begins.
    pub fn occupy(&self) {
        self.occupied.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a session or a pending connection that ends.
    pub fn vacate(&self) {
        self.occupied.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number of the shard's sessions and pending connections.
    pub fn occupied(&self) -> usize {
        self.occupied.load(Ordering::Relaxed)
    }

    /// Sets the bytes that the shard's outboxes hold.
    pub fn show_outbox_bytes(&self, bytes: usize) {
        self.outbox_bytes.store(bytes, Ordering::Relaxed);
    }

    /// The bytes that the shard's outboxes held when they were last counted.
    pub fn outbox_bytes(&self) -> usize {
        self.outbox_bytes.load(Ordering::Relaxed)
    }
}
