//! The configuration. `Config` is the typed and checked whole; each part gets its section (PROTOCOL section 8).
//!
//! [`Sources`] are merged (`raw.rs`), read section by section (`section.rs`), checked with all problems together
//! (`check.rs`), and become typed (`settings.rs`).

mod address;
mod auth;
mod check;
mod check_auth;
mod check_cluster;
mod check_feed;
mod cluster;
mod duration;
mod earlier_rules;
mod files;
mod limits;
mod listen_address;
mod live;
mod memory;
mod origin;
mod origin_pattern;
mod raw;
mod reload;
mod report;
mod rule;
mod rule_index;
mod secrecy;
mod section;
mod settings;
mod shape;
#[cfg(test)]
mod tests;
mod value;
mod warnings;

pub use address::{UNIX_PEER, peer_name};
pub use auth::{ApiKey, Auth, GrantLists, KeyMaterial, SECRET_BYTES_ADVISED, TokenKey};
pub use check::keys;
pub use cluster::{Cluster, ClusterLogin, ClusterTls, Stream, StreamStorage};
pub use duration::{DurationError, parse as parse_duration};
pub use limits::Limits;
pub use listen_address::ListenAddress;
pub use live::Live;
pub use origin::{Origin, OriginError};
pub use origin_pattern::OriginPattern;
pub use raw::{DEFAULT_FILE, Problem, Sources};
pub use rule::{OnSlow, Rule, Rules, TopicDeflate};
pub use settings::{
    Admin, Centrifugo, ClientAddressHeader, Config, Deflate, Echo, Feed, Log, LogFormat, Page, Replay, Server, Simulator, Store, Tls,
};
