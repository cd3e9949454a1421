//! `slow`: a share of the subscribers stops reading, then resumes. The latency of the others must not rise.

use std::time::Duration;

use super::bench::Bench;
use crate::report::Report;

/// One subscriber in this many stops reading.
const STALLED_SHARE: usize = 10;

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    let has_rule = bench.starts_gateway();
    let topic = if has_rule { bench.add_topic_under("closing", 0) } else { bench.add_topic() };
    let (streams, subscribers) = bench.connect_all(topic)?;
    let stalled: Vec<usize> = subscribers.iter().copied().step_by(STALLED_SHARE).collect();
    bench.add_figure("stalled_sessions", stalled.len() as f64);
    bench.engine.exclude_from_latency(stalled.iter().copied());
    bench.measure_halves(bench.load(streams), |bench| stall(bench, &stalled))?;
    let absent = if reconnects(&bench) { 0 } else { stalled.len() };
    let due = bench.settings.sessions - absent;
    let reading = bench.engine.reading_sessions();
    if reading < due {
        bench.failures.push(format!("{} sessions that read were closed", due - reading));
    }
    let unrecovered = bench.add_recovered_sessions();
    if has_rule && unrecovered > 0 {
        bench.failures.push(format!("{unrecovered} sessions came back and history no longer reached them; publish less"));
    }
    bench.finish()
}

/// Whether stalled sessions reconnect, because their dialect can resume.
fn reconnects(bench: &Bench) -> bool {
    bench.settings.dialect.resumes() && bench.settings.is_belfry()
}

/// Stalls sessions for half of the time, then reconnects them.
fn stall(bench: &mut Bench, stalled: &[usize]) -> anyhow::Result<()> {
    let half = bench.settings.duration() / 2;
    bench.engine.stall(stalled.iter().copied());
    bench.engine.run_for(half)?;
    if let Some(closed) = bench.closed_by_server() {
        bench.add_figure("closed_sessions", closed);
    }
    if reconnects(bench) {
        bench.reconnect(stalled, Duration::ZERO)?;
    }
    bench.engine.run_for(half)
}
