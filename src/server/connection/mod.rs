//! One connection: TCP, TLS, deadlines, and HTTP/1.1, until it ends or becomes a session.

mod framing;
mod http;
mod progress;
mod tcp;
mod timed_stream;
mod tls;

pub use http::Http;
pub use progress::Progress;
pub use tcp::{Accepting, Tcp};
pub use timed_stream::{TimedStream, Transport};
pub use tls::{TlsInForce, read as read_certificate};
