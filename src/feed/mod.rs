//! Feeds: publishers that live in the gateway.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{self, Problem};
use crate::hub::Hub;
use crate::metrics::Metrics;

/// The feeds that run; dropped, they end.
pub struct Feeds {}

impl Feeds {
    /// Starts the feeds of `settings`, and the figures on `$belfry.stats`.
    pub fn start(_settings: &config::Feed, _hub: Arc<Hub>, _metrics: Arc<Metrics>, _clock: Clock) -> Result<Self, Vec<Problem>> {
        unimplemented!()
    }

    /// Puts other settings in force.
    pub fn reload(&self, _settings: &config::Feed) -> Result<(), Problem> {
        unimplemented!()
    }

    /// Ends them.
    pub fn stop(&self) {
        unimplemented!()
    }
}
