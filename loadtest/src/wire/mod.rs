//! The bytes on the socket: the upgrade, frames, streams, dialects, and publishing over HTTP.

mod centrifugo_json;
mod centrifugo_protobuf;
pub mod dialect;
mod envelope;
pub mod frame;
mod http;
pub mod http_stream;
pub mod inflate;
mod json_reply;
pub mod publish_http;
pub mod reply;
mod server_sent;
pub mod tls;
pub mod upgrade;

pub use dialect::Dialect;
pub use frame::{Head, Opcode};
pub use inflate::{Inflater, Window};
pub use reply::{Reply, SubscribedTopic};
pub use upgrade::Deflate;
