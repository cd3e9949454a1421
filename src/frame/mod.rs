//! WebSocket frames (RFC 6455) and permessage-deflate (RFC 7692) over buffers that others own.

mod assembly;
mod deflate;
mod head;
mod inflate;
mod offer;
mod reader;

pub use deflate::Deflater;
pub use head::{HEAD_BYTES_MAX, write_close, write_head};
pub use inflate::Inflater;
pub use offer::{Agreement, negotiate};
pub use reader::{FrameReader, Received, Violation};

pub use fastwebsockets::OpCode;
