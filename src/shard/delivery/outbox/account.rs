//! The bytes that wait in an outbox.

use super::queued::Queued;
use crate::metrics::Tally;

/// The bytes of one outbox.
#[derive(Default)]
pub struct Account {
    /// Of messages and presence; the bound is for these.
    counted_bytes: usize,
    /// How many these are.
    counted: usize,
    /// Of replies, echoes and replayed messages.
    uncounted_bytes: usize,
}

impl Account {
    /// All bytes that wait.
    pub fn bytes(&self) -> usize {
        self.counted_bytes + self.uncounted_bytes
    }

    /// The bytes that count against the bound.
    pub fn counted_bytes(&self) -> usize {
        self.counted_bytes
    }

    /// How many frames count against the bound.
    pub fn counted(&self) -> usize {
        self.counted
    }

    /// The bytes of replies, echoes and replayed messages.
    pub fn uncounted_bytes(&self) -> usize {
        self.uncounted_bytes
    }

    /// Whether what counts fits into `bytes_max`. One frame may be of any size.
    pub fn fits(&self, bytes_max: usize) -> bool {
        self.counted_bytes <= bytes_max || self.counted <= 1
    }

    /// A frame was queued.
    pub fn add(&mut self, queued: &Queued, tally: &mut Tally) {
        let bytes = queued.frame.len();
        match queued.is_counted() {
            true => (self.counted_bytes, self.counted) = (self.counted_bytes + bytes, self.counted + 1),
            false => self.uncounted_bytes += bytes,
        }
        tally.outbox_bytes(bytes as i64);
    }

    /// A frame has left the queue.
    pub fn remove(&mut self, queued: &Queued, tally: &mut Tally) {
        let bytes = queued.frame.len();
        match queued.is_counted() {
            true => (self.counted_bytes, self.counted) = (self.counted_bytes - bytes, self.counted - 1),
            false => self.uncounted_bytes -= bytes,
        }
        tally.outbox_bytes(-(bytes as i64));
    }
}
