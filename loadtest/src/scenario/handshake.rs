//! `handshake`: the cost of a new session: TCP, the upgrade, the first events.

use std::time::Duration;

use super::bench::Bench;
use crate::report::Report;

/// One session in this many connects and disconnects before the measurement, so that the server has allocated its
/// memory.
const WARM_UP_SHARE: usize = 10;
/// The time for the server's work after a connect or a disconnect.
const REST: Duration = Duration::from_millis(200);

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    let topic = bench.add_topic();
    bench.connect_publishers()?;
    // If the path is the subscription, there is no session without one.
    let dialect = bench.settings.dialect;
    let topics = if dialect.subscribes_by_path() || dialect.is_stream() { vec![topic] } else { Vec::new() };
    let sessions = bench.add_subscribers(|_| topics.clone());
    let warm_up: Vec<usize> = sessions.iter().copied().step_by(WARM_UP_SHARE).collect();
    bench.connect(&warm_up)?;
    bench.engine.disconnect(warm_up);
    bench.engine.run_for(REST)?;
    bench.connect(&sessions)?;
    bench.finish()
}
