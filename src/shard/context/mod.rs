//! The operations of a session in its shard, valid while its reader is called.

mod long_commands;
mod session_context;
mod subscriptions;

pub use long_commands::STEPS_PER_PART;
pub use session_context::SessionContext;
