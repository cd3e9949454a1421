//! The metrics of a cluster.

use std::time::Duration;

use super::labels::ClusterState;
use super::registry::{Metrics, gauge_value};

impl Metrics {
    /// Counts a received message of `stream`; `pending` more wait for this gateway.
    pub fn cluster_received(&self, stream: &str, pending: u64) {
        let families = &self.families.cluster;
        families.received.with_label_values(&[stream]).inc();
        families.lag.with_label_values(&[stream]).set(gauge_value(pending));
    }

    /// Sets the state of `stream`, and the time since a message named its epoch.
    pub fn set_cluster_stream(&self, stream: &str, state: ClusterState, tick_age: Duration) {
        let families = &self.families.cluster;
        for other in ClusterState::ALL {
            families.state.with_label_values(&[stream, other.as_str()]).set(i64::from(other == state));
        }
        families.tick_age.with_label_values(&[stream]).set(tick_age.as_secs_f64());
    }

    /// Records the time until a publish was acknowledged.
    pub fn cluster_acknowledged(&self, after: Duration) {
        self.families.cluster.publish.observe(after.as_secs_f64());
    }
}
