//! The native dialect's commands: bytes to [`Request`].

use super::{Refusal, Request};

/// Reads one command. Duplicate envelope keys, JSON deeper than 64 and members of the wrong type are refused.
pub fn request(_text: &[u8]) -> Result<Request<'_>, Refusal<'_>> {
    unimplemented!()
}

/// Whether `bytes` are one JSON text (RFC 8259), at most 64 deep, any number.
pub fn is_json_text(_bytes: &[u8]) -> bool {
    unimplemented!()
}
