//! Answers to HTTP requests: problems (RFC 9457), JSON, and other bodies.

mod answer;
mod problem;

pub use answer::{Answer, empty, json, json_bytes, json_of, of_type, with_security_headers};
pub use problem::Problem;
