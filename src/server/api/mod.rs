//! Plain HTTP requests and their answers (PROTOCOL section 5).

mod batch;
mod centrifugo;
mod dispatch;
mod idempotency;
mod metering;
mod page;
mod place;
mod publishing;
mod sessions;
mod topics;

pub use centrifugo::{Directory, ear};
pub use dispatch::Api;
pub use place::Surface;
