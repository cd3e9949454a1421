//! `churn`: some sessions change their topics repeatedly, beside subscribers that stay.

use std::time::Duration;

use super::bench::Bench;
use crate::engine::StreamOrder;
use crate::report::Report;

/// One session in this many changes its topic repeatedly.
const CHANGING_SHARE: usize = 5;
/// The time between two steps. In each, a part of these sessions changes.
const STEP: Duration = Duration::from_millis(10);
/// The steps until each session has changed once: a second, which is far below `commands_per_second`.
const STEPS_PER_ROUND: usize = 100;

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    let publishers = bench.connect_publishers()?;
    let topics = bench.add_topics();
    let streams: Vec<u32> =
        topics.iter().enumerate().map(|(number, topic)| bench.engine.add_stream(*topic, publishers[number % publishers.len()])).collect();
    let sessions = bench.add_subscribers(|number| vec![topics[number % topics.len()]]);
    bench.connect(&sessions)?;
    let changing: Vec<usize> = sessions.iter().copied().step_by(CHANGING_SHARE).collect();
    let load = bench.load(StreamOrder::RoundRobin(streams));
    bench.measure(load, |bench| change_topics(bench, &changing, &topics))?;
    bench.finish()
}

fn change_topics(bench: &mut Bench, changing: &[usize], topics: &[u32]) -> anyhow::Result<()> {
    let steps = (bench.settings.duration().as_secs_f64() / STEP.as_secs_f64()) as usize;
    let mut changes = 0;
    for step in 0..steps {
        let due = changing.iter().enumerate().skip(step % STEPS_PER_ROUND).step_by(STEPS_PER_ROUND);
        let next = |number: usize| vec![topics[(number + 1 + step / STEPS_PER_ROUND * 3) % topics.len()]];
        let changed: Vec<(usize, Vec<u32>)> = due.map(|(number, session)| (*session, next(number))).collect();
        changes += changed.len();
        bench.engine.resubscribe(changed);
        bench.engine.run_for(STEP)?;
    }
    bench.add_figure("subscriptions_changed", changes as f64);
    Ok(())
}
