//! The load test of Belfry: offers load at scheduled times, checks every delivery, and reports what it cost.
//!
//! A module imports from lower layers, or from siblings below it. A folder's `mod.rs` is its public face.
//!
//! | layer | modules |
//! |---|---|
//! | 6 | `cli` |
//! | 5 | `compare`, `diff` |
//! | 4 | `scenario` |
//! | 3 | `report`, `launch`, `baseline` |
//! | 2 | `engine`, `plan` |
//! | 1 | `wire`, `measure` |
//! | 0 | `clock`, `named`, `stamp`, `sequence` |
//!
//! The way of a delivery: `engine/event_loop.rs` `read` (one read into the shared buffer) → `engine/receive.rs` (frame
//! heads; the chunks of a stream in `engine/chunks.rs`) → `engine/message.rs` → `engine/accounting/ledger.rs` `deliver`
//! → `stamp.rs` (stream, sequence and time, from the payload) → `sequence.rs` (loss, duplicates, order) →
//! `measure/latency.rs`.

mod baseline;
pub mod cli;
mod clock;
mod compare;
mod diff;
mod engine;
mod launch;
mod measure;
mod named;
mod plan;
mod report;
mod scenario;
mod sequence;
mod stamp;
mod wire;

/// For the servers of the tests.
pub use wire::{frame::Opcode, frame::push_unmasked, http::upgrade::ACCEPT};
