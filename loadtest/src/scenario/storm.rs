//! `storm`: nine in ten sessions disconnect together and resume together, while one in ten stays and is measured.

use std::time::Duration;

use super::bench::{Bench, CONNECT_PATIENCE};
use super::halves::compare_halves;
use crate::report::Report;

/// One subscriber in this many stays.
const STAYING_SHARE: usize = 10;
/// How long the others are disconnected.
const AWAY: Duration = Duration::from_millis(300);

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    let prefix = bench.prefix_with_history();
    let topic = bench.topic_under(&prefix, 0);
    let (streams, subscribers) = bench.fill(topic)?;
    let leaving: Vec<usize> = subscribers.iter().copied().filter(|subscriber| subscriber % STAYING_SHARE != 0).collect();
    bench.engine.exclude_from_latency(leaving.iter().copied());
    let load = bench.load(streams);
    bench.measure(load, |bench| compare_halves(bench, |bench| storm(bench, &leaving)))?;
    let (recovered, unrecovered) = bench.engine.verdict().findings.recovered;
    bench.note("recovered_sessions", recovered as f64);
    if unrecovered > 0 {
        bench
            .failures
            .push(format!("{unrecovered} sessions came back and history no longer reached them; keep more of it, or publish less"));
    }
    bench.finish()
}

fn storm(bench: &mut Bench, leaving: &[usize]) -> anyhow::Result<()> {
    let open = bench.engine.open_sessions();
    bench.engine.disconnect(leaving.iter().copied());
    bench.engine.run_for(AWAY)?;
    let began = bench.engine.now();
    bench.engine.connect(leaving.iter().copied(), CONNECT_PATIENCE)?;
    bench.check_open(open)?;
    bench.note("reconnect_s", (bench.engine.now() - began) as f64 / 1e9);
    bench.run()
}
