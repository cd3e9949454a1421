//! `Config`, the typed whole: every part of the gateway gets its share of it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::auth::Auth;
use super::cluster::Cluster;
use super::limits::Limits;
use super::listen_address::ListenAddress;
use super::origin_pattern::OriginPattern;
use super::rule::Rules;
use crate::topic_name::TopicName;

/// Everything that the gateway was told, checked and with each default filled in. Its own default is what an empty file
/// says, but for what depends on the machine: one shard, and `outbox_total_bytes` of 1 GiB.
#[derive(Debug, Clone, PartialEq, Default)]
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
    /// `[log]`.
    pub log: Log,
    /// `[page]`.
    pub page: Page,
    /// `[centrifugo]`.
    pub centrifugo: Centrifugo,
    /// `[[topics]]`.
    pub rules: Rules,
    /// `[echo]`.
    pub echo: Echo,
    /// `[endpoints]`: a path of a plain WebSocket to its topic.
    pub endpoints: BTreeMap<String, TopicName>,
    /// `[feed]`.
    pub feed: Feed,
    /// `[store]`.
    pub store: Store,
    /// `[cluster]`; `None`: this gateway alone has its topics.
    pub cluster: Option<Cluster>,
    /// The files that secrets were read from: whoever may read one may do what its secrets allow.
    pub secret_files: Vec<PathBuf>,
}

/// `[server]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Where the gateway listens; at one place at least.
    pub listen: Vec<ListenAddress>,
    /// The permissions of its Unix sockets.
    pub unix_mode: u32,
    /// Worker threads; at least 1 (the file's 0 is one per core).
    pub shards: usize,
    /// How long SIGTERM waits.
    pub drain: Duration,
    /// Allowed `Origin` headers; empty: same host.
    pub origins: Vec<OriginPattern>,
    /// TLS on this listener.
    pub tls: Option<Tls>,
    /// The longest rest after a flush.
    pub coalesce: Duration,
    /// Peers whose header for the client's address counts.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Whether they name the client in a PROXY header, with which their connections begin.
    pub proxy_protocol: bool,
    /// The header in which they name the client; the other one is ignored.
    pub client_address_header: ClientAddressHeader,
    /// Names that `Host` may have on a loopback listener beside the loopback ones, in lower case.
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
    /// Where the `/v1` reads, sessions and `/metrics` are, if they have places of their own.
    pub listen: Vec<ListenAddress>,
    /// The permissions of the Unix sockets among these.
    pub unix_mode: u32,
    /// TLS there.
    pub tls: Option<Tls>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: Vec::new(), unix_mode: 0o600, tls: None }
    }
}

/// `[echo]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Echo {
    /// Whether `/echo` is there.
    pub enabled: bool,
}

impl Default for Echo {
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
    /// 1 (fast) to 9 (small).
    pub level: u32,
    /// Whether clients are to keep their windows from message to message.
    pub history: bool,
    /// Messages of a topic that a later one may refer to.
    pub references: usize,
    /// Topics of a session whose newest message in the client's window is remembered.
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
    /// How its lines are written.
    pub format: LogFormat,
}

/// How the lines of the log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[page]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Whether `/`, `/belfry.js` and what the page is made of are served.
    pub enabled: bool,
}

impl Default for Page {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// `[centrifugo]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Centrifugo {
    /// Whether Centrifugo's protocol is spoken on `/connection/`.
    pub enabled: bool,
    /// The topic that a session with a user is subscribed to as it connects, `{user}` standing for that; empty: none.
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
    /// One topic `quotes.SYMBOL` each.
    pub symbols: Vec<String>,
    /// Between two quotes of a symbol.
    pub interval: Duration,
    /// 0: a new market every time.
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

/// `[store]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Where a clean stop leaves the topics for the next start; `None`: a stop ends them.
    pub dir: Option<PathBuf>,
    /// How long topics that a start found there live on without a subscriber or a message.
    pub grace: Duration,
}

impl Default for Store {
    fn default() -> Self {
        Self { dir: None, grace: Duration::from_secs(60) }
    }
}
