//! The operations of a session in its shard, valid while its reader is called.

mod answer;
mod session_context;
mod sliced_commands;
mod subscriptions;

pub use answer::Answer;
pub use session_context::SessionContext;
pub use subscriptions::TopicStart;
