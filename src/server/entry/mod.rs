//! The outcome of a request for a session: granted or refused.

mod granted;
mod refused;

pub use granted::Granted;
pub use refused::Refused;
