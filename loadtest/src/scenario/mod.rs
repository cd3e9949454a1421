//! What is published, who subscribes, what happens meanwhile, what is checked.

mod bench;
mod fanout;
mod settings;

use clap::ValueEnum;
use serde::Serialize;

pub use settings::{Arguments, Settings};

use crate::report::Report;
use bench::Bench;

/// The kinds of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// One topic, many subscribers
    Fanout,
}

impl Scenario {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// Runs the scenario that `settings` name.
pub fn run(settings: Settings) -> anyhow::Result<Report> {
    let scenario = settings.scenario;
    let bench = Bench::open(settings)?;
    match scenario {
        Scenario::Fanout => fanout::run(bench),
    }
}
