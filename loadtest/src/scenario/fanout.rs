//! `fanout`: one topic, many subscribers.

use super::bench::Bench;
use crate::report::Report;

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    let topic = bench.add_topic();
    let (streams, _) = bench.connect_all(topic)?;
    bench.measure(bench.load(streams), Bench::run)?;
    bench.finish()
}
