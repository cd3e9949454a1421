//! `storm`: nine in ten sessions disconnect together and resume together, while one in ten stays and is measured.

use std::time::Duration;

use super::bench::Bench;
use crate::report::Report;

/// One subscriber in this many stays.
const STAYING_SHARE: usize = 10;
/// How long the others are disconnected.
const AWAY: Duration = Duration::from_millis(300);

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    // A gateway that this run started keeps a long history for `kept.>`.
    let topic = if bench.starts_gateway() { bench.add_topic_under("kept", 0) } else { bench.add_topic() };
    let (streams, subscribers) = bench.connect_all(topic)?;
    let leaving: Vec<usize> = subscribers.iter().copied().filter(|subscriber| subscriber % STAYING_SHARE != 0).collect();
    bench.engine.exclude_from_latency(leaving.iter().copied());
    bench.measure_halves(bench.load(streams), |bench| {
        bench.reconnect(&leaving, AWAY)?;
        bench.run()
    })?;
    let unrecovered = bench.add_recovered_sessions();
    if unrecovered > 0 {
        let advice = "keep more of it, or publish less";
        bench.failures.push(format!("{unrecovered} sessions came back and history no longer reached them; {advice}"));
    }
    bench.finish()
}
