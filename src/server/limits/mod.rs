//! The limits that hold before a request has its answer or becomes a session: of all clients, of one address, and of one
//! credential.

mod accounts;
mod admission;
mod failures;
mod http_bytes;
mod http_connections;
mod pending;
mod places;
mod rate;
mod rejections;

pub use accounts::Accounts;
pub use admission::Admission;
pub use failures::Failures;
pub use http_bytes::{HttpBytes, NoBytes, Reservation};
pub use http_connections::{HttpConnections, HttpPlace, no_place};
pub use pending::{PendingHandshakes, PendingPlace};
pub use rate::{Rates, bucket_of};
pub use rejections::Rejections;
