//! The load test of Belfry: offers load at scheduled times, checks every delivery, and reports what it cost.
//!
//! A module imports from lower layers, or from siblings below it. A folder's `mod.rs` is its public face.
//!
//! | layer | modules |
//! |---|---|
//! | 6 | [`cli`] |
//! | 5 | [`compare`], [`diff`] |
//! | 4 | [`scenario`] |
//! | 3 | [`report`], [`launch`], [`baseline`] |
//! | 2 | [`engine`], [`plan`] |
//! | 1 | [`wire`], [`measure`] |
//! | 0 | [`clock`], [`named`], [`stamp`], [`sequence`] |
//!
//! The way of a delivery: `engine/event_loop.rs` `read` (one read into the shared buffer) → `engine/receive.rs` (frame
//! heads; the chunks of a stream in `engine/chunks.rs`) → `engine/message.rs` → `engine/accounting/ledger.rs` `deliver`
//! → `stamp.rs` (stream, sequence and time, from the payload) → `sequence.rs` (loss, duplicates, order) →
//! `measure/latency.rs`.

pub mod baseline;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod diff;
pub mod engine;
pub mod launch;
pub mod measure;
pub mod named;
pub mod plan;
pub mod report;
pub mod scenario;
pub mod sequence;
pub mod stamp;
pub mod wire;
