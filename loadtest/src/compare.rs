//! The same load on several servers in turn, interleaved and repeated, so that whatever else the machine does meets all of them.

use std::fmt::Write;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, ensure};
use clap::ValueEnum;

use crate::gateway::{Server, Started};
use crate::preset::Preset;
use crate::report::Report;
use crate::scenario::{self, Scenario, Settings};

/// One of those that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contender {
    preset: Preset,
    /// With permessage-deflate, whatever the others do.
    deflate: bool,
}

/// A name that is none.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no server; write one of {names}, and `+deflate` behind it if it shall compress", names = names())]
pub struct UnknownContender(String);

fn names() -> String {
    let names: Vec<String> = Preset::value_variants().iter().map(|preset| preset.name()).collect();
    names.join(", ")
}

impl FromStr for Contender {
    type Err = UnknownContender;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, deflate) = text.strip_suffix("+deflate").map_or((text, false), |name| (name, true));
        let preset = Preset::from_str(name, false).map_err(|_| UnknownContender(text.to_owned()))?;
        if deflate && !preset.deflates() { Err(UnknownContender(text.to_owned())) } else { Ok(Self { preset, deflate }) }
    }
}

impl Contender {
    fn name(self) -> String {
        format!("{}{}", self.preset.name(), if self.deflate { "+deflate" } else { "" })
    }

    /// The settings of a run on it.
    fn settings(self, settings: &Settings, peers: &Path) -> anyhow::Result<Settings> {
        ensure!(
            !self.preset.is_belfry() || settings.server != Server::Running,
            "compare starts what it compares: name the gateway's binary with --start"
        );
        let server = self.preset.server(&settings.server, peers)?;
        let deflate = self.preset.deflates() && (settings.deflate || self.deflate);
        let settings = Settings { deflate, ..settings.clone().on(self.name(), server, self.preset.dialect()) };
        settings.fits()?;
        Ok(settings)
    }
}

type Figure = (&'static str, fn(&Report) -> Option<f64>);

/// What traffic is compared by.
const TRAFFIC: &[Figure] = &[
    ("CPU µs a delivery", |report| Some(report.server?.cpu_us_per_delivery)),
    ("p50 µs", |report| Some(report.latency.p50)),
    ("p99 µs", |report| Some(report.latency.p99)),
    ("delivered/s", |report| Some(report.deliveries as f64 / report.measured_s)),
];
/// What sessions at rest are compared by.
const REST: &[Figure] = &[
    ("resident bytes a session", |report| report.figures.get("resident_bytes_per_session").copied()),
    ("kernel's buffers, bytes a session", |report| report.figures.get("kernel_buffer_bytes_per_session").copied()),
    ("CPU µs a session and second", |report| report.figures.get("idle_cpu_us_per_session_and_second").copied()),
];
/// What sessions that come are compared by.
const ARRIVALS: &[Figure] = &[
    ("CPU µs a handshake", |report| report.figures.get("handshake_cpu_us").copied()),
    ("connects/s", |report| report.figures.get("connects_per_s").copied()),
];

fn figures(scenario: Scenario) -> &'static [Figure] {
    match scenario {
        Scenario::Idle => REST,
        Scenario::Handshake => ARRIVALS,
        _ => TRAFFIC,
    }
}

/// The settings of each of `contenders`: the same work, as `settings` say, for all.
pub fn settings(settings: &Settings, contenders: &[Contender], peers: &Path) -> anyhow::Result<Vec<Settings>> {
    ensure!(!contenders.is_empty(), "compare needs a server: name some by --with");
    contenders.iter().map(|contender| contender.settings(settings, peers)).collect()
}

