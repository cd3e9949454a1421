//! What one address, one credential and all together may take of the gateway before a session or an answer is theirs.

mod accounts;
mod admission;
mod failures;
mod http_bytes;
mod http_connections;
mod pending;
mod rate;
mod rejections;

pub use accounts::Accounts;
pub use admission::Admission;
pub use failures::Failures;
pub use http_bytes::{HttpBytes, NoBytes, Reservation};
pub use http_connections::{HttpConnections, HttpPlace};
pub use pending::{PendingHandshakes, PendingPlace};
pub use rate::{Rates, bucket_of};
pub use rejections::Rejections;
