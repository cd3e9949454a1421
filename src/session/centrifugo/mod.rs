//! Sessions of Centrifugo's protocol.

mod asking;
mod beginning;
mod commands;
mod held;
mod label;
mod orders;
mod over_requests;
mod over_websocket;
mod pending;
mod refusal;
mod spoken_for;
mod subscribing;

pub use commands::Centrifugo;
pub use over_requests::{Emulated, emulate};
pub use over_websocket::OverWebSocket;
pub use spoken_for::Addressed;
