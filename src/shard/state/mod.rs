//! The state of a shard, and the operations on a session that touch several parts of it.

mod history_shares;
mod shard_state;
mod subscription_changes;

pub use shard_state::ShardState;
