//! The settings of a run, and the defaults of each scenario.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use serde::Serialize;

use super::arguments::{Arguments, PublishBy};
use super::expectation::Expectation;
use super::fault::Fault;
use super::preset::Preset;
use super::scenario::Scenario;
use super::server::Server;
use crate::named::Named;
use crate::stamp::BYTES_MIN;
use crate::wire::{Deflate, Dialect};

/// The settings of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    pub scenario: Scenario,
    /// The name of the server in reports, if the dialect does not imply it.
    pub server_name: Option<String>,
    pub urls: Vec<String>,
    pub clustered: bool,
    pub dialect: Dialect,
    pub sessions: usize,
    pub rate: f64,
    pub burst: u32,
    pub ahead: Option<u32>,
    pub duration_s: f64,
    pub ramp_s: f64,
    pub warmup_s: f64,
    pub payload_bytes: usize,
    pub topics: usize,
    pub publishers: usize,
    pub publish_by: PublishBy,
    pub deflate: Deflate,
    pub spread: Option<usize>,
    pub server: Server,
    pub pin: bool,
    /// The first token of topics on a gateway that runs already.
    pub prefix: String,
    pub expect: Vec<Expectation>,
    pub faults: Vec<Fault>,
    #[serde(skip)]
    pub token: Option<String>,
    pub cacert: Option<PathBuf>,
    #[serde(skip)]
    pub server_pids: Vec<u32>,
}

struct Defaults {
    sessions: usize,
    rate: f64,
    topics: usize,
    duration: f64,
    payload: usize,
}

impl Defaults {
    fn of(scenario: Scenario) -> Self {
        let base = Self { sessions: 1_000, rate: 100.0, topics: 1, duration: 10.0, payload: 128 };
        match scenario {
            Scenario::Fanout => base,
            Scenario::Market => Self { sessions: 2_000, rate: 2_000.0, topics: 200, ..base },
            Scenario::Chat => Self { rate: 200.0, topics: 20, ..base },
            Scenario::Idle => Self { sessions: 10_000, duration: 5.0, ..base },
            Scenario::Handshake => Self { sessions: 5_000, ..base },
            Scenario::Storm => Self { sessions: 2_000, rate: 50.0, ..base },
            // With these sizes outboxes overflow within two seconds.
            Scenario::Slow => Self { sessions: 200, payload: 8_000, ..base },
            Scenario::Churn => Self { sessions: 500, topics: 50, ..base },
            Scenario::Drain => base,
            Scenario::Failover => Self { sessions: 300, topics: 8, duration: 30.0, ..base },
        }
    }
}

/// The defaults of `scenario`, for its help.
pub fn defaults(scenario: Scenario) -> String {
    let Defaults { sessions, rate, topics, duration, payload } = Defaults::of(scenario);
    format!("Defaults: --sessions {sessions} --rate {rate} --topics {topics} --duration {duration} --payload {payload}")
}

/// The rate of one publisher, in messages a second, which the default `commands_per_second` of 100 allows.
const RATE_PER_PUBLISHER: f64 = 100.0;

