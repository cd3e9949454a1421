//! Delivery: the way of a message with a position to the sockets of its subscribers.

mod chain_bytes;
mod client_window;
mod coalescing;
mod ended_outboxes;
mod ended_subscriptions;
mod fan_out;
mod flush;
mod lapses;
mod name_map;
mod outbox;
mod outgoing;
mod presence_queue;
mod shard_delivery;
mod subscribers;
mod subscriptions;
#[cfg(test)]
mod tests;
mod watchers;
mod window_use;
mod write_batch;

#[cfg(test)]
pub use client_window::PLANTED;
pub use coalescing::{CoalescingTimer, flushes_whole, pause_after};
pub use ended_outboxes::EndedOutboxes;
pub use flush::{Overflow, Written};
pub use outbox::{FrameKind, Offered, Queued};
pub use presence_queue::PresenceQueue;
pub use shard_delivery::Delivery;
pub use subscribers::Ended;
