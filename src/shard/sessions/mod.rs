//! The sessions of a shard with their readers.

mod following;
mod reading;
mod requests;
mod shard_sessions;
mod socket_reading;

pub use shard_sessions::Sessions;
