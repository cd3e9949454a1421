//! What a run found, for people and for machines.

mod comparison;
mod html;
mod live;
mod plot;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;

pub use comparison::{Cell, Comparison, Row};
pub use html::page;
pub use live::Live;

use crate::engine::Verdict;
use crate::measure::{Cost, Machine, Quantiles, Slice};
use crate::plan::Settings;

/// The whole of it; `--json` prints this.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was asked for.
    pub settings: Settings,
    /// Where.
    pub machine: Machine,
    /// How long measuring took, in seconds.
    pub measured_s: f64,
    /// Messages published while measuring.
    pub published: u64,
    /// Messages that arrived while measuring, over all subscribers.
    pub deliveries: u64,
    /// From the scheduled moment to the arrival.
    pub latency: Quantiles,
    /// The same during the warm-up.
    pub warm_up: Quantiles,
    /// From the scheduled moment to the write by the load test itself.
    pub lateness: Quantiles,
    /// What the checks of every delivery found, the warm-up included.
    pub verdict: Verdict,
    /// What it cost the server, where its process is known.
    pub server: Option<Cost>,
    /// What it cost the load test.
    pub own: Cost,
    /// What only this scenario measures.
    pub figures: BTreeMap<String, f64>,
    /// What the scenario's own checks found wrong.
    pub failures: Vec<String>,
    /// What makes the figures doubtful.
    pub warnings: Vec<String>,
    /// How the gateway's own figures moved.
    pub metrics: BTreeMap<String, f64>,
    /// `(percentile, microseconds)`.
    pub curve: Vec<(f64, f64)>,
    /// The time line.
    pub slices: Vec<Slice>,
}

impl Report {
    /// Whether all checks held.
    pub fn holds(&self) -> bool {
        self.verdict.holds() && self.failures.is_empty()
    }

    /// Looks for what makes the figures doubtful.
    pub(crate) fn warn(&mut self) {
        let mut warnings = Vec::new();
        if self.own.cpu_share > 0.85 {
            warnings.push(format!(
                "the load test itself used {:.0} % of a core: the delays are partly its own; ask for less, or measure CPU per delivery instead",
                self.own.cpu_share * 100.0
            ));
        }
        if self.own.waited_share > 0.05 {
            warnings.push(format!(
                "the load test waited for a CPU {:.0} % of the time: the machine is too busy for its delays to mean much",
                self.own.waited_share * 100.0
            ));
        }
        if let Some(server) = self.server.filter(|server| server.waited_share > 0.1) {
            warnings.push(format!(
                "the server's threads waited for a CPU {:.0} % of the time: something else runs there",
                server.waited_share * 100.0
            ));
        }
        if self.lateness.p99 > 1_000.0 {
            warnings.push(format!(
                "messages were sent {:.1} ms late (p99): the load test could not keep its own schedule",
                self.lateness.p99 / 1e3
            ));
        }
        if self.verdict.errors.contains_key("rate_limited") {
            warnings.push(
                "the gateway refused publishes by `limits.commands_per_second`, and they count as lost: use more --publishers, raise the key, or let --start start a gateway".to_owned(),
            );
        }
        self.warnings = warnings;
    }
}
