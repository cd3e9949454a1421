//! `slow`: a share of the subscribers stops reading, then resumes. The latency of the others must not rise.

use super::bench::{Bench, CONNECT_PATIENCE};
use super::halves::compare_halves;
use crate::plan::Server;
use crate::report::Report;

/// One subscriber in this many stops reading.
const STALLED_SHARE: usize = 10;

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    let has_rule = matches!(bench.settings.server, Server::Belfry { .. });
    let topic = if has_rule { bench.topic_under("closing", 0) } else { bench.topic(0) };
    let (streams, subscribers) = bench.fill(topic)?;
    let stalled: Vec<usize> = subscribers.iter().copied().step_by(STALLED_SHARE).collect();
    bench.note("stalled_sessions", stalled.len() as f64);
    bench.engine.exclude_from_latency(stalled.iter().copied());
    let load = bench.load(streams);
    bench.measure(load, |bench| compare_halves(bench, |bench| stall(bench, &stalled)))?;
    let away = if comes_back(&bench) { 0 } else { stalled.len() };
    let due = bench.settings.sessions - away;
    let reading = bench.engine.reading_sessions();
    if reading < due {
        bench.failures.push(format!("{} sessions that read were closed", due - reading));
    }
    let (recovered, unrecovered) = bench.engine.verdict().findings.recovered;
    bench.note("recovered_sessions", recovered as f64);
    if has_rule && unrecovered > 0 {
        bench.failures.push(format!("{unrecovered} sessions came back and history no longer reached them; publish less"));
    }
    bench.finish()
}

/// Whether stalled sessions reconnect, because their dialect can resume.
fn comes_back(bench: &Bench) -> bool {
    bench.settings.dialect.resumes() && bench.settings.is_belfry()
}

/// Stalls sessions for half of the time, then reconnects them.
fn stall(bench: &mut Bench, stalled: &[usize]) -> anyhow::Result<()> {
    let half = bench.settings.duration() / 2;
    bench.engine.stall(stalled.iter().copied());
    bench.engine.run_for(half)?;
    if let Some(closed) = bench.closed_by_server() {
        bench.note("closed_sessions", closed);
    }
    if comes_back(bench) {
        let open = bench.engine.open_sessions();
        let began = bench.engine.now();
        bench.engine.disconnect(stalled.iter().copied());
        bench.engine.connect(stalled.iter().copied(), CONNECT_PATIENCE)?;
        bench.check_open(open)?;
        bench.note("reconnect_s", (bench.engine.now() - began) as f64 / 1e9);
    }
    bench.engine.run_for(half)
}
