//! The report of a run, for people and for machines.

mod comparison;
mod figures;
mod hdr;
mod html;
mod plot;
mod progress_line;
mod provenance;
mod text;
mod units;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

pub use comparison::{Comparison, FigureSummary, Row};
pub use hdr::percentiles;
pub use html::page;
pub use progress_line::ProgressLine;
pub use provenance::Provenance;

use crate::engine::Verdict;
use crate::measure::{Cost, Machine, Quantiles, Slice};
use crate::named::Named;
use crate::plan::{Expectation, Figure, Settings};

/// The report of one run, as `--json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub provenance: Provenance,
    pub settings: Settings,
    pub machine: Machine,
    pub measured_s: f64,
    /// Messages published during the measurement.
    pub published: u64,
    /// Messages that arrived during the measurement, over all subscribers.
    pub deliveries: u64,
    /// Bytes on the wire for each delivery, without frame heads.
    pub bytes_per_delivery: Option<f64>,
    /// The same after inflating.
    pub inflated_bytes_per_delivery: Option<f64>,
    /// The time from the scheduled time to the arrival.
    pub latency: Quantiles,
    /// The same during the warm-up.
    pub warm_up: Quantiles,
    /// The time from the scheduled time to the write by the load test.
    pub lateness: Quantiles,
    /// The result of the checks, including the warm-up.
    pub verdict: Verdict,
    /// The cost of the server, if its process is known.
    pub server: Option<Cost>,
    /// The cost of the load test.
    pub own: Cost,
    /// The scenario's own figures.
    pub figures: BTreeMap<String, f64>,
    /// Failed checks and broken bounds.
    pub failures: Vec<String>,
    /// Reasons why the figures may be wrong.
    pub warnings: Vec<String>,
    /// The growth of the gateway's counters.
    pub metrics: BTreeMap<String, f64>,
    /// All latencies of the measurement, in nanoseconds.
    #[serde(skip)]
    pub histogram: Histogram<u64>,
    /// `(percentile, microseconds)`.
    pub curve: Vec<(f64, f64)>,
    /// The time line.
    pub slices: Vec<Slice>,
}

impl Report {
    /// Whether all checks held.
    pub fn holds(&self) -> bool {
        self.verdict.holds(self.settings.scenario.expects_faults()) && self.failures.is_empty()
    }

    pub fn deliveries_per_s(&self) -> f64 {
        self.deliveries as f64 / self.measured_s.max(1e-9)
    }

    /// Checks the figures against the bounds of `--expect`.
    pub(crate) fn check_bounds(&mut self) {
        let broken: Vec<String> = self.settings.expect.iter().filter_map(|expectation| self.broken(*expectation)).collect();
        self.failures.extend(broken);
    }

    /// The failure of one bound, if it is broken.
    fn broken(&self, expectation: Expectation) -> Option<String> {
        let figure = expectation.figure;
        let value = self.value(figure);
        let holds = match (figure, value) {
            (Figure::Delivered, Some(value)) => value >= expectation.bound,
            (_, Some(value)) => value <= expectation.bound,
            (_, None) => false,
        };
        let formatted = |value: f64| if figure.is_time() { units::time(value) } else { units::count(value) };
        (!holds).then(|| {
            let found = value.map_or_else(|| "was not measured".to_owned(), |value| format!("is {}", formatted(value)));
            format!("{} {found}, and --expect has {}", figure.name(), formatted(expectation.bound))
        })
    }

    fn value(&self, figure: Figure) -> Option<f64> {
        let (latency, verdict) = (&self.latency, &self.verdict);
        let delay = |value: f64| (latency.count > 0).then_some(value);
        match figure {
            Figure::P50 => delay(latency.p50),
            Figure::P90 => delay(latency.p90),
            Figure::P99 => delay(latency.p99),
            Figure::P999 => delay(latency.p999),
            Figure::Max => delay(latency.max),
            Figure::Lateness => Some(self.lateness.p99),
            Figure::Lost => Some(verdict.lost as f64),
            Figure::Duplicated => Some(verdict.findings.duplicated as f64),
            Figure::Reordered => Some(verdict.findings.reordered as f64),
            Figure::Closed => Some(verdict.findings.closes.values().sum::<u64>() as f64),
            Figure::Refused => Some(verdict.findings.refusals.values().sum::<u64>() as f64),
            Figure::Cpu => self.server.map(|server| server.cpu_us_per_delivery),
            Figure::Bytes => self.bytes_per_delivery,
            Figure::Delivered => Some(self.deliveries_per_s()),
        }
    }

    /// Looks for reasons why the figures may be wrong.
    pub(crate) fn warn(&mut self) {
        let server_waited = self.server.map_or(0.0, |server| server.waited_share);
        let [used, waited, server_waited] = [self.own.cpu_share, self.own.waited_share, server_waited].map(|share| share * 100.0);
        let late = self.lateness.p99 / 1e3;
        let warnings = [
            (used > 85.0).then(|| {
                format!("the load test itself used {used:.0} % of a core: the delays are partly its own; ask for less, or measure CPU per delivery instead")
            }),
            (waited > 5.0).then(|| {
                format!("the load test waited for a CPU {waited:.0} % of the time: the machine is too busy for its delays to mean much")
            }),
            (server_waited > 10.0).then(|| {
                format!("the server's threads waited for a CPU {server_waited:.0} % of the time: something else runs there")
            }),
            (late > 1.0).then(|| format!("messages were sent {late:.1} ms late (p99): the load test could not keep its own schedule")),
            self.verdict.findings.errors.contains_key("rate_limited").then(|| {
                "the gateway refused publishes by `limits.commands_per_second`, and they count as lost: use more --publishers, raise the key, or let --start start a gateway".to_owned()
            }),
        ];
        self.warnings = warnings.into_iter().flatten().collect();
    }
}
