//! `[cluster]`: the NATS servers, and the streams of the topics.

use std::path::PathBuf;
use std::time::Duration;

use super::rules::Rules;
use crate::topic_name::Pattern;

/// `[cluster]`, where it is set.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// URLs of NATS servers. One is enough, because it names the others.
    pub urls: Vec<String>,
    /// The credentials of the gateway at the servers.
    pub login: ClusterLogin,
    /// How TLS to the servers is verified. Without files, the system's roots are used if a URL asks for TLS.
    pub tls: ClusterTls,
    /// This gateway's name, for logs and presence.
    pub name: String,
    /// The largest number of unacknowledged publishes.
    pub publish_inflight: usize,
    /// The longest wait for an acknowledgement.
    pub publish_timeout: Duration,
    /// How long `/readyz` stays 200 while a stream is not followed.
    pub grace: Duration,
    /// A gateway that is silent for this long counts as dead, and its members leave.
    pub presence_timeout: Duration,
    /// The memory for members at other gateways, in bytes.
    pub members_bytes: usize,
    /// `[[cluster.streams]]`.
    pub streams: Vec<Stream>,
}

/// How the gateway logs in.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum ClusterLogin {
    /// No credentials.
    #[default]
    None,
    /// A credentials file: a JWT with its NKey.
    Credentials(PathBuf),
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
}

impl std::fmt::Debug for ClusterLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Credentials(_) => "Credentials",
            Self::Password { .. } => "Password",
        })
    }
}

/// PEM files for TLS to the servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterTls {
    /// Roots beside the system's.
    pub ca: Option<PathBuf>,
    /// The gateway's certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The storage of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamStorage {
    /// On disk.
    File,
    /// In memory: messages are lost with the servers.
    Memory,
}

/// One of `[[cluster.streams]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// Its name at the servers.
    pub name: String,
    /// The pattern of its topics, which is also the `match` of a rule.
    pub pattern: Pattern,
    /// The number of servers that store it.
    pub replicas: usize,
    /// Its storage.
    pub storage: StreamStorage,
    /// The number of messages that it keeps of each topic. It exceeds `history` of every rule of its topics.
    pub retain: u64,
    /// The bytes that it keeps of all topics; 0 is no limit.
    pub max_bytes: u64,
    /// How long messages are kept: the rule's `history_ttl`.
    pub max_age: Duration,
}

impl Cluster {
    /// The keys that SIGHUP can't change and in which `new` differs from this one.
    pub fn fixed_differences(&self, new: &Self) -> Vec<&'static str> {
        let differs = [
            ("cluster.urls", self.urls != new.urls),
            ("cluster.credentials, cluster.user or cluster.password", self.login != new.login),
            ("cluster.tls", self.tls != new.tls),
            ("cluster.name", self.name != new.name),
            ("cluster.streams", !self.has_streams_of(new)),
        ];
        differs.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }

    /// This section with `old`'s values of those keys.
    #[must_use]
    pub fn with_fixed_of(mut self, old: &Self) -> Self {
        if !old.has_streams_of(&self) {
            self.streams.clone_from(&old.streams);
        }
        let Self { urls, login, tls, name, .. } = old.clone();
        Self { urls, login, tls, name, ..self }
    }

    /// Whether the streams differ in `max_bytes` and `max_age` only. `retain` must not change: with a larger number, a
    /// topic that was cut before would look complete.
    fn has_streams_of(&self, other: &Self) -> bool {
        let fixed = |stream: &Stream| Stream { max_bytes: 0, max_age: Duration::ZERO, ..stream.clone() };
        self.streams.iter().map(fixed).eq(other.streams.iter().map(fixed))
    }
}

impl Stream {
    /// The longest history that `rules` give a topic of the stream, at most `retain`.
    pub fn longest_history(&self, rules: &Rules) -> u64 {
        (rules.longest_history(&self.pattern) as u64).min(self.retain - 1)
    }

    /// The subject of the messages that name the stream's epoch.
    pub fn epoch_subject(&self) -> String {
        format!("$belfry.life.{}", self.name)
    }
}
