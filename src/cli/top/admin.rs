//! The data for administrators: sessions by outbox, topics by rate, and the cluster.

use std::collections::HashMap;

use serde::Deserialize;

use super::cluster::{Cluster, ClusterFeed};
use crate::cli::gateway::Gateway;

/// The largest number of requested sessions, those with the fullest outboxes first.
const SESSIONS_MAX: usize = 200;
/// The largest number of topics, which are read in pages of [`TOPICS_PAGE`].
pub(super) const TOPICS_MAX: usize = 5_000;
const TOPICS_PAGE: usize = 1_000;

#[derive(Debug, Deserialize)]
struct Sessions {
    sessions: Vec<Session>,
}

/// A session of `/v1/sessions`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Session {
    pub(super) session: String,
    pub(super) user: Option<String>,
    pub(super) address: String,
    pub(super) dialect: String,
    pub(super) outbox_bytes: u64,
    pub(super) oldest: Option<Oldest>,
}

/// The oldest message of an outbox.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Oldest {
    pub(super) topic: String,
    pub(super) age_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Topics {
    topics: Vec<Topic>,
}

/// A topic of `/v1/topics`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Topic {
    pub(super) topic: String,
    /// The subscriptions by name.
    pub(super) subscribers: u64,
    /// The subscriptions by patterns that match it. Earlier gateways have no such member.
    #[serde(default)]
    by_pattern: u64,
    offset: u64,
    epoch: String,
}

/// A topic and its rate in messages a second.
#[derive(Debug, Clone)]
pub(super) struct RatedTopic {
    pub(super) topic: String,
    /// The subscriptions by name and by patterns.
    pub(super) subscribers: u64,
    pub(super) rate: f64,
}

/// The data of one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    pub(super) sessions: Vec<Session>,
    pub(super) topics: Vec<RatedTopic>,
    /// Whether the gateway has more topics than [`TOPICS_MAX`].
    pub(super) topics_cut: bool,
    /// `None` if the gateway is not part of a cluster.
    pub(super) cluster: Option<Cluster>,
}

/// Requests the data, and keeps the offsets of topics for the rates.
#[derive(Debug, Default)]
pub(super) struct Admin {
    earlier: HashMap<String, Topic>,
    earlier_s: f64,
    cluster: ClusterFeed,
}

impl Admin {
    /// The data at `now_s`, in seconds of the gateway's uptime; `None` if the credentials are not an administrator's.
    pub(super) async fn fetch(&mut self, gateway: &Gateway, now_s: f64) -> anyhow::Result<Option<Tables>> {
        let Some(sessions) = gateway.fetch(&format!("/v1/sessions?order=outbox&limit={SESSIONS_MAX}")).await? else { return Ok(None) };
        let Sessions { sessions } = serde_json::from_slice(&sessions)?;
        let topics = all_topics(gateway).await?;
        let topics_cut = topics.len() >= TOPICS_MAX;
        let cluster = self.cluster.fetch(gateway, now_s).await?;
        Ok(Some(Tables { sessions, topics: self.rate(topics, now_s), topics_cut, cluster }))
    }

    /// The topics with new messages since the last call, the busiest first.
    fn rate(&mut self, topics: Vec<Topic>, now_s: f64) -> Vec<RatedTopic> {
        let seconds = now_s - self.earlier_s;
        let rated = topics.iter().filter_map(|topic| {
            let earlier = self.earlier.get(&topic.topic).filter(|earlier| earlier.epoch == topic.epoch)?;
            let published = topic.offset.checked_sub(earlier.offset).filter(|&published| published > 0)?;
            let rate = published as f64 / seconds;
            (seconds > 0.0).then(|| RatedTopic { topic: topic.topic.clone(), subscribers: topic.subscribers + topic.by_pattern, rate })
        });
        let mut rated: Vec<RatedTopic> = rated.collect();
        rated.sort_by(|a, b| b.rate.total_cmp(&a.rate));
        self.earlier = topics.into_iter().map(|topic| (topic.topic.clone(), topic)).collect();
        self.earlier_s = now_s;
        rated
    }
}

async fn all_topics(gateway: &Gateway) -> anyhow::Result<Vec<Topic>> {
    let mut topics: Vec<Topic> = Vec::new();
    while topics.len() < TOPICS_MAX {
        let after = topics.last().map(|topic| topic.topic.clone()).unwrap_or_default();
        let after = percent_encoding::utf8_percent_encode(&after, percent_encoding::NON_ALPHANUMERIC);
        let Some(page) = gateway.fetch(&format!("/v1/topics?limit={TOPICS_PAGE}&after={after}&by_pattern=true")).await? else { break };
        let page: Topics = serde_json::from_slice(&page)?;
        let full = page.topics.len() == TOPICS_PAGE;
        topics.extend(page.topics);
        if !full {
            break;
        }
    }
    Ok(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_sorted_by_rate_and_a_new_epoch_has_none_at_first() {
        let topic =
            |name: &str, epoch: &str, offset| Topic { topic: name.into(), subscribers: 1, by_pattern: 2, offset, epoch: epoch.into() };
        let mut admin = Admin::default();
        assert!(admin.rate(vec![topic("a", "e", 10), topic("b", "e", 10), topic("c", "e", 10)], 1.0).is_empty());
        let rated = admin.rate(vec![topic("a", "e", 12), topic("b", "e", 30), topic("c", "f", 90)], 3.0);
        let named: Vec<_> = rated.iter().map(|topic| (topic.topic.as_str(), topic.rate, topic.subscribers)).collect();
        assert_eq!(named, [("b", 10.0, 3), ("a", 1.0, 3)]);
    }

    /// The bug: `top` did not read the topics of earlier gateways, which have no `by_pattern`.
    #[test]
    fn topics_of_an_earlier_version_are_read() {
        let topics: Topics = serde_json::from_str(r#"{"topics":[{"topic":"a","subscribers":1,"offset":2,"epoch":"e"}]}"#).unwrap();
        assert_eq!(topics.topics[0].by_pattern, 0);
    }
}
