//! The steps of every scenario: find or start the server, connect, warm up, measure, wait for deliveries, report.

mod gateway_metrics;
mod missing_sessions;
mod targets;
mod totals;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::clock::nanoseconds;
use crate::engine::{Counts, Engine, Load, Pace, StreamOrder, Target, raise_file_limit};
use crate::launch::StartedServer;
use crate::measure::{Machine, Quantiles, Slice};
use crate::plan::{Server, Settings};
use crate::report::{ProgressLine, Provenance, Report};
use crate::stamp::Stamper;
use crate::wire::Deflate;
use gateway_metrics::GatewayMetrics;
use targets::targets;
use totals::Totals;

/// The longest time until all sessions are connected.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(60);
/// After this time without a delivery, owed deliveries count as lost.
const DELIVERY_PATIENCE: Duration = Duration::from_secs(3);

/// One run.
pub struct Bench {
    pub settings: Settings,
    pub engine: Engine,
    /// The scenario's own figures, by name with the unit last.
    pub figures: BTreeMap<String, f64>,
    /// Failed checks of the scenario.
    pub failures: Vec<String>,
    /// The server, if this run started it.
    pub started: Option<StartedServer>,
    /// The processes of the server, if they are known.
    pub server_pids: Vec<u32>,
    /// The gateways. Messages for people name the first.
    targets: Vec<Target>,
    number: u16,
    machine: Machine,
    metrics: Option<GatewayMetrics>,
    lateness: Quantiles,
    /// The totals at the beginning and the end of the measurement.
    measured: Option<(Totals, Totals)>,
}

impl Bench {
    /// Finds or starts the server, and makes an engine for it.
    pub fn open(settings: Settings) -> anyhow::Result<Self> {
        raise_file_limit(settings.sessions + settings.publishers)?;
        let started = StartedServer::start(&settings.server, settings.pin, settings.deflate != Deflate::Off)?;
        let targets = targets(&settings, started.as_ref())?;
        let number = run_number();
        let stamper = Stamper::new(number, settings.payload_bytes);
        let mut progress = ProgressLine::new(&settings, std::io::stderr().is_terminal());
        let watch = Box::new(move |slice: &Slice, counts: &Counts| progress.show(slice, counts));
        let engine = Engine::new(targets.clone(), stamper, settings.clustered, watch).context("can't make an epoll")?;
        Ok(Self {
            server_pids: started.as_ref().map_or_else(|| settings.server_pids.clone(), |started| vec![started.pid()]),
            machine: Machine::here(),
            metrics: if settings.is_belfry() { GatewayMetrics::read(&targets) } else { None },
            engine,
            targets,
            number,
            started,
            figures: BTreeMap::new(),
            failures: Vec::new(),
            lateness: Quantiles::default(),
            measured: None,
            settings,
        })
    }

    /// Whether this run started a gateway, whose rules are known.
    pub fn starts_gateway(&self) -> bool {
        matches!(self.settings.server, Server::Belfry { .. })
    }

    /// The number of sessions that the gateway has closed since the run began.
    pub fn closed_by_server(&self) -> Option<f64> {
        self.metrics.as_ref()?.closed_sessions()
    }

