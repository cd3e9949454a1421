//! What the client's deflate window has to know of the frames that left an outbox.

use super::queued::Queued;

/// Counts of the frames that have left an outbox, for the client's deflate window.
#[derive(Debug, Default)]
pub struct WrittenCounts {
    /// The number of bytes that the frames inflate to.
    pub inflated_bytes: u64,
    /// The number of live messages that might have referred to earlier ones if they had not waited.
    pub unreferred: u64,
}

impl WrittenCounts {
    /// Counts a frame that was written completely.
    pub fn note(&mut self, queued: &Queued) {
        self.inflated_bytes += u64::from(queued.frame.inflated_bytes());
        self.unreferred += u64::from(queued.is_unreferred());
    }
}
