//! What is published, who subscribes, what happens meanwhile, what is checked.

mod bench;
mod chat;
mod churn;
mod drain;
mod fanout;
mod handshake;
mod idle;
mod market;
mod settings;
mod slow;
mod storm;

use clap::ValueEnum;
use serde::Serialize;

pub use settings::{Arguments, PublishBy, Settings};

use crate::report::Report;
use bench::Bench;

/// The kinds of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// One topic, many subscribers
    Fanout,
    /// Many topics of skewed popularity, some of them for each subscriber
    Market,
    /// Many rooms, everyone speaks
    Chat,
    /// Memory of sessions that hear nothing
    Idle,
    /// What it costs to take a session in
    Handshake,
    /// All leave at once and come back for what they missed
    Storm,
    /// A share of the subscribers stops reading
    Slow,
    /// Subscriptions come and go
    Churn,
    /// The gateway is told to end, under load
    Drain,
}

impl Scenario {
    /// Whether the server may close sessions.
    pub fn expects_closes(self) -> bool {
        matches!(self, Self::Slow | Self::Drain)
    }

    /// Whether each session keeps its subscriptions from beginning to end, so that nothing is under way that nobody counts.
    pub fn keeps_all_sessions(self) -> bool {
        matches!(self, Self::Fanout | Self::Market | Self::Chat | Self::Idle | Self::Handshake)
    }

    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// Runs the scenario that `settings` name.
pub fn run(settings: Settings) -> anyhow::Result<Report> {
    let scenario = settings.scenario;
    settings.fits()?;
    let bench = Bench::open(settings)?;
    match scenario {
        Scenario::Fanout => fanout::run(bench),
        Scenario::Market => market::run(bench),
        Scenario::Chat => chat::run(bench),
        Scenario::Idle => idle::run(bench),
        Scenario::Handshake => handshake::run(bench),
        Scenario::Storm => storm::run(bench),
        Scenario::Slow => slow::run(bench),
        Scenario::Churn => churn::run(bench),
        Scenario::Drain => drain::run(bench),
    }
}

/// Runs for the settings' duration in calm, then `troubled`; what is reported is the second part, and how it stands to the first.
fn compare_halves(bench: &mut Bench, troubled: impl FnOnce(&mut Bench) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let start = bench.server_busy();
    bench.run()?;
    let (calm, middle) = (bench.latency(), bench.server_busy());
    bench.engine.measure();
    troubled(bench)?;
    let (after, end) = (bench.latency(), bench.server_busy());
    bench.note("calm_p99_us", calm.p99);
    bench.note("troubled_p99_us", after.p99);
    if let (Some(start), Some(middle), Some(end)) = (start, middle, end) {
        let cost = |from: (u64, u64), to: (u64, u64)| (to.0.saturating_sub(from.0)) as f64 / 1e3 / (to.1 - from.1).max(1) as f64;
        bench.note("calm_cpu_us_per_delivery", cost(start, middle));
        bench.note("troubled_cpu_us_per_delivery", cost(middle, end));
    }
    Ok(())
}
