//! The command line's client of a gateway: address, credential, TLS, WebSocket, events.

mod arguments;
mod backoff;
mod connect;
mod endpoint;
mod event;
mod frame;
mod tls;
mod websocket;

pub use arguments::{Gateway, GatewayArguments};
pub use backoff::Backoff;
pub use connect::ConnectError;
pub use event::{Event, Message, Since, Subscribe, SubscribedTopic, one_line, read_event};
pub use websocket::{Incoming, WebSocket, after_close, close_description};