    pub fn add_figure(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), value);
    }

    /// Adds the number of sessions that recovered as a figure. Returns how many did not.
    pub fn add_recovered_sessions(&mut self) -> u64 {
        let (recovered, unrecovered) = self.engine.counts().findings.recovered;
        self.add_figure("recovered_sessions", recovered as f64);
        unrecovered
    }

    /// Adds a topic with a unique name, so that its offsets begin at 1.
    pub fn add_topic(&mut self) -> u32 {
        self.add_topic_under(&self.settings.prefix.clone(), 0)
    }

    /// Adds as many topics as the settings have.
    pub fn add_topics(&mut self) -> Vec<u32> {
        let prefix = self.settings.prefix.clone();
        (0..self.settings.topics).map(|number| self.add_topic_under(&prefix, number)).collect()
    }

    /// Adds a topic of this run with the first token `prefix`.
    pub fn add_topic_under(&mut self, prefix: &str, number: usize) -> u32 {
        self.engine.add_topic(format!("{prefix}.load{:04x}.{number}", self.number))
    }

    /// Adds as many subscribers as the settings have, each with the topics that belong to its number.
    pub fn add_subscribers(&mut self, topics: impl Fn(usize) -> Vec<u32>) -> Vec<usize> {
        (0..self.settings.sessions).map(|number| self.engine.add_subscriber(topics(number))).collect()
    }

    /// Adds and connects the publishing sessions.
    pub fn connect_publishers(&mut self) -> anyhow::Result<Vec<usize>> {
        let publishers: Vec<usize> = (0..self.settings.publishers).map(|_| self.engine.add_publisher()).collect();
        self.engine.connect(publishers.iter().copied(), CONNECT_PATIENCE)?;
        self.check_open(publishers.len())?;
        Ok(publishers)
    }

    /// Adds and connects the publishers and all subscribers of `topic`. Returns the streams, and the subscribers.
    pub fn connect_all(&mut self, topic: u32) -> anyhow::Result<(StreamOrder, Vec<usize>)> {
        let publishers = self.connect_publishers()?;
        let streams = publishers.iter().map(|publisher| self.engine.add_stream(topic, *publisher)).collect();
        let subscribers = self.add_subscribers(|_| vec![topic]);
        self.connect(&subscribers)?;
        Ok((StreamOrder::RoundRobin(streams), subscribers))
    }

    /// Connects `sessions`, and adds the cost for the server as figures.
    pub fn connect(&mut self, sessions: &[usize]) -> anyhow::Result<()> {
        let (open, before) = (self.engine.open_sessions(), self.totals());
        let connected = self.engine.connect(sessions.iter().copied(), CONNECT_PATIENCE);
        self.check_open(open + sessions.len())?;
        connected?;
        self.check_deflate()?;
        let after = self.totals();
        self.add_figure("connects_per_s", sessions.len() as f64 * 1e9 / (after.at - before.at) as f64);
        if let (Some(before), Some(after)) = (before.server, after.server) {
            let each = |total: u64| total as f64 / sessions.len() as f64;
            self.add_figure("handshake_cpu_us", each(after.busy.saturating_sub(before.busy)) / 1e3);
            self.add_figure("resident_bytes_per_session", each(after.resident_bytes.saturating_sub(before.resident_bytes)));
        }
        Ok(())
    }

    /// Disconnects `sessions`, and reconnects them after the time `away`. Adds the time until all were back as a figure.
    pub fn reconnect(&mut self, sessions: &[usize], away: Duration) -> anyhow::Result<()> {
        let open = self.engine.open_sessions();
        self.engine.disconnect(sessions.iter().copied());
        self.engine.run_for(away)?;
        let began = self.engine.now();
        self.engine.connect(sessions.iter().copied(), CONNECT_PATIENCE)?;
        self.check_open(open)?;
        self.add_figure("reconnect_s", (self.engine.now() - began) as f64 / 1e9);
        Ok(())
    }

    /// Fails if the server does not compress as offered.
    fn check_deflate(&self) -> anyhow::Result<()> {
        let address = self.targets[0].address;
        match self.settings.deflate {
            Deflate::Off => Ok(()),
            _ if self.engine.deflated_sessions() > 0 => Ok(()),
            Deflate::Alone => bail!("{address} does not take permessage-deflate, and --deflate asks for it"),
            Deflate::History => {
                bail!("{address} does not let sessions keep their windows of permessage-deflate, and --deflate=history asks for that")
            }
        }
    }

    /// Fails, with a remedy, if fewer than `wanted` sessions are open.
    fn check_open(&self, wanted: usize) -> anyhow::Result<()> {
        let open = self.engine.open_sessions();
        if open >= wanted {
            return Ok(());
        }
        let explanation = missing_sessions::explanation(&self.engine.counts().findings);
        bail!("{open} of {wanted} sessions with {} are subscribed: {explanation}", self.targets[0].address)
    }

    /// The load of the settings on streams in this order.
    pub fn load(&self, order: StreamOrder) -> Load {
        let pace = match self.settings.ahead {
            Some(ahead) => Pace::ClosedLoop(ahead),
            None => Pace::OpenLoop { rate: self.settings.rate, burst: self.settings.burst },
        };
        Load::new(pace, order).rising(self.settings.ramp())
    }

    /// Warms up with `load`, then measures while `meanwhile` runs the engine for the settings' duration.
    pub fn measure(&mut self, load: Load, meanwhile: impl FnOnce(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.engine.publish(load);
        self.engine.run_for(self.settings.warmup())?;
        let from = self.totals();
        self.engine.measure();
        meanwhile(self)?;
        self.measured = Some((from, self.totals()));
        if let Some(load) = self.engine.stop_publishing() {
            self.lateness = Quantiles::of(&load.lateness);
        }
        Ok(())
    }

    /// Measures undisturbed for the settings' duration, then measures while `disturb` runs the engine. The report has the
    /// second half, and figures of both.
    pub fn measure_halves(&mut self, load: Load, disturb: impl FnOnce(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.measure(load, |bench| {
            let start = bench.totals();
            bench.run()?;
            let (calm, middle) = (bench.engine.latency().measured(), bench.totals());
            bench.engine.measure();
            disturb(bench)?;
            let (troubled, end) = (bench.engine.latency().measured(), bench.totals());
            bench.add_figure("calm_p99_us", calm.p99);
            bench.add_figure("troubled_p99_us", troubled.p99);
            if let (Some(calm), Some(troubled)) = (middle.cpu_us_per_delivery_since(&start), end.cpu_us_per_delivery_since(&middle)) {
                bench.add_figure("calm_cpu_us_per_delivery", calm);
                bench.add_figure("troubled_cpu_us_per_delivery", troubled);
            }
            Ok(())
        })
    }

    pub fn run(&mut self) -> anyhow::Result<()> {
        self.engine.run_for(self.settings.duration())
    }

    /// Waits for owed deliveries, and makes the report.
    pub fn finish(mut self) -> anyhow::Result<Report> {
        self.engine.await_deliveries(DELIVERY_PATIENCE)?;
        let verdict = self.engine.verdict();
        if !self.settings.scenario.expects_closes() && !verdict.findings.closes.is_empty() {
            self.failures.push("the server closed sessions that behaved".to_owned());
        }
        let metrics = self.compare_metrics().unwrap_or_default();
        let (from, to) = self.measured.take().unwrap_or_else(|| {
            let now = self.totals();
            (now.clone(), now)
        });
        let nanoseconds = to.at - from.at;
        let deliveries = to.counts.deliveries - from.counts.deliveries;
        let each = |bytes: u64| (deliveries > 0).then(|| bytes as f64 / deliveries as f64);
        let latency = self.engine.latency();
        let mut report = Report {
            machine: self.machine,
            measured_s: nanoseconds as f64 / 1e9,
            published: to.counts.published - from.counts.published,
            deliveries,
            bytes_per_delivery: each(to.counts.message_bytes - from.counts.message_bytes),
            inflated_bytes_per_delivery: each(to.counts.text_bytes - from.counts.text_bytes),
            latency: latency.measured(),
            warm_up: latency.warm_up(),
            lateness: self.lateness,
            verdict,
            server: from.server.zip(to.server).map(|(before, after)| after.since(&before, nanoseconds, deliveries)),
            own: to.own.since(&from.own, nanoseconds, deliveries),
            histogram: latency.histogram().clone(),
            provenance: Provenance::here(),
            figures: self.figures,
            failures: self.failures,
            warnings: Vec::new(),
            metrics,
            curve: latency.curve(),
            slices: latency.slices(),
            settings: self.settings,
        };
        report.warn();
        report.check_bounds();
        Ok(report)
    }

    /// The growth of the gateway's counters. A gateway that this run started must have counted what has arrived.
    fn compare_metrics(&mut self) -> Option<BTreeMap<String, f64>> {
        let metrics = self.metrics.as_ref()?;
        let at_rest = metrics.at_rest()?;
        if self.starts_gateway() {
            let deliveries = self.settings.scenario.keeps_all_sessions().then_some(self.engine.counts().deliveries);
            self.failures.extend(gateway_metrics::failures(&at_rest, deliveries));
        }
        Some(metrics.growth(&at_rest))
    }

    fn totals(&self) -> Totals {
        Totals::now(&self.engine, &self.server_pids)
    }
}

/// A number that distinguishes this run's messages from those of other runs.
fn run_number() -> u16 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, nanoseconds);
    (now / 1_000_000) as u16 ^ std::process::id() as u16
}
