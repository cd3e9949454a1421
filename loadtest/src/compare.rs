//! Runs the same load on several servers, interleaved and repeated, so that disturbances of the machine affect all of
//! them.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, ensure};
use clap::ValueEnum;

use crate::launch::StartedServer;
use crate::named::Named;
use crate::plan::{Preset, Scenario, Server, Settings};
use crate::report::{Comparison, FigureSummary, Report, Row};
use crate::scenario;
use crate::wire::Deflate;

/// A server of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contender {
    preset: Preset,
    deflate: Deflate,
}

/// Splits a name into that of the server and the compression.
fn without_compression(name: &str) -> (&str, Deflate) {
    let mut compressing = [Deflate::Alone, Deflate::History].into_iter();
    compressing.find_map(|deflate| Some((name.strip_suffix(deflate.suffix())?, deflate))).unwrap_or((name, Deflate::Off))
}

impl FromStr for Contender {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, deflate) = without_compression(text);
        let preset = Preset::from_str(name, false).ok().filter(|preset| preset.offers(deflate));
        let preset = preset.with_context(|| {
            let names: Vec<String> = Preset::value_variants().iter().map(|preset| preset.name()).collect();
            let behind = "and `+deflate` behind it if it shall compress, or `+history` if it is Belfry";
            format!("{text:?} is no server; write one of {}, {behind}", names.join(", "))
        })?;
        Ok(Self { preset, deflate })
    }
}

impl Contender {
    fn name(self) -> String {
        format!("{}{}", self.preset.name(), self.deflate.suffix())
    }

    /// The settings of a run on this server.
    fn settings(self, settings: &Settings, peers: &Path) -> anyhow::Result<Settings> {
        ensure!(
            !self.preset.is_belfry() || settings.server != Server::Running,
            "compare starts what it compares: name the gateway's binary with --start"
        );
        let server = self.preset.server(&settings.server, peers)?;
        let deflate = if self.deflate == Deflate::Off && self.preset.offers(settings.deflate) { settings.deflate } else { self.deflate };
        let settings = Settings { deflate, ..settings.clone().with_server(self.name(), server, self.preset.dialect()) };
        settings.check_dialect()?;
        Ok(settings)
    }
}

type Figure = (&'static str, fn(&Report) -> Option<f64>);

/// The figures for scenarios with traffic.
const TRAFFIC: &[Figure] = &[
    ("CPU µs a delivery", |report| Some(report.server?.cpu_us_per_delivery)),
    ("bytes a delivery", |report| report.bytes_per_delivery),
    ("p50 µs", |report| Some(report.latency.p50)),
    ("p99 µs", |report| Some(report.latency.p99)),
    ("delivered/s", |report| Some(report.deliveries as f64 / report.measured_s)),
];
/// The figures for idle sessions.
const IDLE: &[Figure] = &[
    ("resident bytes a session", |report| report.figures.get("resident_bytes_per_session").copied()),
    ("kernel's buffers, bytes a session", |report| report.figures.get("kernel_buffer_bytes_per_session").copied()),
    ("CPU µs a session and second", |report| report.figures.get("idle_cpu_us_per_session_and_second").copied()),
];
/// The figures for new sessions.
const HANDSHAKE: &[Figure] = &[
    ("CPU µs a handshake", |report| report.figures.get("handshake_cpu_us").copied()),
    ("connects/s", |report| report.figures.get("connects_per_s").copied()),
];

fn figures(scenario: Scenario) -> &'static [Figure] {
    match scenario {
        Scenario::Idle => IDLE,
        Scenario::Handshake => HANDSHAKE,
        _ => TRAFFIC,
    }
}

/// The settings for each of `contenders`: all get the work of `settings`.
pub fn settings(settings: &Settings, contenders: &[Contender], peers: &Path) -> anyhow::Result<Vec<Settings>> {
    ensure!(!contenders.is_empty(), "compare needs a server: name some by --with");
    contenders.iter().map(|contender| contender.settings(settings, peers)).collect()
}

/// Starts each peer server once, and removes those that fail. Their scripts print the reason.
pub fn leave_out_absent(contenders: &mut Vec<Settings>) -> anyhow::Result<()> {
    contenders.retain(|contender| {
        let is_peer = matches!(contender.server, Server::Peer(_));
        let is_absent = is_peer && StartedServer::start(&contender.server, false, contender.deflate != Deflate::Off).is_err();
        if is_absent {
            eprintln!("{} is left out", name(contender));
        }
        !is_absent
    });
    ensure!(!contenders.is_empty(), "none of the servers can be started here");
    Ok(())
}

