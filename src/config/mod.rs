//! The configuration, checked: `Config` is the typed whole that every part gets its share of (PROTOCOL section 8).
//!
//! The way in: [`Sources`] are laid over each other (`raw.rs`), read section by section (`section.rs`), checked with every
//! problem told at once (`check.rs`), and handed out typed (`settings.rs`).

mod address;
mod auth;
mod check;
mod check_auth;
mod check_feed;
mod duration;
mod files;
mod limits;
mod live;
mod memory;
mod origin;
mod raw;
mod reload;
mod report;
mod rule;
mod secrecy;
mod section;
mod settings;
#[cfg(test)]
mod tests;
mod value;
mod warnings;

pub use auth::{ApiKey, Auth, GrantLists, KeyMaterial, SECRET_BYTES_ADVISED, TokenKey};
pub use check::keys;
pub use duration::{DurationError, parse as parse_duration};
pub use limits::Limits;
pub use live::Live;
pub use origin::{Origin, OriginError};
pub use raw::{DEFAULT_FILE, Problem, Sources};
pub use rule::{OnSlow, Rule, Rules};
pub use settings::{Admin, ClientAddressHeader, Config, Deflate, Echo, Feed, Page, Replay, Server, Simulator, Store, Tls};
