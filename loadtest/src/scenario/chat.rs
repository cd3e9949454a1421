//! `chat`: many topics with members, each of which publishes.

use super::bench::Bench;
use crate::engine::StreamOrder;
use crate::report::Report;

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    let topics = bench.add_topics();
    let members = bench.add_subscribers(|member| vec![topics[member % topics.len()]]);
    // The streams of a topic are consecutive, but consecutive messages go to different topics.
    let mut streams = vec![0; members.len()];
    for (number, topic) in topics.iter().enumerate() {
        for (position, member) in members.iter().enumerate().skip(number).step_by(topics.len()) {
            streams[position] = bench.engine.add_stream(*topic, *member);
        }
    }
    bench.connect(&members)?;
    bench.measure(bench.load(StreamOrder::RoundRobin(streams)), Bench::run)?;
    bench.finish()
}
