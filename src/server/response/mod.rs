//! What an HTTP request is answered with: a problem (RFC 9457), JSON, or another body.

mod answer;
mod problem;

pub use answer::{Answer, empty, guarded, json, json_bytes, json_of, of_type};
pub use problem::Problem;
