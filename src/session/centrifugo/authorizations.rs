//! The authorizations of subscriptions that the session's grants do not cover: a subscription token, or the gateway itself.

use std::collections::HashMap;
use std::sync::Arc;

use crate::session_id::MemberInfo;
use crate::topic_name::TopicName;

/// The authorizations of one session, by topic. Shared, so that a review of the subscriptions has them without a copy.
#[derive(Default, Clone)]
pub struct Authorizations(Option<Arc<HashMap<TopicName, Authorization>>>);

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
        self.0.as_ref()?.get(topic)
    }

    /// Sets the authorization of the subscription to `topic`.
    pub fn put(&mut self, topic: TopicName, authorization: Authorization) {
        Arc::make_mut(self.0.get_or_insert_default()).insert(topic, authorization);
    }

    /// Removes the authorization of `topic`, whose subscription has ended.
    pub fn remove(&mut self, topic: &TopicName) {
        if self.get(topic).is_none() {
            return;
        }
        let Some(by_topic) = self.0.as_mut().map(Arc::make_mut) else { return };
        by_topic.remove(topic);
        if by_topic.is_empty() {
            self.0 = None;
        }
    }

    /// The earliest expiry, in Unix seconds.
    pub fn first_expiry(&self) -> Option<u64> {
        self.0.as_ref()?.values().filter_map(|authorization| authorization.expires).min()
    }
}

impl Authorization {
    /// Whether it has expired at `seconds`, in Unix time.
    pub fn is_over(&self, seconds: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= seconds)
    }
}
