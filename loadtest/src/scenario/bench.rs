//! The steps of every scenario: find or start the server, connect, warm up, measure, wait for deliveries, report.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::clock::nanoseconds;
use crate::engine::{Counts, Engine, Load, Pace, Spread, StreamOrder, Target, raise_file_limit};
use crate::launch::Started;
use crate::measure::{Machine, Quantiles, Scrape, Usage};
use crate::plan::{PublishBy, Server, Settings};
use crate::report::{Live, Provenance, Report};
use crate::stamp::Stamper;
use crate::wire::Deflate;
use crate::wire::http::tls::client_config;

/// The longest time until all sessions are connected.
pub(super) const CONNECT_PATIENCE: Duration = Duration::from_secs(60);
/// After this time without a delivery, owed deliveries count as lost.
pub(super) const DELIVERY_PATIENCE: Duration = Duration::from_secs(3);

/// How often the gateway's metrics are read until its accounts close.
const REST_TRIES: usize = 20;
const REST_PAUSE: Duration = Duration::from_millis(100);

/// One run.
pub(super) struct Bench {
    pub(super) settings: Settings,
    pub(super) engine: Engine,
    /// The scenario's own figures, by name with the unit last.
    pub(super) figures: BTreeMap<String, f64>,
    /// Failed checks of the scenario.
    pub(super) failures: Vec<String>,
    /// The gateways. Messages for people name the first.
    targets: Vec<Target>,
    run: u16,
    started: Option<Started>,
    server_pids: Vec<u32>,
    machine: Machine,
    scrape_before: Option<Scrape>,
    lateness: Quantiles,
    /// The beginning and the end of the measurement.
    window: Option<(Moment, Moment)>,
}

/// The totals at one moment.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at: u64,
    own: Usage,
    server: Option<Usage>,
    deliveries: u64,
    published: u64,
    message_bytes: u64,
    text_bytes: u64,
}

impl Bench {
    /// Finds or starts the server, and makes an engine for it.
    pub(super) fn open(settings: Settings) -> anyhow::Result<Self> {
        raise_file_limit(settings.sessions + settings.publishers)?;
        let started = Started::start(&settings.server, settings.pin, settings.deflate != Deflate::Off)?;
        let publisher = settings.dialect.of_publishers();
        let urls = match &started {
            Some(started) => vec![format!("ws://{}{}", started.address, settings.dialect.default_path())],
            None => settings.urls.clone(),
        };
        let mut targets = Vec::new();
        for url in urls {
            let tls = if url.starts_with("wss://") { Some(client_config(settings.cacert.as_deref())?) } else { None };
            let mut target = Target::parse(&url, settings.dialect, publisher, tls)?;
            target.token.clone_from(&settings.token);
            target.deflate = settings.deflate;
            target.publishers_post = settings.publish_by == PublishBy::Http;
            if let Some(sessions_per_address) = settings.spread {
                target.spread = Spread { sessions_per_address };
            }
            targets.push(target);
        }
        let run = run_number();
        let stamper = Stamper::new(run, settings.payload_bytes);
        let mut engine = Engine::new(targets.clone(), stamper, settings.clustered).context("can't make an epoll")?;
        let mut live = Live::new(&settings, std::io::stderr().is_terminal());
        engine.watch(Box::new(move |slice, counts| live.tell(slice, counts)));
        Ok(Self {
            server_pids: started.as_ref().map_or_else(|| settings.server_pids.clone(), |started| vec![started.pid()]),
            machine: Machine::here(),
            scrape_before: settings.is_belfry().then(|| scrape(&targets)).flatten(),
            engine,
            targets,
            run,
            started,
            figures: BTreeMap::new(),
            failures: Vec::new(),
            lateness: Quantiles::default(),
            window: None,
            settings,
        })
    }

    /// The first token of topics with a long history. A gateway that this run started keeps one for `kept.>`.
    pub(super) fn prefix_with_history(&self) -> String {
        if matches!(self.settings.server, Server::Belfry { .. }) { "kept".to_owned() } else { self.settings.prefix.clone() }
    }

    /// The latencies measured so far.
    pub(super) fn latency(&self) -> Quantiles {
        self.engine.latency().measured()
    }

    /// The server's CPU time so far, in nanoseconds, and all deliveries.
    pub(super) fn server_busy(&self) -> Option<(u64, u64)> {
        let moment = self.moment();
        Some((moment.server?.busy, moment.deliveries))
    }

    /// The number of sessions that the gateway has closed since the run began.
    pub(super) fn closed_by_server(&self) -> Option<f64> {
        let before = self.scrape_before.as_ref()?.value("belfry_sessions_closed_total");
        scrape(&self.targets).map(|now| now.value("belfry_sessions_closed_total") - before)
    }

