//! `churn`: subscriptions come and go beside subscribers that stay.

use std::time::Duration;

use super::bench::Bench;
use crate::engine::StreamOrder;
use crate::report::Report;

/// One session in this many changes its topic repeatedly.
const ROAMING_SHARE: usize = 5;
/// The time between two steps. In each, a part of these sessions changes.
const STEP: Duration = Duration::from_millis(10);
/// The steps until each session has changed once: a second, which is far below `commands_per_second`.
const STEPS_PER_ROUND: usize = 100;

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    let publishers = bench.publishers()?;
    let topics: Vec<u32> = (0..bench.settings.topics).map(|number| bench.topic(number)).collect();
    let streams: Vec<u32> =
        topics.iter().enumerate().map(|(number, topic)| bench.engine.stream(*topic, publishers[number % publishers.len()])).collect();
    let sessions: Vec<usize> =
        (0..bench.settings.sessions).map(|number| bench.engine.add_subscriber(vec![topics[number % topics.len()]])).collect();
    bench.connect(&sessions)?;
    let roaming: Vec<usize> = sessions.iter().copied().step_by(ROAMING_SHARE).collect();
    let load = bench.load(StreamOrder::RoundRobin(streams));
    bench.measure(load, |bench| roam(bench, &roaming, &topics))?;
    bench.finish()
}

fn roam(bench: &mut Bench, roaming: &[usize], topics: &[u32]) -> anyhow::Result<()> {
    let steps = (bench.settings.duration().as_secs_f64() / STEP.as_secs_f64()) as usize;
    let mut moves = 0;
    for step in 0..steps {
        let movers = roaming.iter().enumerate().skip(step % STEPS_PER_ROUND).step_by(STEPS_PER_ROUND);
        let moved: Vec<(usize, Vec<u32>)> =
            movers.map(|(number, session)| (*session, vec![topics[(number + 1 + step / STEPS_PER_ROUND * 3) % topics.len()]])).collect();
        moves += moved.len();
        bench.engine.resubscribe(moved);
        bench.engine.run_for(STEP)?;
    }
    bench.note("subscriptions_changed", moves as f64);
    Ok(())
}
