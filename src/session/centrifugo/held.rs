//! Subscriptions that do not rest on a session's grants: a token allowed one, or the gateway made it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::session_id::MemberInfo;
use crate::topic_name::TopicName;

/// One session's, by topic.
#[derive(Default)]
pub struct Held(HashMap<TopicName, HeldTopic>);

/// What one of them rests on.
#[derive(Debug, Clone, Default)]
pub struct HeldTopic {
    /// Whether the gateway subscribed the session: it can't subscribe anew by itself.
    pub by_gateway: bool,
    /// The token's `exp`, in Unix seconds; `None`: it holds as long as the session.
    pub expires: Option<u64>,
    /// What presence and publications show of the session on this topic, where that is more than elsewhere.
    pub info: Option<Arc<MemberInfo>>,
}

impl Held {
    /// What the subscription to `topic` rests on, if it is one of these.
    pub fn get(&self, topic: &TopicName) -> Option<&HeldTopic> {
        self.0.get(topic)
    }

    /// Adds one, or what it rests on from now on.
    pub fn put(&mut self, topic: TopicName, held: HeldTopic) {
        self.0.insert(topic, held);
    }

    /// The subscription to `topic` has ended.
    pub fn remove(&mut self, topic: &TopicName) {
        self.0.remove(topic);
        if self.0.is_empty() {
            *self = Self::default();
        }
    }

    /// When the first of them expires, in Unix seconds.
    pub fn first_expiry(&self) -> Option<u64> {
        self.0.values().filter_map(|held| held.expires).min()
    }

    /// Those that have expired before `seconds`, Unix time.
    pub fn expired(&self, seconds: u64) -> Vec<TopicName> {
        let is_over = |held: &HeldTopic| held.expires.is_some_and(|expires| expires <= seconds);
        self.0.iter().filter(|(_, held)| is_over(held)).map(|(topic, _)| topic.clone()).collect()
    }
}
