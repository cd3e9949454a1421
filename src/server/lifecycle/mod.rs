//! The life of the gateway: preflight, signals, reloads, drain, and the hand-over of topics.

mod drain;
mod handover;
mod preflight;
mod reload;
mod run_key;
mod signals;
mod summary;
mod supervisor;
#[cfg(test)]
mod testing;

pub use drain::{drain, drain_time};
pub use handover::Handover;
pub use preflight::{Preflighted, preflight};
pub use reload::Reload;
pub use run_key::{run_key, with_key};
pub use signals::{SignalAction, Signals};
pub use summary::summary;
pub use supervisor::{Notifier, Supervisor};
