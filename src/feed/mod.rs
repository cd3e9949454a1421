//! Feeds: publishers within the gateway.

mod lines;
mod market;
mod recording;
mod replay;
mod rows;
mod simulator;
mod sink;
mod split_mix;
mod stats;
#[cfg(test)]
mod tests;
mod time_stamp;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::config::{self, Problem};
use crate::hub::Hub;
use crate::metrics::Metrics;
use recording::Recording;
use sink::FeedSink;

/// The problems of `settings` that only their files and topics show, for `belfry check`; empty if the feeds can be
/// started.
pub fn check(settings: &config::Feed) -> Vec<Problem> {
    let simulator = settings.simulator.iter().filter_map(|simulator| simulator::topics(simulator).err());
    let replays = settings.replay.iter().enumerate().filter_map(|(index, replay)| {
        let Problem(problem) = Recording::open(replay).err()?;
        Some(Problem(problem.replacen("feed.replay", &format!("feed.replay[{index}]"), 1)))
    });
    simulator.chain(replays).collect()
}

/// The running feeds. Dropping it ends them.
pub struct Feeds {
    hub: Arc<Hub>,
    clock: Clock,
    /// The task of the simulated market with its settings. Locked while the task is started or ended; nothing waits
    /// under the lock.
    simulator: Mutex<Option<(config::Simulator, Task)>>,
    /// The tasks of replays and of `$belfry.stats`, which a reload does not change.
    others: Mutex<Vec<Task>>,
}

impl Feeds {
    /// Starts the feeds of `settings`, and the figures on `$belfry.stats`, on the current runtime. If there is a
    /// problem, nothing is started.
    pub fn start(settings: &config::Feed, hub: Arc<Hub>, metrics: Arc<Metrics>, clock: Clock) -> Result<Self, Vec<Problem>> {
        let problems = check(settings);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut others = vec![Task::spawn(stats::run(Arc::clone(&hub), metrics, clock.clone()))];
        for settings in &settings.replay {
            let recording = Recording::open(settings).map_err(|problem| vec![problem])?;
            others.push(Task::spawn(replay::run(recording, Arc::clone(&hub))));
        }
        let feeds = Self { hub, clock, simulator: Mutex::new(None), others: Mutex::new(others) };
        feeds.reload(settings).map_err(|problem| vec![problem])?;
        Ok(feeds)
    }

    /// Starts, stops or changes the simulated market. If its settings are unchanged, it continues with its prices.
    /// Replays do not change, and a problem changes nothing. Must be called on the runtime of the feeds.
    pub fn reload(&self, settings: &config::Feed) -> Result<(), Problem> {
        let mut running = self.simulator.lock();
        if running.as_ref().map(|(settings, _)| settings) == settings.simulator.as_ref() {
            return Ok(());
        }
        *running = match &settings.simulator {
            Some(settings) => Some((settings.clone(), simulate(settings, Arc::clone(&self.hub), self.clock.clone())?)),
            None => None,
        };
        Ok(())
    }

    /// Ends every feed at its next wait.
    pub fn stop(&self) {
        *self.simulator.lock() = None;
        self.others.lock().clear();
    }
}

fn simulate(settings: &config::Simulator, sink: impl FeedSink, clock: Clock) -> Result<Task, Problem> {
    let topics = simulator::topics(settings)?;
    Ok(Task::spawn(simulator::run(settings.clone(), topics, sink, clock)))
}

/// A running feed. Dropping it ends the feed where it waits: for its next tick, or for room in an inbox, before its
/// message has an offset.
struct Task(JoinHandle<()>);

impl Task {
    fn spawn(feed: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(feed))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
