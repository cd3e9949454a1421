//! The bytes on the socket: frames, the upgrade, each dialect, and publishing over HTTP.

mod centrifugo;
pub mod dialect;
pub mod frame;
mod http;
pub mod inflate;
mod json_reply;
pub mod publish_http;
pub mod reply;
pub mod tls;
pub mod upgrade;

pub use dialect::Dialect;
pub use frame::{Head, Opcode};
pub use inflate::Inflater;
pub use reply::{Reply, SubscribedTopic};
