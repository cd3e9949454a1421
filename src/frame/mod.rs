//! WebSocket frames (RFC 6455) and permessage-deflate (RFC 7692), on buffers that the caller owns.

mod accept;
mod assembly;
mod close;
mod deflate;
#[cfg(test)]
pub(crate) mod exact_inflater;
mod fixed_codes;
mod head;
mod inflate;
mod offer;
mod reader;
mod reference;
mod violation;

pub use accept::accept_key;
pub use close::close_frame;
pub use deflate::Deflater;
pub use head::{HEAD_BYTES_MAX, control_frame, server_head, write_head};
pub use inflate::Inflater;
pub use offer::{Agreement, ServerWindow, negotiate};
pub use reader::{FrameReader, Received};
pub use reference::{ParsedMessage, REFERENCE_BYTES_MAX, ReferenceParser};
pub use violation::Violation;

pub use fastwebsockets::OpCode;
