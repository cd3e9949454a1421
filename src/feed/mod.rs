//! Feeds: publishers that live in the gateway.

mod csv;
mod dice;
mod market;
mod outflow;
mod recording;
mod records;
mod replay;
mod simulator;
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
use outflow::Outflow;

/// Everything wrong with `settings` that only the files and topics show, for `belfry check`; empty if they can be started.
pub fn check(settings: &config::Feed) -> Vec<Problem> {
    let simulator = settings.simulator.iter().filter_map(|simulator| simulator::topics(simulator).err());
    let replays = settings.replay.iter().enumerate().filter_map(|(index, replay)| {
        let Problem(told) = replay::prepare(replay).err()?;
        Some(Problem(told.replacen("feed.replay", &format!("feed.replay[{index}]"), 1)))
    });
    simulator.chain(replays).collect()
}

/// The feeds that run; dropped, they end.
pub struct Feeds {
    hub: Arc<Hub>,
    clock: Clock,
    /// The simulated market with what it was started with. Held for the start or end of its task, never while waiting.
    simulator: Mutex<Option<(config::Simulator, Task)>>,
    /// Replays and figures, which a reload leaves alone. Emptied by [`Feeds::stop`].
    others: Mutex<Vec<Task>>,
}

impl Feeds {
    /// Starts the feeds of `settings`, and the figures on `$belfry.stats`, on the runtime that this is called on. With a
    /// problem nothing is started.
    pub fn start(settings: &config::Feed, hub: Arc<Hub>, metrics: Arc<Metrics>, clock: Clock) -> Result<Self, Vec<Problem>> {
        let problems = check(settings);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut others = vec![Task::spawn(stats::run(Arc::clone(&hub), metrics, clock.clone()))];
        for settings in &settings.replay {
            let prepared = replay::prepare(settings).map_err(|problem| vec![problem])?;
            others.push(Task::spawn(replay::run(prepared, Arc::clone(&hub))));
        }
        let feeds = Self { hub, clock, simulator: Mutex::new(None), others: Mutex::new(others) };
        feeds.reload(settings).map_err(|problem| vec![problem])?;
        Ok(feeds)
    }

    /// Starts, stops or changes the simulated market; one whose settings are the same goes on with its prices. Replays stay as
    /// they are. A problem changes nothing. To be called on the runtime that the feeds run on.
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

    /// Ends every feed at its next wait; what is published by then stays so.
    pub fn stop(&self) {
        *self.simulator.lock() = None;
        self.others.lock().clear();
    }
}

fn simulate(settings: &config::Simulator, outflow: impl Outflow, clock: Clock) -> Result<Task, Problem> {
    let topics = simulator::topics(settings)?;
    Ok(Task::spawn(simulator::run(settings.clone(), topics, outflow, clock)))
}

/// A running feed; dropped, it ends where it waits: for the next tick, or for room before its message has an offset.
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
