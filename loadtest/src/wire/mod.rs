//! The bytes on the socket: HTTP, WebSocket frames, compression, and the dialects of servers.

pub mod dialect;
pub mod frame;
pub mod http;
pub mod inflate;

pub use dialect::{Dialect, Reply, SubscribedTopic};
pub use frame::{Head, Opcode};
pub use http::{Deflate, Tls};
pub use inflate::{Inflater, Window};
