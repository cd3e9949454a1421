//! `handshake`: what it costs to take a session in: TCP, the upgrade, and the first words.

use std::time::Duration;

use super::bench::Bench;
use crate::report::Report;

/// One session in so many comes and goes before, so that the server has its memory.
const WARM_UP_SHARE: usize = 10;
/// How long the server has for what it does after a session is in, or gone.
const REST: Duration = Duration::from_millis(200);

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    let topic = bench.topic("chat", 0);
    bench.publishers()?;
    // Where the path is the subscription there is no session without one.
    let topics = if bench.settings.dialect.subscribes_by_path() { vec![topic] } else { Vec::new() };
    let sessions: Vec<usize> = (0..bench.settings.sessions).map(|_| bench.engine.add_subscriber(topics.clone())).collect();
    let warm_up: Vec<usize> = sessions.iter().copied().step_by(WARM_UP_SHARE).collect();
    bench.connect(&warm_up)?;
    bench.engine.disconnect(warm_up);
    bench.engine.run_for(REST)?;
    bench.connect(&sessions)?;
    bench.finish()
}
