//! `chat`: many rooms, everyone speaks.

use super::bench::Bench;
use crate::engine::StreamOrder;
use crate::report::Report;

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    let topics: Vec<u32> = (0..bench.settings.topics).map(|number| bench.topic(number)).collect();
    let sessions = bench.settings.sessions;
    let members: Vec<usize> = (0..sessions).map(|member| bench.engine.add_subscriber(vec![topics[member % topics.len()]])).collect();
    // The streams of a topic are consecutive, but consecutive messages go to different topics.
    let mut spoken = vec![0; sessions];
    for (number, topic) in topics.iter().enumerate() {
        for (position, member) in members.iter().enumerate().skip(number).step_by(topics.len()) {
            spoken[position] = bench.engine.stream(*topic, *member);
        }
    }
    bench.connect(&members)?;
    bench.measure(bench.load(StreamOrder::RoundRobin(spoken)), Bench::run)?;
    bench.finish()
}