    /// Adds a figure of the scenario.
    pub(super) fn note(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), value);
    }

    /// Adds a topic with a unique name, so that its offsets begin at 1.
    pub(super) fn topic(&mut self, number: usize) -> u32 {
        let prefix = self.settings.prefix.clone();
        self.topic_under(&prefix, number)
    }

    /// Adds a topic of this run with the first token `prefix`.
    pub(super) fn topic_under(&mut self, prefix: &str, number: usize) -> u32 {
        let name = format!("{prefix}.load{:04x}.{number}", self.run);
        self.engine.topic(name)
    }

    /// Adds and connects the publishing sessions.
    pub(super) fn publishers(&mut self) -> anyhow::Result<Vec<usize>> {
        let publishers: Vec<usize> = (0..self.settings.publishers).map(|_| self.engine.add_publisher()).collect();
        self.engine.connect(publishers.iter().copied(), CONNECT_PATIENCE)?;
        self.check_open(publishers.len())?;
        Ok(publishers)
    }

    /// Adds and connects the publishers and all subscribers of `topic`. Returns the streams, and the subscribers.
    pub(super) fn fill(&mut self, topic: u32) -> anyhow::Result<(StreamOrder, Vec<usize>)> {
        let publishers = self.publishers()?;
        let streams = publishers.iter().map(|publisher| self.engine.stream(topic, *publisher)).collect();
        let subscribers: Vec<usize> = (0..self.settings.sessions).map(|_| self.engine.add_subscriber(vec![topic])).collect();
        self.connect(&subscribers)?;
        Ok((StreamOrder::RoundRobin(streams), subscribers))
    }

    /// Connects `sessions`, and adds the cost for the server as figures.
    pub(super) fn connect(&mut self, sessions: &[usize]) -> anyhow::Result<()> {
        let (open, before, began) = (self.engine.open_sessions(), self.moment(), self.engine.now());
        let connected = self.engine.connect(sessions.iter().copied(), CONNECT_PATIENCE);
        self.check_open(open + sessions.len())?;
        connected?;
        self.check_deflate()?;
        self.figures.insert("connects_per_s".to_owned(), sessions.len() as f64 * 1e9 / (self.engine.now() - began) as f64);
        if let (Some(before), Some(after)) = (before.server, self.moment().server) {
            let each = |total: u64| total as f64 / sessions.len() as f64;
            self.figures.insert("handshake_cpu_us".to_owned(), each(after.busy.saturating_sub(before.busy)) / 1e3);
            self.figures.insert("resident_bytes_per_session".to_owned(), each(after.resident_bytes.saturating_sub(before.resident_bytes)));
        }
        Ok(())
    }

    /// Fails if the server does not compress as offered.
    fn check_deflate(&self) -> anyhow::Result<()> {
        let (address, agreed) = (self.targets[0].address, self.engine.deflated_sessions() > 0);
        match self.settings.deflate {
            Deflate::Alone if !agreed => bail!("{address} does not take permessage-deflate, and --deflate asks for it"),
            Deflate::History if !agreed => {
                bail!("{address} does not let sessions keep their windows of permessage-deflate, and --deflate=history asks for that")
            }
            Deflate::Off | Deflate::Alone | Deflate::History => Ok(()),
        }
    }

    /// Fails, with a remedy, if fewer than `wanted` sessions are open.
    pub(super) fn check_open(&self, wanted: usize) -> anyhow::Result<()> {
        let (open, counts) = (self.engine.open_sessions(), self.engine.counts());
        if open >= wanted {
            return Ok(());
        }
        let refusals = counts.findings.refusals.iter().map(|(reason, count)| format!("{count} × {reason}"));
        let faults = counts.findings.faults.iter().map(|(fault, count)| format!("{count} × {fault}"));
        let errors = counts.findings.errors.iter().map(|(code, (count, words))| format!("{count} × {code}: {words}"));
        let closes = counts.findings.closes.iter().map(|(code, count)| format!("{count} × closed with {code}"));
        let why: Vec<String> = refusals.chain(faults).chain(errors).chain(closes).collect();
        let remedy = if counts.findings.refusals.keys().any(|reason| reason.starts_with("429")) {
            "; the gateway holds each address to `limits.sessions_per_address`: spread the sessions with --spread, raise the key, or let --start start a gateway"
        } else if lacks_credentials(counts) {
            "; is the --token right?"
        } else if counts.findings.errors.contains_key("not_allowed") {
            "; the grants must cover --prefix: give a --token or another --prefix, or let --start start a gateway"
        } else {
            ""
        };
        let why = if why.is_empty() { "the server gave no reason".to_owned() } else { why.join(", ") };
        bail!("{open} of {wanted} sessions with {} are subscribed: {why}{remedy}", self.targets[0].address)
    }

    pub(super) fn load(&self, picks: StreamOrder) -> Load {
        let pace = match self.settings.ahead {
            Some(ahead) => Pace::ClosedLoop(ahead),
            None => Pace::OpenLoop { rate: self.settings.rate, burst: self.settings.burst },
        };
        Load::new(pace, picks).rising(self.settings.ramp())
    }

    /// Warms up with `load`, then measures while `meanwhile` runs the engine for the settings' duration.
    pub(super) fn measure(&mut self, load: Load, meanwhile: impl FnOnce(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.engine.publish(load);
        self.engine.run_for(self.settings.warmup())?;
        let from = self.moment();
        self.engine.measure();
        meanwhile(self)?;
        self.window = Some((from, self.moment()));
        if let Some(load) = self.engine.stop_publishing() {
            self.lateness = Quantiles::of(&load.lateness);
        }
        Ok(())
    }

    /// Runs the engine for the settings' duration.
    pub(super) fn run(&mut self) -> anyhow::Result<()> {
        self.engine.run_for(self.settings.duration())
    }

    /// The id of the server's process, if it is known.
    pub(super) fn server_pid(&self) -> Option<u32> {
        self.server_pids.first().copied()
    }

    /// The server, if this run started it.
    pub(super) fn started(&mut self) -> Option<&mut Started> {
        self.started.as_mut()
    }

    /// Waits for owed deliveries, and makes the report.
    pub(super) fn finish(mut self) -> anyhow::Result<Report> {
        self.engine.await_deliveries(DELIVERY_PATIENCE)?;
        let verdict = self.engine.verdict();
        if !self.settings.scenario.expects_closes() && !verdict.findings.closes.is_empty() {
            self.failures.push("the server closed sessions that behaved".to_owned());
        }
        let after = self.scrape_at_rest();
        self.check_accounts(after.as_ref());
        let metrics = match (&self.scrape_before, &after) {
            (Some(before), Some(after)) => after.since(before),
            _ => BTreeMap::new(),
        };
        let (from, to) = self.window.unwrap_or_else(|| [self.moment(); 2].into());
        let nanoseconds = to.at - from.at;
        let deliveries = to.deliveries - from.deliveries;
        let each = |bytes: u64| (deliveries > 0).then(|| bytes as f64 / deliveries as f64);
        let server = from.server.zip(to.server).map(|(before, after)| after.since(&before, nanoseconds, deliveries));
        let own = to.own.since(&from.own, nanoseconds, deliveries);
        let latency = self.engine.latency();
        let mut report = Report {
            settings: self.settings.clone(),
            machine: self.machine.clone(),
            measured_s: nanoseconds as f64 / 1e9,
            published: to.published - from.published,
            deliveries,
            bytes_per_delivery: each(to.message_bytes - from.message_bytes),
            inflated_bytes_per_delivery: each(to.text_bytes - from.text_bytes),
            latency: latency.measured(),
            warm_up: latency.warm_up(),
            lateness: self.lateness,
            verdict,
            server,
            own,
            histogram: latency.histogram().clone(),
            provenance: Provenance::here(),
            figures: std::mem::take(&mut self.figures),
            failures: std::mem::take(&mut self.failures),
            warnings: Vec::new(),
            metrics,
            curve: latency.curve(),
            slices: latency.slices(),
        };
        report.warn();
        report.judge();
        Ok(report)
    }

    /// The gateway's metrics once its accounts close, or after two seconds.
    fn scrape_at_rest(&self) -> Option<Scrape> {
        self.scrape_before.as_ref()?;
        let mut found = scrape(&self.targets)?;
        for _ in 0..REST_TRIES {
            if found.unaccounted() == 0.0 {
                break;
            }
            std::thread::sleep(REST_PAUSE);
            found = scrape(&self.targets)?;
        }
        Some(found)
    }

    /// Checks that a started gateway counts as many deliveries as arrived, because it has no other sessions (PROTOCOL
    /// section 9).
    fn check_accounts(&mut self, after: Option<&Scrape>) {
        let (Server::Belfry { .. }, Some(after)) = (&self.settings.server, after) else { return };
        let open = after.unaccounted();
        if open != 0.0 {
            self.failures.push(format!("the gateway's accounts do not close: routed − delivered − conflated − dropped − queued is {open}"));
        }
        let (said, came) = (after.value("belfry_deliveries_total"), self.engine.counts().deliveries as f64);
        if self.settings.scenario.keeps_all_sessions() && said != came {
            self.failures.push(format!("the gateway counts {said} messages as delivered, but {came} arrived"));
        }
    }

    fn moment(&self) -> Moment {
        let counts = self.engine.counts();
        Moment {
            at: self.engine.now(),
            own: Usage::own(),
            server: Usage::of_all(&self.server_pids),
            deliveries: counts.deliveries,
            published: counts.published,
            message_bytes: counts.message_bytes,
            text_bytes: counts.text_bytes,
        }
    }
}

/// Whether the server refused the credentials, or requires some.
fn lacks_credentials(counts: &Counts) -> bool {
    let refused = counts.findings.refusals.keys().any(|reason| reason.starts_with("401") || reason.starts_with("403"));
    refused || [1008, 4001, 4002].iter().any(|code| counts.findings.closes.contains_key(code))
}

/// The sums of the metrics of all gateways.
fn scrape(targets: &[Target]) -> Option<Scrape> {
    let fetch = |target: &Target| Scrape::fetch(target.address, &target.host, target.token.as_deref(), target.tls.as_ref());
    targets.iter().map(fetch).reduce(|sum, more| Some(sum?.plus(more?))).flatten()
}

/// A number that distinguishes this run's messages from those of other runs.
fn run_number() -> u16 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, nanoseconds);
    (now / 1_000_000) as u16 ^ std::process::id() as u16
}
