//! Upkeep: timed work for sessions, memory bounds, and the drain.

mod budget;
mod drain;
mod sweep;

pub use budget::{bound_bookkeeping, bound_outboxes, bound_paced};
pub use drain::Drain;
pub use sweep::{act_on, due_for, sweep_interval};
