//! Delivery: from a message that has its position to the sockets of all who take it.

mod coalescing;
mod fan_out;
mod flush;
mod joined;
mod outbox;
mod outgoing;
mod subscribers;
mod subscriptions;
#[cfg(test)]
mod tests;
mod write_batch;

pub use coalescing::{CoalescingTimer, flushes_whole, pause_after};
pub use flush::Written;
pub use outbox::{Offered, Queued, What};
pub use outgoing::Delivery;
pub use subscriptions::SubscriptionOptions;
