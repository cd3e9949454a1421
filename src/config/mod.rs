//! The configuration, checked: `Config` is the typed whole that every part gets its share of (PROTOCOL section 8).

mod limits;
mod live;
mod rule;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use limits::Limits;
pub use live::Live;
pub use rule::{OnSlow, Rule, RuleId, Rules};

use crate::topic_name::{Pattern, TopicName};

/// Everything that the gateway was told, checked and with each default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[admin]`.
    pub admin: Admin,
    /// `[auth]`.
    pub auth: Auth,
    /// `[limits]`.
    pub limits: Limits,
    /// `[deflate]`.
    pub deflate: Deflate,
    /// `[[topics]]`.
    pub rules: Rules,
    /// `[endpoints]`: a path of a plain WebSocket to its topic.
    pub endpoints: BTreeMap<String, TopicName>,
    /// `[feed]`.
    pub feed: Feed,
}

/// `[server]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Where the gateway listens.
    pub listen: SocketAddr,
    /// Worker threads; at least 1 (the file's 0 is one per core).
    pub shards: usize,
    /// How long SIGTERM waits.
    pub drain: Duration,
    /// Allowed `Origin` headers as scheme, host and port; empty: same host.
    pub origins: Vec<String>,
    /// TLS on this listener.
    pub tls: Option<Tls>,
    /// The longest rest after a flush.
    pub coalesce: Duration,
    /// Whose `Forwarded` and `X-Forwarded-For` count.
    pub trusted_proxies: Vec<ipnet::IpNet>,
}

/// PEM files for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// A listener of its own for the `/v1` reads, sessions and `/metrics`.
    pub listen: Option<SocketAddr>,
}

/// `[auth]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    /// What everybody may; `None` when neither list names a pattern.
    pub anonymous: Option<GrantLists>,
    /// The keys that verify tokens.
    pub keys: Vec<TokenKey>,
    /// Keys that are credentials themselves.
    pub api_keys: Vec<ApiKey>,
}

/// The two lists of a grant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrantLists {
    /// What may be subscribed to.
    pub subscribe: Vec<Pattern>,
    /// Where may be published.
    pub publish: Vec<Pattern>,
}

/// One of `auth.keys`. Files are read when the configuration is loaded, so that `check` finds a bad one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKey {
    /// A shared secret.
    Secret {
        /// `HS256`, `HS384` or `HS512`.
        algorithm: String,
        /// The secret's bytes.
        secret: String,
    },
    /// A public key.
    PublicKey {
        /// `RS256`, `ES256` or `EdDSA`.
        algorithm: String,
        /// The file's PEM text.
        pem: String,
    },
    /// A set of public keys.
    Jwks {
        /// The file's JSON text.
        json: String,
    },
}

/// One of `auth.api_keys`.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    /// Its name: the `user` of what is done with it.
    pub name: String,
    /// The credential itself.
    pub key: String,
    /// What it may.
    pub grants: GrantLists,
    /// Whether it may administer.
    pub admin: bool,
    /// A rate of its own, in place of `limits.commands_per_second`.
    pub commands_per_second: Option<u32>,
}

/// `[deflate]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deflate {
    /// Whether permessage-deflate is negotiated.
    pub enabled: bool,
    /// Messages shorter than this go uncompressed, in bytes.
    pub threshold: usize,
    /// 1 (fast) to 9 (small).
    pub level: u32,
}

/// `[feed]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Feed {
    /// The simulated market, if it is enabled.
    pub simulator: Option<Simulator>,
    /// Recorded ticks.
    pub replay: Vec<Replay>,
}

/// `[feed.simulator]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulator {
    /// One topic `quotes.SYMBOL` each.
    pub symbols: Vec<String>,
    /// Between two quotes of a symbol.
    pub interval: Duration,
    /// 0: a new market every time.
    pub seed: u64,
}

/// One of `[[feed.replay]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// `.csv` with a header or `.jsonl`.
    pub file: PathBuf,
    /// A topic, or one with `{column}` in it.
    pub topic: String,
    /// The column that paces it.
    pub time: String,
    /// 0: as fast as it goes.
    pub speed: f64,
    /// Whether it starts over at the end.
    pub repeat: bool,
}

/// What stands in for a file when none is given; `belfry check --print-default` prints it.
pub const DEFAULT_FILE: &str = include_str!("default.toml");

/// One thing that is wrong with a configuration: the key, the value, what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(pub String);

/// Where a configuration comes from, later layers over earlier ones.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config FILE`; without it, [`DEFAULT_FILE`].
    pub file: Option<PathBuf>,
    /// `BELFRY__…` variables.
    pub environment: Vec<(String, String)>,
    /// `--set KEY=VALUE` and `--listen ADDR` (as `server.listen`).
    pub settings: Vec<(String, String)>,
}

impl Config {
    /// Reads and checks all layers, telling every problem at once.
    pub fn load(_sources: &Sources) -> Result<Arc<Config>, Vec<Problem>> {
        unimplemented!()
    }
}

impl Config {
    /// Which keys that can't change while the gateway runs are others in `new`.
    pub fn fixed_differences(&self, _new: &Config) -> Vec<&'static str> {
        unimplemented!()
    }

    /// With what can't change taken from `old`.
    pub fn with_fixed_of(self, _old: &Config) -> Config {
        unimplemented!()
    }
}
