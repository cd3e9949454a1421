//! Reads a gateway's cluster from `/metrics`: its streams, and the other gateways.

use std::collections::BTreeMap;

use crate::cli::gateway::Gateway;

/// The cluster as one gateway sees it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Cluster {
    /// The number of other gateways.
    pub(super) peers: u64,
    /// The number of unacknowledged publishes.
    pub(super) inflight: u64,
    /// The streams, by name.
    pub(super) streams: Vec<Stream>,
}

/// A stream, as this gateway follows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) state: String,
    /// The number of messages that this gateway has not received.
    pub(super) lag: u64,
    /// The time since a message named the stream's epoch, in seconds; normally about 1.
    pub(super) tick_age_s: f64,
}

impl Stream {
    /// Whether the gateway follows it.
    pub(super) fn is_live(&self) -> bool {
        self.state == "live"
    }
}

/// Requests `/metrics`, until it shows that the gateway is not part of a cluster; and again after a restart, which may
/// have changed that.
#[derive(Debug, Default)]
pub(super) struct ClusterFeed {
    is_alone: bool,
    requested_at_s: f64,
}

impl ClusterFeed {
    /// The cluster at `now_s`, in seconds of the gateway's uptime; `None` if there is none, or the credentials do not
    /// suffice.
    pub(super) async fn fetch(&mut self, gateway: &Gateway, now_s: f64) -> anyhow::Result<Option<Cluster>> {
        self.is_alone &= now_s >= self.requested_at_s;
        self.requested_at_s = now_s;
        if self.is_alone {
            return Ok(None);
        }
        let metrics = gateway.fetch("/metrics").await?;
        let cluster = metrics.and_then(|metrics| read(&String::from_utf8_lossy(&metrics)));
        self.is_alone = cluster.is_none();
        Ok(cluster)
    }
}

/// Reads Prometheus text; `None` if it has no stream.
fn read(metrics: &str) -> Option<Cluster> {
    let (mut cluster, mut streams): (_, BTreeMap<&str, Stream>) = (Cluster::default(), BTreeMap::new());
    for line in metrics.lines() {
        let Some((series, value)) = line.strip_prefix("belfry_cluster_").and_then(|line| line.rsplit_once(' ')) else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let (family, labels) = series.split_once('{').unwrap_or((series, ""));
        match (family, label(labels, "stream")) {
            ("peers", _) => cluster.peers = value as u64,
            ("publish_inflight", _) => cluster.inflight = value as u64,
            ("state", Some(name)) if value > 0.0 => {
                streams.entry(name).or_default().state = label(labels, "state").unwrap_or_default().to_owned();
            }
            ("lag_messages", Some(name)) => streams.entry(name).or_default().lag = value as u64,
            ("tick_age_seconds", Some(name)) => streams.entry(name).or_default().tick_age_s = value,
            _ => {}
        }
    }
    cluster.streams = streams.into_iter().map(|(name, stream)| Stream { name: name.to_owned(), ..stream }).collect();
    (!cluster.streams.is_empty()).then_some(cluster)
}

/// The value of a label. Names of streams and states have no escapes.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(',').find_map(|label| label.trim_end_matches('}').strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{ClusterState, Gauge, Metrics};

    /// The parser reads the text of a real registry.
    #[test]
    fn streams_and_peers_are_read_from_the_metrics() {
        let metrics = Metrics::new();
        assert_eq!(read(&metrics.render()), None, "a gateway without a cluster");
        metrics.set_cluster_stream("QUOTES", ClusterState::Stalled, Duration::from_millis(7_500));
        metrics.set_cluster_stream("CHAT-1", ClusterState::Live, Duration::from_secs(1));
        metrics.cluster_received("QUOTES", 1_234);
        metrics.set(Gauge::ClusterInflight, 17);
        metrics.set(Gauge::ClusterPeers, 2);
        let stream = |name: &str, state: &str, lag, tick_age_s| Stream { name: name.into(), state: state.into(), lag, tick_age_s };
        let streams = vec![stream("CHAT-1", "live", 0, 1.0), stream("QUOTES", "standing", 1_234, 7.5)];
        assert_eq!(read(&metrics.render()), Some(Cluster { peers: 2, inflight: 17, streams }));
    }
}