impl Settings {
    /// The `arguments`, with the defaults of `scenario`.
    pub fn resolve(scenario: Scenario, arguments: &Arguments) -> anyhow::Result<Self> {
        let defaults = Defaults::of(scenario);
        let rate = arguments.rate.unwrap_or(defaults.rate);
        let server = arguments.server()?;
        let dialect = arguments.target.map_or(arguments.dialect, Preset::dialect);
        // A started gateway has no such limit, and the offsets of a single publisher's stream can be checked.
        let publishers =
            if server != Server::Running || arguments.ahead.is_some() { 1 } else { (rate / RATE_PER_PUBLISHER).ceil().max(1.0) as usize };
        let settings = Self {
            scenario,
            server_name: arguments.target.map(|preset| preset.name()),
            urls: match arguments.url.as_slice() {
                [] => vec![format!("ws://127.0.0.1:8765{}", dialect.default_path())],
                urls => urls.to_vec(),
            },
            clustered: arguments.clustered || arguments.url.len() > 1,
            dialect,
            sessions: arguments.sessions.unwrap_or(defaults.sessions),
            rate,
            burst: arguments.burst,
            ahead: arguments.ahead,
            duration_s: arguments.duration.unwrap_or(defaults.duration),
            ramp_s: arguments.ramp,
            warmup_s: arguments.warmup,
            payload_bytes: arguments.payload.unwrap_or(defaults.payload),
            topics: arguments.topics.unwrap_or(defaults.topics),
            publishers: arguments.publishers.unwrap_or(publishers),
            // nchan accepts messages over HTTP only.
            publish_by: if dialect.sessions_publish() { arguments.publish_by } else { PublishBy::Http },
            deflate: arguments.deflate.unwrap_or(Deflate::Off),
            spread: arguments.spread,
            server,
            pin: arguments.pin,
            prefix: arguments.prefix.clone(),
            expect: arguments.expect.clone(),
            faults: arguments.fault.clone(),
            token: arguments.token.clone().filter(|token| !token.is_empty()),
            cacert: arguments.cacert.clone(),
            server_pids: arguments.server_pid.clone(),
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> anyhow::Result<()> {
        let bytes = self.payload_bytes;
        ensure!(bytes >= BYTES_MIN, "--payload {bytes} is too small: a payload carries {BYTES_MIN} bytes at least");
        ensure!(self.sessions > 0 && self.topics > 0 && self.publishers > 0, "--sessions, --topics and --publishers must be 1 at least");
        ensure!(self.rate > 0.0 && self.rate <= 10_000_000.0, "--rate {} is invalid: write a number of messages a second", self.rate);
        ensure!(self.faults.is_empty() || self.scenario.expects_faults(), "--fault is for failover; {} has none", self.scenario.name());
        let is_token = self.prefix.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-:".contains(letter));
        ensure!(is_token && !self.prefix.is_empty(), "--prefix {:?} is no token of a topic: write letters, digits, - and _", self.prefix);
        if let Some(token) = &self.token {
            ensure!(token.bytes().all(|byte| byte.is_ascii_graphic()), "--token holds characters that no token has");
        }
        ensure!(self.burst > 0 && self.ahead != Some(0), "--burst and --ahead must be 1 at least");
        let are_short = [self.ramp_s, self.warmup_s].iter().all(|seconds| (0.0..=3_600.0).contains(seconds));
        let are_valid = are_short && (0.0..=86_400.0).contains(&self.duration_s);
        ensure!(are_valid, "--duration is seconds, up to a day; --ramp and --warmup up to an hour");
        Ok(())
    }

    /// The same load on another server, named `name` in reports.
    pub fn with_server(mut self, name: String, server: Server, dialect: Dialect) -> Self {
        self.server_name = Some(name);
        self.server = server;
        self.dialect = dialect;
        self.publishers = 1;
        if !dialect.sessions_publish() {
            self.publish_by = PublishBy::Http;
        }
        self
    }

    /// Checks that the scenario can run in this dialect.
    pub fn check_dialect(&self) -> anyhow::Result<()> {
        let (scenario, dialect) = (self.scenario.name(), self.dialect.name());
        let resumes = self.scenario != Scenario::Storm || self.dialect.resumes();
        ensure!(resumes, "in {scenario} sessions resume from their last messages, and {dialect} has no positions to resume from");
        let changes = self.scenario != Scenario::Churn || self.dialect.changes_topics();
        ensure!(changes, "in {scenario} sessions change their topics, and those of {dialect} keep theirs");
        let fails_over = self.scenario != Scenario::Failover || self.dialect == Dialect::Json;
        ensure!(fails_over, "{scenario} compares what gateways of a cluster say in the native dialect: it needs --dialect json");
        let publishes = self.scenario != Scenario::Chat || !self.dialect.is_stream();
        ensure!(publishes, "in chat every session publishes, and {dialect} only listens");
        ensure!(self.deflate == Deflate::Off || !self.dialect.is_stream(), "{dialect} is never compressed: leave --deflate out");
        let needs_topics = self.scenario == Scenario::Market;
        ensure!(!needs_topics || self.dialect.takes_many_topics(), "{scenario} takes many topics a session, and {dialect} takes one");
        let by_http = self.publish_by == PublishBy::Http;
        let publishes_in_sessions = matches!(self.scenario, Scenario::Chat | Scenario::Drain | Scenario::Failover);
        ensure!(
            !by_http || !publishes_in_sessions,
            "in {scenario} sessions publish: it can't be had with --publish-by http, or with nchan"
        );
        let takes_posts = self.is_belfry() || self.dialect == Dialect::Nchan;
        ensure!(!by_http || takes_posts, "{dialect} takes no --publish-by http; Belfry's dialects and nchan do");
        Ok(())
    }

    /// Whether the server is known to be Belfry, with its `/metrics` and its batches.
    pub fn is_belfry(&self) -> bool {
        self.dialect.is_belfrys_own() || matches!(self.server, Server::Belfry { .. })
    }

    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.duration_s)
    }

    /// The time in which the load rises to its rate.
    pub fn ramp(&self) -> Duration {
        Duration::from_secs_f64(self.ramp_s)
    }

    /// The time of load before the measurement, including the ramp.
    pub fn warmup(&self) -> Duration {
        self.ramp() + Duration::from_secs_f64(self.warmup_s)
    }
}
