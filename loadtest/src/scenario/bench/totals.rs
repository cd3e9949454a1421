//! The totals of a run at one moment.

use crate::engine::{Counts, Engine};
use crate::measure::Usage;

#[derive(Clone)]
pub struct Totals {
    /// The moment, in nanoseconds of the run's clock.
    pub at: u64,
    /// The usage of the load test.
    pub own: Usage,
    /// The usage of the server, if its processes are known.
    pub server: Option<Usage>,
    pub counts: Counts,
}

impl Totals {
    pub fn now(engine: &Engine, server_pids: &[u32]) -> Self {
        Self { at: engine.now(), own: Usage::own(), server: Usage::of_all(server_pids), counts: engine.counts().clone() }
    }

    /// The server's CPU time for each delivery since `before`, in microseconds.
    pub fn cpu_us_per_delivery_since(&self, before: &Self) -> Option<f64> {
        let busy = self.server?.busy.saturating_sub(before.server?.busy);
        Some(busy as f64 / 1e3 / (self.counts.deliveries - before.counts.deliveries).max(1) as f64)
    }
}
