//! `Config`, the typed configuration.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::auth::Auth;
use super::cluster::Cluster;
use super::limits::Limits;
use super::listen_address::ListenAddress;
use super::notation::{OriginPattern, TopicTemplate};
use super::rules::Rules;
use crate::topic_name::TopicName;

/// The whole configuration, checked and with defaults filled in. `Config::default()` equals an empty file, except where
/// the default depends on the machine: it has one shard, and `outbox_total_bytes` of 1 GiB.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs, reason = "a field without a comment is the table of its name")]
pub struct Config {
    pub server: Server,
    pub admin: Admin,
    pub auth: Auth,
    pub limits: Limits,
    pub deflate: Deflate,
    pub log: Log,
    pub page: Served,
    pub centrifugo: Centrifugo,
    /// `[[topics]]`.
    pub rules: Rules,
    pub echo: Served,
    /// `[endpoints]`: topics by the path of their plain WebSocket.
    pub endpoints: BTreeMap<String, TopicName>,
    pub feed: Feed,
    pub store: Store,
    /// `[cluster]`; `None` if the gateway does not share topics.
    pub cluster: Option<Cluster>,
    /// The files that have secrets, for the warning about their permissions.
    pub secret_files: Vec<PathBuf>,
}

/// `[server]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// The addresses of the main listener; at least one.
    pub listen: Vec<ListenAddress>,
    /// The permissions of its Unix sockets.
    pub unix_mode: u32,
    /// Worker threads, at least 1. A configured 0 has been replaced by the number of cores.
    pub shards: usize,
    /// The length of a drain.
    pub drain: Duration,
    /// Allowed values of `Origin`; empty for the same-host rule.
    pub origins: Vec<OriginPattern>,
    /// TLS on this listener.
    pub tls: Option<Tls>,
    /// The longest pause after a flush.
    pub coalesce: Duration,
    /// Peers whose header with the client's address is trusted.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Whether connections of trusted proxies begin with a PROXY header.
    pub proxy_protocol: bool,
    /// The header in which trusted proxies name the client. The other one is ignored.
    pub client_address_header: ClientAddressHeader,
    /// Further names that `Host` may have on a loopback listener, in lower case.
    pub hosts: Vec<String>,
}

/// A header in which a proxy names its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAddressHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress::Network((Ipv4Addr::LOCALHOST, 8765).into())],
            unix_mode: 0o660,
            shards: 1,
            drain: Duration::from_secs(10),
            origins: Vec::new(),
            tls: None,
            coalesce: Duration::from_micros(100),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            client_address_header: ClientAddressHeader::default(),
            hosts: Vec::new(),
        }
    }
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
    /// The addresses of the administrators' listener, which has the `/v1` reads, sessions and `/metrics`; empty for
    /// none.
    pub listen: Vec<ListenAddress>,
    /// The permissions of its Unix sockets.
    pub unix_mode: u32,
    /// TLS on this listener.
    pub tls: Option<Tls>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: Vec::new(), unix_mode: 0o600, tls: None }
    }
}

/// `[page]` or `[echo]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Whether its paths are served: `/`, `/belfry.js` and the files of the page, or `/echo`.
    pub enabled: bool,
}

impl Default for Served {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// `[deflate]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deflate {
    /// Whether permessage-deflate is negotiated.
    pub enabled: bool,
    /// Messages shorter than this go uncompressed, in bytes.
    pub threshold: usize,
    /// The compression level, from 1 (fast) to 9 (small).
    pub level: u32,
    /// Whether clients keep their windows between messages (deflate with history).
    pub history: bool,
    /// The number of messages of a topic that later ones may refer to.
    pub references: usize,
    /// The number of topics of a session whose newest message in the client's window is remembered.
    pub topics: usize,
}

impl Default for Deflate {
    fn default() -> Self {
        Self { enabled: true, threshold: 256, level: 3, history: true, references: 8, topics: 64 }
    }
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    /// The format of its lines.
    pub format: LogFormat,
}

/// The format of the log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object for each line.
    Json,
}

/// `[centrifugo]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Centrifugo {
    /// Whether `/connection/…` and `/api/…` are served.
    pub enabled: bool,
    /// The topic that sessions with a user are subscribed to when they connect, with `{user}` in it; empty for none.
    pub personal: String,
}

impl Default for Centrifugo {
    fn default() -> Self {
        Self { enabled: true, personal: String::new() }
    }
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
    /// The symbols. Each has a topic `quotes.SYMBOL`.
    pub symbols: Vec<String>,
    /// The time between two quotes of a symbol.
    pub interval: Duration,
    /// The seed of the random numbers; 0 for a random seed.
    pub seed: u64,
}

impl Default for Simulator {
    fn default() -> Self {
        let symbols = ["AAPL", "MSFT", "GOOG", "AMZN", "TSLA", "NVDA"].map(str::to_owned).into();
        Self { symbols, interval: Duration::from_secs(1), seed: 0 }
    }
}

/// One of `[[feed.replay]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// The file: `.csv` with a header, or `.jsonl`.
    pub file: PathBuf,
    /// The topic.
    pub topic: TopicTemplate,
    /// The column with the time stamps; empty for none.
    pub time: String,
    /// The factor of the pace; 0 for as fast as possible.
    pub speed: f64,
    /// Whether it repeats from the start at the end.
    pub repeat: bool,
}

/// `[store]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The folder in which a clean stop writes the topics for the next start; `None` for no store.
    pub dir: Option<PathBuf>,
    /// How long restored topics live without a subscriber or a message.
    pub grace: Duration,
}

impl Default for Store {
    fn default() -> Self {
        Self { dir: None, grace: Duration::from_secs(60) }
    }
}
