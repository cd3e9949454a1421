//! The configuration. `Config` is the typed and checked whole; each part gets its section (PROTOCOL section 8).
//!
//! [`Sources`] are merged into one tree (`tree/raw.rs`), read section by section (`tree/section.rs`), checked with all
//! problems together (`check/`), and become typed (`settings.rs`).

mod auth;
mod check;
mod cluster;
mod limits;
mod listen_address;
mod live;
mod memory;
mod notation;
mod reload;
mod rules;
mod settings;
#[cfg(test)]
mod tests;
mod tree;

pub use auth::{ApiKey, Auth, GrantLists, KeyMaterial, SECRET_BYTES_ADVISED, TokenKey};
pub use check::keys;
pub use cluster::{Cluster, ClusterLogin, ClusterTls, Stream, StreamStorage};
pub use limits::Limits;
pub use listen_address::ListenAddress;
pub use live::Live;
pub use notation::{DurationError, Origin, OriginError, OriginPattern, TopicTemplate, UNIX_PEER, host_of, parse_duration, peer_name};
pub use rules::{OnSlow, Rule, Rules, TopicDeflate};
pub use settings::{
    Admin, Centrifugo, ClientAddressHeader, Config, Deflate, Feed, Log, LogFormat, Replay, Served, Server, Simulator, Store, Tls,
};
pub use tree::{DEFAULT_FILE, Problem, Sources};
