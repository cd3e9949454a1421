//! `fanout`: one topic, many subscribers.

use super::bench::Bench;
use crate::engine::StreamOrder;
use crate::report::Report;

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    let topic = bench.topic(0);
    let publishers = bench.publishers()?;
    let streams = publishers.iter().map(|publisher| bench.engine.stream(topic, *publisher)).collect();
    let subscribers: Vec<usize> = (0..bench.settings.sessions).map(|_| bench.engine.add_subscriber(vec![topic])).collect();
    bench.connect(&subscribers)?;
    bench.measure(bench.load(StreamOrder::RoundRobin(streams)), Bench::run)?;
    bench.finish()
}
