//! `[cluster]`: the NATS servers, and the streams that topics are kept in.

use std::path::PathBuf;
use std::time::Duration;

use super::rule::Rules;
use crate::topic_name::Pattern;

/// `[cluster]`, where it is set.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// Any of the NATS servers; the others are learnt from it.
    pub urls: Vec<String>,
    /// Who the gateway is to them.
    pub login: ClusterLogin,
    /// How TLS to them is verified; without any of these, by the system's roots where a URL asks for TLS.
    pub tls: ClusterTls,
    /// This gateway's name, for logs and presence.
    pub name: String,
    /// Publications that are not answered yet, at most.
    pub publish_inflight: usize,
    /// How long each waits.
    pub publish_timeout: Duration,
    /// How long the gateway counts as ready with a stream that stands.
    pub grace: Duration,
    /// A gateway that says nothing for so long is dead, and its members leave.
    pub presence_timeout: Duration,
    /// What members at other gateways may take, in bytes.
    pub members_bytes: usize,
    /// `[[cluster.streams]]`.
    pub streams: Vec<Stream>,
}

/// How the gateway logs in.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum ClusterLogin {
    /// Not at all.
    #[default]
    None,
    /// By a credentials file, a JWT with its NKey.
    Credentials(PathBuf),
    /// By name and password.
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

/// Where a stream's messages lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamStorage {
    /// On disk.
    File,
    /// In memory; they are lost with the servers.
    Memory,
}

/// One of `[[cluster.streams]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// Its name at the servers.
    pub name: String,
    /// Its topics; the `match` of a rule too.
    pub pattern: Pattern,
    /// How many servers keep it.
    pub replicas: usize,
    /// Where.
    pub storage: StreamStorage,
    /// Messages kept of each topic, more than any of its rules does.
    pub retain: u64,
    /// Bytes kept in all; 0: as many as come.
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

    /// This section with `old`'s values of those keys, as it goes into force.
    #[must_use]
    pub fn with_fixed_of(mut self, old: &Self) -> Self {
        if !old.has_streams_of(&self) {
            self.streams.clone_from(&old.streams);
        }
        let Self { urls, login, tls, name, .. } = old.clone();
        Self { urls, login, tls, name, ..self }
    }

    /// Whether the streams are the same but for how much of all their topics they keep. What they keep of each topic may not change: of a
    /// topic that was cut nobody could tell by a larger number that it was.
    fn has_streams_of(&self, other: &Self) -> bool {
        let fixed = |stream: &Stream| Stream { max_bytes: 0, max_age: Duration::ZERO, ..stream.clone() };
        self.streams.iter().map(fixed).eq(other.streams.iter().map(fixed))
    }
}

impl Stream {
    /// The longest history of `rules` that a topic of the stream may have, as far as `retain` allows.
    pub fn longest_history(&self, rules: &Rules) -> u64 {
        (rules.longest_history(&self.pattern) as u64).min(self.retain - 1)
    }

    /// The subject of the messages that name the stream's life.
    pub fn life_subject(&self) -> String {
        format!("$belfry.life.{}", self.name)
    }
}
