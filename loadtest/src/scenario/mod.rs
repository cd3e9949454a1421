//! The scenarios: their subscriptions, load, events and checks.

mod bench;
mod chat;
mod churn;
mod drain;
mod failover;
mod fanout;
mod handshake;
mod idle;
mod market;
mod slow;
mod storm;

use crate::plan::{Scenario, Settings};
use crate::report::Report;
use bench::Bench;

/// Runs the scenario that `settings` name.
pub fn run(settings: Settings) -> anyhow::Result<Report> {
    let scenario = settings.scenario;
    settings.check_dialect()?;
    let bench = Bench::open(settings)?;
    match scenario {
        Scenario::Fanout => fanout::run(bench),
        Scenario::Market => market::run(bench),
        Scenario::Chat => chat::run(bench),
        Scenario::Idle => idle::run(bench),
        Scenario::Handshake => handshake::run(bench),
        Scenario::Storm => storm::run(bench),
        Scenario::Slow => slow::run(bench),
        Scenario::Churn => churn::run(bench),
        Scenario::Drain => drain::run(bench),
        Scenario::Failover => failover::run(bench),
    }
}
