//! The authorizations of subscriptions that the session's grants do not cover: a subscription token, or the gateway itself.

use std::collections::HashMap;
use std::sync::Arc;

use crate::session_id::MemberInfo;
use crate::topic_name::TopicName;

/// The authorizations of one session, by topic.
#[derive(Default)]
pub struct Authorizations(HashMap<TopicName, Authorization>);

/// The authorization of one subscription.
#[derive(Debug, Clone, Default)]
pub struct Authorization {
    /// Whether the gateway made the subscription. Its client can't subscribe again by itself.
    pub by_gateway: bool,
    /// The token's `exp` (RFC 7519 §4.1.4), in Unix seconds; `None`: the authorization lasts as long as the session.
    pub expires: Option<u64>,
    /// The information that presence and publications of this topic show, if it differs from that of other topics.
    pub info: Option<Arc<MemberInfo>>,
}

impl Authorizations {
    /// The authorization of the subscription to `topic`, if it has one.
    pub fn get(&self, topic: &TopicName) -> Option<&Authorization> {
        self.0.get(topic)
    }

    /// Sets the authorization of the subscription to `topic`.
    pub fn put(&mut self, topic: TopicName, authorization: Authorization) {
        self.0.insert(topic, authorization);
    }

    /// Removes the authorization of `topic`, whose subscription has ended.
    pub fn remove(&mut self, topic: &TopicName) {
        self.0.remove(topic);
        if self.0.is_empty() {
            *self = Self::default();
        }
    }

    /// The earliest expiry, in Unix seconds.
    pub fn first_expiry(&self) -> Option<u64> {
        self.0.values().filter_map(|authorization| authorization.expires).min()
    }

    /// The topics whose authorizations expire at or before `seconds`, in Unix time.
    pub fn expired(&self, seconds: u64) -> Vec<TopicName> {
        let is_over = |authorization: &Authorization| authorization.expires.is_some_and(|expires| expires <= seconds);
        self.0.iter().filter(|(_, authorization)| is_over(authorization)).map(|(topic, _)| topic.clone()).collect()
    }
}