/// Starts each server of others' once, and leaves out those that can't be had here; their scripts say why.
pub fn leave_out_absent(contenders: &mut Vec<Settings>) -> anyhow::Result<()> {
    contenders.retain(|contender| {
        let there = !matches!(contender.server, Server::Peer(_)) || Started::start(&contender.server, false, contender.deflate).is_ok();
        if !there {
            eprintln!("{} is left out", name(contender));
        }
        there
    });
    ensure!(!contenders.is_empty(), "none of the servers can be started here");
    Ok(())
}

/// All runs, round by round; each row is a round.
pub struct Rounds {
    contenders: Vec<Settings>,
    rounds: Vec<Vec<Report>>,
}

/// Runs `contenders` in turn, `repeat` times.
pub fn run(contenders: Vec<Settings>, repeat: usize) -> anyhow::Result<Rounds> {
    let mut rounds = Vec::new();
    for round in 1..=repeat {
        let mut reports = Vec::new();
        for settings in &contenders {
            eprintln!("round {round} of {repeat}: {}", name(settings));
            reports.push(scenario::run(settings.clone()).with_context(|| format!("{} did not run", name(settings)))?);
        }
        rounds.push(reports);
    }
    Ok(Rounds { contenders, rounds })
}

fn name(settings: &Settings) -> &str {
    settings.server_name.as_deref().unwrap_or("the server")
}

impl Rounds {
    /// All reports, in the order in which they were made.
    pub fn into_reports(self) -> Vec<Report> {
        self.rounds.into_iter().flatten().collect()
    }

    /// A table in Markdown: of each figure the median, and its ratio to the first contender's in the same round, with the spread.
    pub fn table(&self) -> String {
        let figures = figures(self.contenders[0].scenario);
        let mut out = String::from("| server |");
        for (name, _) in figures {
            let _ = write!(out, " {name} | ratio |");
        }
        out.push_str(" checks |\n| --- |");
        figures.iter().for_each(|_| out.push_str(" --- | --- |"));
        out.push_str(" --- |\n");
        for (at, contender) in self.contenders.iter().enumerate() {
            let _ = write!(out, "| {} |", name(contender));
            for (_, figure) in figures {
                let values: Vec<f64> = self.rounds.iter().filter_map(|round| figure(&round[at])).collect();
                let ratios = self.rounds.iter().filter_map(|round| Some(figure(&round[at])? / figure(&round[0])?));
                let _ = write!(out, " {} | {} |", number(median(values)), spread(ratios.collect()));
            }
            let failed = self.rounds.iter().filter(|round| !round[at].holds()).count();
            let held = if failed == 0 { "held".to_owned() } else { format!("FAILED in {failed} of {}", self.rounds.len()) };
            let _ = writeln!(out, " {held} |");
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

/// The median, and from where to where; nothing where a ratio has no sense.
fn spread(values: Vec<f64>) -> String {
    if values.iter().any(|value| !value.is_finite()) || values.is_empty() {
        return "–".to_owned();
    }
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.2} ({low:.2}–{high:.2})", median(values))
}

fn number(value: f64) -> String {
    match value {
        none if none.is_nan() => "–".to_owned(),
        small if small < 1.0 => format!("{small:.3}"),
        middle if middle < 100.0 => format!("{middle:.2}"),
        large => format!("{large:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_tells_median_and_ends() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), "2.00 (1.00–3.00)");
        assert_eq!(spread(vec![1.0, 2.0]), "1.50 (1.00–2.00)");
        assert_eq!(spread(vec![f64::NAN]), "–");
    }

    #[test]
    fn a_contender_is_named_with_or_without_deflate() {
        for text in ["json", "raw+deflate", "json-coalesce-1ms", "uwebsockets+deflate"] {
            assert_eq!(Contender::from_str(text).unwrap().name(), text);
        }
        assert!(Contender::from_str("floor+deflate").is_err(), "plain sends compress nothing");
        let unknown = Contender::from_str("nonsense").unwrap_err().to_string();
        assert!(unknown.contains("\"nonsense\"") && unknown.contains("uwebsockets"), "{unknown}");
    }
}
