//! The load test of Belfry: it offers load at scheduled times, checks every delivery, and tells what it cost.
//!
//! Floors, a file imports from lower ones: 6 `cli` · 5 `compare` · 4 `scenario`, `report` · 3 `preset` on `gateway` · 2 `engine`, `floor` · 1 `wire`, `measure` ·
//! 0 `clock`, `stamp`, `check`.
//!
//! The walk of a delivery: `engine/mod.rs` `read` (one read into the one buffer) → `engine/intake.rs` (frame heads alone) →
//! `stamp.rs` (who, which, when, from the payload) → `check.rs` (loss, duplicate, order) → `measure/latency.rs`.

pub mod check;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod engine;
pub mod floor;
pub mod gateway;
pub mod measure;
pub mod preset;
pub mod report;
pub mod scenario;
pub mod stamp;
pub mod wire;
