//! The same load on several servers in turn, interleaved and repeated, so that whatever else the machine does meets all of them.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, ensure};
use clap::ValueEnum;

use crate::floor::Sends;
use crate::gateway::Server;
use crate::report::Report;
use crate::scenario::{self, Settings};
use crate::wire::Dialect;

/// What users would run instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    /// Belfry's native dialect
    Json,
    /// Belfry's raw dialect
    Raw,
    /// Belfry's native dialect, compressed
    JsonDeflate,
    /// Belfry's native dialect with `server.coalesce` at 1 ms
    #[value(name = "json-coalesce-1ms")]
    JsonCoalesce,
    /// Belfry's native dialect on two shards
    JsonTwoShards,
    /// Plain sends, one for each message
    Floor,
    /// Plain sends, one for all messages that came at once
    FloorJoined,
    /// The Python `websockets` broadcast server
    PythonWebsockets,
    /// The Node `ws` broadcast server
    NodeWs,
    /// nats-server over WebSocket
    Nats,
}

type Figure = fn(&Report) -> Option<f64>;

/// The figures that are compared, and how each is read from a report.
const FIGURES: [(&str, Figure); 4] = [
    ("CPU µs a delivery", |report| Some(report.server?.cpu_us_per_delivery)),
    ("p50 µs", |report| Some(report.latency.p50)),
    ("p99 µs", |report| Some(report.latency.p99)),
    ("delivered/s", |report| Some(report.deliveries as f64 / report.measured_s)),
];

impl Contender {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The settings of a run on it.
    fn settings(self, settings: &Settings, belfry: &Server, peers: &Path) -> anyhow::Result<Settings> {
        let settings = settings.clone();
        let script = || -> anyhow::Result<Server> {
            let script = peers.join(self.name());
            ensure!(script.exists(), "there is no {}: name the folder of the scripts with --peers", script.display());
            Ok(Server::Peer(script))
        };
        Ok(match self {
            Self::Json => settings.on(belfry.clone(), Dialect::Json),
            Self::JsonDeflate => Settings { deflate: true, ..settings.on(belfry.clone(), Dialect::Json) },
            Self::JsonCoalesce => settings.on(belfry.with_setting("server.coalesce=1ms"), Dialect::Json),
            Self::JsonTwoShards => settings.on(belfry.with_setting("server.shards=2"), Dialect::Json),
            Self::Raw => settings.on(belfry.clone(), Dialect::Raw),
            Self::Floor => settings.on(Server::Floor(Sends::Single), Dialect::Plain),
            Self::FloorJoined => settings.on(Server::Floor(Sends::Joined), Dialect::Plain),
            Self::PythonWebsockets | Self::NodeWs => settings.on(script()?, Dialect::Plain),
            Self::Nats => settings.on(script()?, Dialect::Nats),
        })
    }
}

/// All runs, round by round; each row is a round.
pub struct Rounds {
    contenders: Vec<Contender>,
    rounds: Vec<Vec<Report>>,
}

/// Runs `contenders` in turn, `repeat` times.
pub fn run(settings: &Settings, contenders: &[Contender], repeat: usize, peers: &Path) -> anyhow::Result<Rounds> {
    ensure!(settings.server != Server::Running, "compare starts what it compares: name the gateway's binary with --start");
    let each =
        contenders.iter().map(|contender| contender.settings(settings, &settings.server, peers)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut rounds = Vec::new();
    for round in 1..=repeat {
        let mut reports = Vec::new();
        for (contender, settings) in contenders.iter().zip(&each) {
            eprintln!("round {round} of {repeat}: {}", contender.name());
            reports.push(scenario::run(settings.clone()).with_context(|| format!("{} did not run", contender.name()))?);
        }
        rounds.push(reports);
    }
    Ok(Rounds { contenders: contenders.to_vec(), rounds })
}

impl Rounds {
    /// All reports, in the order in which they were made.
    pub fn into_reports(self) -> Vec<Report> {
        self.rounds.into_iter().flatten().collect()
    }

    /// A table in Markdown: of each figure the median, and its ratio to the first contender's in the same round, with the spread.
    pub fn table(&self) -> String {
        let mut out = String::from("| server |");
        for (name, _) in FIGURES {
            let _ = write!(out, " {name} | ratio |");
        }
        out.push_str(" checks |\n| --- |");
        FIGURES.iter().for_each(|_| out.push_str(" --- | --- |"));
        out.push_str(" --- |\n");
        for (at, contender) in self.contenders.iter().enumerate() {
            let _ = write!(out, "| {} |", contender.name());
            for (_, figure) in FIGURES {
                let values: Vec<f64> = self.rounds.iter().filter_map(|round| figure(&round[at])).collect();
                let ratios = self.rounds.iter().filter_map(|round| Some(figure(&round[at])? / figure(&round[0])?));
                let _ = write!(out, " {} | {} |", number(median(values)), spread(ratios.collect()));
            }
            let held = self.rounds.iter().all(|round| round[at].holds());
            let _ = writeln!(out, " {} |", if held { "held" } else { "FAILED" });
        }
        out
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[odd / 2],
        even => (values[even / 2 - 1] + values[even / 2]) / 2.0,
    }
}

/// The median, and from where to where.
fn spread(values: Vec<f64>) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.2} ({low:.2}–{high:.2})", median(values))
}

fn number(value: f64) -> String {
    if value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_tells_median_and_ends() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), "2.00 (1.00–3.00)");
        assert_eq!(spread(vec![1.0, 2.0]), "1.50 (1.00–2.00)");
    }
}
