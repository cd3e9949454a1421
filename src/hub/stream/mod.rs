//! Streams: topics for whose messages an engine outside of the gateway gives the order, the offsets and the storage.

mod engine;
mod life;
mod other_gateways;
mod receipt;

pub use engine::{Engine, EngineAttempt, StreamMessage};
pub use life::{StreamLife, Streams};
pub use other_gateways::OtherGateways;
pub use receipt::{AnswerSender, Receipt, Submitted};
