//! What an HTTP request is answered with: a problem (RFC 9457), JSON, or another body.

mod answer;
mod problem;

pub use answer::{Answer, empty, json, json_bytes, json_of, of_type, with_security_headers};
pub use problem::Problem;
