//! WebSocket frames (RFC 6455) and permessage-deflate (RFC 7692), on buffers that the caller owns.

mod accept;
mod assembly;
mod close;
mod deflate;
mod head;
mod reader;
mod violation;

pub use accept::accept_key;
pub use close::close_frame;
#[cfg(test)]
pub(crate) use deflate::exact_inflater;
pub use deflate::{Agreement, Deflater, Inflater, ParsedMessage, REFERENCE_BYTES_MAX, ReferenceParser, ServerWindow, negotiate};
pub use head::{HEAD_BYTES_MAX, control_frame, server_head, write_head};
pub use reader::{FrameReader, Received};
pub use violation::Violation;

pub use fastwebsockets::OpCode;
