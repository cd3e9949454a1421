//! HTTP from the client's side: the upgrade, streams, publishing, and TLS.

mod head;
pub mod publish;
pub mod stream;
pub mod tls;
pub mod upgrade;

pub use tls::Tls;
pub use upgrade::Deflate;