/// The reports of all rounds. A run that failed has none.
pub struct Rounds {
    contenders: Vec<Settings>,
    rounds: Vec<Vec<Option<Report>>>,
}

/// Runs all `contenders` one after the other, `repeat` times. With `keep_going` it continues after failed runs.
pub fn run(contenders: Vec<Settings>, repeat: usize, keep_going: bool) -> anyhow::Result<Rounds> {
    let mut rounds = Vec::new();
    for round in 1..=repeat {
        let mut reports = Vec::new();
        for settings in &contenders {
            eprintln!("round {round} of {repeat}: {}", name(settings));
            match scenario::run(settings.clone()).with_context(|| format!("{} did not run", name(settings))) {
                Err(error) if keep_going => {
                    eprintln!("{error:#}");
                    reports.push(None);
                }
                report => reports.push(Some(report?)),
            }
        }
        rounds.push(reports);
    }
    Ok(Rounds { contenders, rounds })
}

fn name(settings: &Settings) -> &str {
    settings.server_name.as_deref().unwrap_or("the server")
}

impl Rounds {
    pub fn into_reports(self) -> Vec<Report> {
        self.rounds.into_iter().flatten().flatten().collect()
    }

    /// Whether all runs have reports, and all checks held.
    pub fn hold(&self) -> bool {
        self.rounds.iter().flatten().all(|report| report.as_ref().is_some_and(Report::holds))
    }

    /// The median of each figure, and its ratio to the base's figure in the same round.
    pub fn comparison(&self) -> Comparison {
        let figures = figures(self.contenders[0].scenario);
        let rows = self.contenders.iter().enumerate().map(|(at, contender)| {
            let base = self.base(at);
            let summaries = figures.iter().map(|(_, figure)| {
                let values = self.rounds.iter().filter_map(|round| figure(round[at].as_ref()?));
                let ratios = self.rounds.iter().filter_map(|round| Some(figure(round[at].as_ref()?)? / figure(round[base].as_ref()?)?));
                FigureSummary::of(values.collect(), ratios.collect())
            });
            Row { server: name(contender).to_owned(), figures: summaries.collect(), checks: self.checks(at) }
        });
        Comparison { columns: figures.iter().map(|(name, _)| *name).collect(), rows: rows.collect() }
    }

    fn checks(&self, at: usize) -> String {
        let reports = || self.rounds.iter().map(|round| round[at].as_ref());
        let (absent, failed) = (reports().filter(Option::is_none).count(), reports().flatten().filter(|report| !report.holds()).count());
        match (absent, failed) {
            (0, 0) => "held".to_owned(),
            (0, failed) => format!("FAILED in {failed} of {}", self.rounds.len()),
            (absent, _) => format!("did not run in {absent} of {}", self.rounds.len()),
        }
    }

    /// The base of ratios: for a server with compression, the same server without it if that is compared too, otherwise
    /// the first server.
    fn base(&self, at: usize) -> usize {
        let (plain, deflate) = without_compression(name(&self.contenders[at]));
        let without = || self.contenders.iter().position(|contender| name(contender) == plain);
        if deflate == Deflate::Off { 0 } else { without().unwrap_or(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contender_is_a_server_with_or_without_compression() {
        for text in ["json", "raw+deflate", "raw+history", "json-coalesce-1ms", "uwebsockets+deflate"] {
            assert_eq!(Contender::from_str(text).unwrap().name(), text);
        }
        assert!(Contender::from_str("centrifugo-protobuf+history").is_ok(), "Belfry in any dialect");
        assert!(Contender::from_str("baseline+deflate").is_err(), "plain sends compress nothing");
        assert!(Contender::from_str("sse+deflate").is_err(), "no stream is compressed");
        assert!(Contender::from_str("nchan+history").is_err(), "only Belfry compresses with history");
        let unknown = Contender::from_str("nonsense").unwrap_err().to_string();
        assert!(unknown.contains("\"nonsense\"") && unknown.contains("uwebsockets"), "{unknown}");
    }
}
