//! What becomes of a request for a session, whatever it is to speak.

mod granted;
mod refused;

pub use granted::Granted;
pub use refused::Refused;
