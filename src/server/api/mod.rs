//! Plain HTTP requests and their answers (PROTOCOL section 5).

mod batch;
mod centrifugo;
mod dispatch;
mod idempotency;
mod metering;
mod page;
mod publishing;
mod resource;
mod sessions;
mod topics;

pub use centrifugo::{Directory, forwarded_commands};
pub use dispatch::Api;
pub use resource::Surface;
