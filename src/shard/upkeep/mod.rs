//! Upkeep: what is due for sessions without their doing, and how they leave a gateway that drains.

mod budget;
mod drain;
mod sweep;

pub use budget::{bound_held, bound_notes, keep_budget};
pub use drain::Drain;
pub use sweep::{act_on, due_for, sweep_interval};
