//! permessage-deflate (RFC 7692): negotiation, compression of single messages, and references to earlier messages.

mod deflater;
#[cfg(test)]
pub(crate) mod exact_inflater;
mod fixed_codes;
mod inflater;
mod offer;
mod reference;

pub use deflater::Deflater;
pub use inflater::Inflater;
pub use offer::{Agreement, ServerWindow, negotiate};
pub use reference::{ParsedMessage, REFERENCE_BYTES_MAX, ReferenceParser};
