//! The state of a shard, and the operations on a session that touch several parts of it.

mod history_shares;
mod release_budget;
mod shard_state;
mod subscription_changes;
mod uncharged_work;

pub use shard_state::ShardState;
