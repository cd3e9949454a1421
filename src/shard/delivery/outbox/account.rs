//! The byte counts of an outbox.

use super::queued::Queued;
use crate::metrics::{Gauge, Tally};

/// The byte counts of one outbox.
#[derive(Default)]
pub struct Account {
    /// The bytes of messages and changes of presence. The bound applies to these.
    pub counted_bytes: usize,
    /// The number of frames that the bound applies to.
    pub counted: usize,
    /// The bytes of replies, echoes and replayed messages.
    pub uncounted_bytes: usize,
}

impl Account {
    /// The bytes of all frames.
    pub fn bytes(&self) -> usize {
        self.counted_bytes + self.uncounted_bytes
    }

    /// Whether the counted bytes fit into `bytes_max`. A single frame may have any size.
    pub fn fits(&self, bytes_max: usize) -> bool {
        self.counted_bytes <= bytes_max || self.counted <= 1
    }

    /// Counts a frame that was queued.
    pub fn add(&mut self, queued: &Queued, tally: &mut Tally) {
        let bytes = queued.bytes();
        match queued.is_counted() {
            true => (self.counted_bytes, self.counted) = (self.counted_bytes + bytes, self.counted + 1),
            false => self.uncounted_bytes += bytes,
        }
        tally.add(Gauge::OutboxBytes, bytes as i64);
    }

    /// Subtracts a frame that has left the queue.
    pub fn remove(&mut self, queued: &Queued, tally: &mut Tally) {
        let bytes = queued.bytes();
        match queued.is_counted() {
            true => (self.counted_bytes, self.counted) = (self.counted_bytes - bytes, self.counted - 1),
            false => self.uncounted_bytes -= bytes,
        }
        tally.add(Gauge::OutboxBytes, -(bytes as i64));
    }
}
