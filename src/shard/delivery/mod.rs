//! Delivery: the way of a message with a position to the sockets of its subscribers.

mod coalescing;
mod ended_outboxes;
mod fan_out;
mod flush;
mod lapses;
mod outbox;
mod outgoing;
mod presence_queue;
mod shard_delivery;
mod subscribers;
#[cfg(test)]
mod tests;
mod write_batch;

pub use coalescing::{CoalescingTimer, flushes_whole, pause_after};
pub use ended_outboxes::EndedOutboxes;
pub use flush::{Overflow, Written};
pub use outbox::{FrameKind, Offered, Queued};
pub use presence_queue::PresenceQueue;
pub use shard_delivery::Delivery;
pub use subscribers::Ended;
#[cfg(test)]
pub use write_batch::PLANTED;
