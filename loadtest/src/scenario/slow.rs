//! `slow`: a share of the subscribers stops reading; the others must not feel it.

use super::{Bench, compare_halves};
use crate::engine::Picks;
use crate::report::Report;

/// One subscriber in so many stops reading.
const STALLED_SHARE: usize = 10;

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    let topic = bench.topic("chat", 0);
    let publishers = bench.publishers()?;
    let streams = publishers.iter().map(|publisher| bench.engine.stream(topic, *publisher)).collect();
    let subscribers: Vec<usize> = (0..bench.settings.sessions).map(|_| bench.engine.seat(vec![topic])).collect();
    bench.connect(&subscribers)?;
    let stalled: Vec<usize> = subscribers.iter().copied().step_by(STALLED_SHARE).collect();
    bench.note("stalled_sessions", stalled.len() as f64);
    let flow = bench.flow(Picks::InTurn(streams));
    bench.measure(flow, |bench| {
        compare_halves(bench, |bench| {
            bench.engine.stall(stalled);
            bench.run()
        })
    })?;
    let healthy = bench.settings.sessions - bench.figures["stalled_sessions"] as usize;
    let reading = bench.engine.reading_sessions();
    if reading < healthy {
        bench.failures.push(format!("{} sessions that read were closed", healthy - reading));
    }
    bench.finish()
}
