//! From an HTTP request to the session of a stream (PROTOCOL sections 10 and 11): the checks, and the head of the 200.

mod accept_header;
mod emulated;
mod grant;
mod head;
mod kind;
mod refusal;
mod transport;

pub use emulated::EmulatedStreams;
pub use grant::Streams;
pub use head::head_alone;
pub use kind::StreamKind;
pub use refusal::answer as refusal;
pub use transport::{EmulatedTransport, wire_of_body};
