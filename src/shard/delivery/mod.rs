//! Delivery: the way of a message with a position to the sockets of its subscribers.

mod by_name;
mod changes;
mod client_window;
mod coalescing;
mod departures;
mod ended_outboxes;
mod fan_out;
mod flush;
mod joined;
mod lapses;
mod outbox;
mod outgoing;
mod subscribers;
mod subscriptions;
#[cfg(test)]
mod tests;
mod watchers;
mod window_use;
mod write_batch;

pub use changes::Changes;
#[cfg(test)]
pub use client_window::PLANTED;
pub use coalescing::{CoalescingTimer, flushes_whole, pause_after};
pub use ended_outboxes::EndedOutboxes;
pub use flush::{Overflow, Written};
pub use outbox::{Offered, Queued, What};
pub use outgoing::Delivery;
pub use subscribers::Ended;
