//! The sessions of a shard with their readers.

mod reading;
mod requests;
mod shard_sessions;
mod socket_reading;

pub use shard_sessions::Sessions;
