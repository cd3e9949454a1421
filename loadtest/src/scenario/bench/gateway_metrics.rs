//! The gateway's own counts since a run began, and what they must agree with.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::Target;
use crate::measure::Scrape;

/// How often the metrics are read until the gateway's accounts close.
const READS_MAX: usize = 20;
const READ_INTERVAL: Duration = Duration::from_millis(100);

/// The metrics of all gateways of a run, summed.
pub struct GatewayMetrics {
    targets: Vec<Target>,
    before: Scrape,
}

impl GatewayMetrics {
    /// Reads the metrics for the first time; `None` if there are none.
    pub fn read(targets: &[Target]) -> Option<Self> {
        Some(Self { targets: targets.to_vec(), before: scrape(targets)? })
    }

    /// The number of sessions that the gateway has closed since the first read.
    pub fn closed_sessions(&self) -> Option<f64> {
        let name = "belfry_sessions_closed_total";
        Some(scrape(&self.targets)?.value(name) - self.before.value(name))
    }

    /// The metrics once the accounts close, or after two seconds.
    pub fn at_rest(&self) -> Option<Scrape> {
        let mut found = scrape(&self.targets)?;
        for _ in 0..READS_MAX {
            if found.unaccounted() == 0.0 {
                break;
            }
            std::thread::sleep(READ_INTERVAL);
            found = scrape(&self.targets)?;
        }
        Some(found)
    }

    /// The growth of the counters from the first read to `after`, and the gauges.
    pub fn growth(&self, after: &Scrape) -> BTreeMap<String, f64> {
        after.since(&self.before)
    }
}

/// The failed checks of a gateway without other sessions. It must count `deliveries`, if they are known (PROTOCOL
/// section 9).
pub fn failures(at_rest: &Scrape, deliveries: Option<u64>) -> Vec<String> {
    let mut failures = Vec::new();
    let open = at_rest.unaccounted();
    if open != 0.0 {
        failures.push(format!("the gateway's accounts do not close: routed − delivered − conflated − dropped − queued is {open}"));
    }
    let counted = at_rest.value("belfry_deliveries_total");
    if let Some(arrived) = deliveries.map(|count| count as f64).filter(|arrived| *arrived != counted) {
        failures.push(format!("the gateway counts {counted} messages as delivered, but {arrived} arrived"));
    }
    failures
}

/// The sums of the metrics of all gateways.
fn scrape(targets: &[Target]) -> Option<Scrape> {
    let fetch = |target: &Target| Scrape::fetch(target.address, &target.host, target.token.as_deref(), target.tls.as_ref());
    targets.iter().map(fetch).reduce(|sum, more| Some(sum?.plus(more?))).flatten()
}
