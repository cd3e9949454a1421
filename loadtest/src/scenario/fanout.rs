//! `fanout`: one topic, many subscribers.

use super::Bench;
use crate::engine::Picks;
use crate::report::Report;

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    let topic = bench.topic("chat", 0);
    let publishers = bench.publishers()?;
    let streams = publishers.iter().map(|publisher| bench.engine.stream(topic, *publisher)).collect();
    let subscribers: Vec<usize> = (0..bench.settings.sessions).map(|_| bench.engine.seat(vec![topic])).collect();
    bench.connect(&subscribers)?;
    bench.measure(bench.flow(Picks::InTurn(streams)), Bench::run)?;
    bench.finish()
}
