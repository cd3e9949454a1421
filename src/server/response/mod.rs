//! Answers to HTTP requests: problems (RFC 9457), JSON, other bodies, and refusals of sessions.

mod answer;
mod problem;
mod refused;

pub use answer::{Answer, empty, json, json_bytes, json_of, of_type, with_security_headers, written_head};
pub use problem::Problem;
pub use refused::Refused;
