//! What one address, one credential and all together may take of the gateway before a session or an answer is theirs.

mod address;
mod admission;
mod pending;
mod rate;
mod rejections;

pub use address::counted_as;
pub use admission::Admission;
pub use pending::{PendingHandshakes, PendingPlace};
pub use rate::{RateKey, Rates};
pub use rejections::Rejections;
