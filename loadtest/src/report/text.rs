//! The report as text.

use std::fmt::{Display, Formatter, Result};

use super::Report;
use super::figures::{self, FIGURES};
use super::units::{self, time};
use crate::measure::{Cost, Quantiles};
use crate::named::Named;
use crate::plan::{Server, Settings};
use crate::wire::Deflate;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let settings = &self.settings;
        let load = match settings.ahead {
            Some(ahead) => format!("{ahead} messages ahead"),
            None if settings.burst > 1 => format!("{} messages/s in bursts of {}", settings.rate, settings.burst),
            None => format!("{} messages/s", settings.rate),
        };
        let (scenario, server, compression) = (settings.scenario.name(), server_name(settings), compression(settings));
        let (sessions, bytes) = (units::count(settings.sessions as f64), settings.payload_bytes);
        let (measured, warm_up) = (self.measured_s, settings.warmup().as_secs_f64());
        write!(f, "{scenario} · {server}{compression} · {sessions} sessions · {load} · {bytes} bytes")?;
        writeln!(f, " · {measured:.1} s measured after {warm_up:.1} s")?;
        if self.published > 0 {
            row(f, "published", &amount(self.published, self.measured_s))?;
            row(f, "delivered", &amount(self.deliveries, self.measured_s))?;
        }
        if let (Some(wire), Some(inflated)) = (self.bytes_per_delivery, self.inflated_bytes_per_delivery) {
            let inflated = if settings.deflate == Deflate::Off { String::new() } else { format!(", {inflated:.1} inflated") };
            row(f, "bytes a delivery", &format!("{wire:.1}{inflated}"))?;
        }
        if self.latency.count > 0 {
            row(f, "latency", &quantiles(&self.latency))?;
        }
        if self.lateness.count > 0 {
            row(f, "of it, sent late", &format!("p50 {}  p99 {}", time(self.lateness.p50), time(self.lateness.p99)))?;
        }
        if let Some(server) = &self.server {
            row(f, "server", &cost(server))?;
        }
        row(f, "load test", &cost(&self.own))?;
        let known = FIGURES.iter().filter_map(|(key, ..)| Some((*key, *self.figures.get(*key)?)));
        let others = self.figures.iter().filter(|(key, _)| FIGURES.iter().all(|(known, ..)| known != key));
        for (key, value) in known.chain(others.map(|(key, value)| (key.as_str(), *value))) {
            let (label, value) = figures::formatted(key, value);
            row(f, &label, &value)?;
        }
        self.checks(f)?;
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        let (provenance, machine) = (&self.provenance, &self.machine);
        write!(f, "{}, version {}, {} with", provenance.date, provenance.version, machine.processor)?;
        writeln!(f, " {} cores: {}", machine.cores, provenance.command)
    }
}

impl Report {
    fn checks(&self, f: &mut Formatter<'_>) -> Result {
        let verdict = &self.verdict;
        let counts = [
            ("lost", verdict.lost),
            ("sessions behind", verdict.behind_sessions),
            ("duplicated", verdict.findings.duplicated),
            ("reordered", verdict.findings.reordered),
            ("altered", verdict.findings.altered),
            ("foreign", verdict.findings.foreign),
            ("at a wrong offset", verdict.findings.wrong_offsets),
            ("reported in gaps", verdict.findings.gaps),
            ("unsent, publisher disconnected", verdict.findings.unsent),
        ];
        let found: Vec<String> = counts.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}")).collect();
        let found =
            if found.is_empty() { "every message reached every subscriber once, in order, unchanged".to_owned() } else { found.join(", ") };
        row(f, "checks", &found)?;
        for (code, (count, words)) in &verdict.findings.errors {
            row(f, "error", &format!("{count} × {code}: {words}"))?;
        }
        for (kind, reasons) in [("refused", &verdict.findings.refusals), ("fault", &verdict.findings.faults)] {
            for (reason, count) in reasons {
                row(f, kind, &format!("{count} × {reason}"))?;
            }
        }
        for (code, count) in &verdict.findings.closes {
            row(f, "closed by the server", &format!("{count} × {code}"))?;
        }
        for failure in &self.failures {
            row(f, "FAILED", failure)?;
        }
        Ok(())
    }
}

/// The name of the server and its dialect.
pub(super) fn server_name(settings: &Settings) -> String {
    if let Some(name) = &settings.server_name {
        return name.clone();
    }
    match &settings.server {
        Server::Baseline(sends) => format!("plain sends, {}", sends.name()),
        Server::Peer(script) => script.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        Server::Running | Server::Belfry { .. } => settings.dialect.name(),
    }
}

/// The compression, if the server's name does not have it.
fn compression(settings: &Settings) -> &'static str {
    let suffix = settings.deflate.suffix();
    if settings.server_name.as_deref().is_some_and(|name| name.ends_with(suffix)) { "" } else { suffix }
}

fn row(f: &mut Formatter<'_>, name: &str, value: &str) -> Result {
    writeln!(f, "  {name:<35} {value}")
}

fn cost(cost: &Cost) -> String {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (before, after) = (mebibytes(cost.resident_bytes.0), mebibytes(cost.resident_bytes.1));
    let each = if cost.cpu_us_per_delivery > 0.0 { format!("{:.2} µs CPU a delivery, ", cost.cpu_us_per_delivery) } else { String::new() };
    format!("{each}{:.0} % of a core, {before:.1} → {after:.1} MiB", cost.cpu_share * 100.0)
}

fn quantiles(quantiles: &Quantiles) -> String {
    let Quantiles { p50, p90, p99, p999, max, .. } = *quantiles;
    let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(time);
    format!("p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p999}  max {max}")
}

/// A count with its rate a second.
fn amount(count: u64, seconds: f64) -> String {
    format!("{} ({})", units::count(count as f64), units::rate(count as f64 / seconds.max(1e-9)))
}
