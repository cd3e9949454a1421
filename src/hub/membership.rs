//! The members of topics, at this gateway and at others.

use std::sync::Arc;

use super::outlet::PresenceChange;
use super::topics::Topics;
use crate::session_id::Member;
use crate::topic_name::TopicName;

/// A member of the topic has another user from now on: a leave, then a join.
pub fn rename(topics: &Topics, name: &TopicName, member: &Member) {
    if let Some(topic) = topics.registry().find(name) {
        _ = topic.with_audience(topics.live(), |audience, _| audience.rename(name, member, &topics.shared().other_gateways));
    }
}

/// A session that subscribed by name before presence was turned on is a member from now on. No join is told here.
pub fn enter(topics: &Topics, name: &TopicName, member: &Member) {
    if let Some(topic) = topics.registry().find(name) {
        _ = topic.with_audience(topics.live(), |audience, presence| {
            if presence {
                audience.enter(name, member, &topics.shared().other_gateways);
            }
        });
    }
}

/// The members of a topic; `None` where its rule has presence off.
pub fn members(topics: &Topics, name: &TopicName) -> Option<Vec<Member>> {
    let other_gateways = &topics.shared().other_gateways;
    let living = topics.registry().find(name).and_then(|topic| {
        topic.with_audience(topics.live(), |audience, presence| presence.then(|| audience.members(name, other_gateways))).ok()
    });
    living.unwrap_or_else(|| topics.live().load().rules.of(name).presence.then(|| other_gateways.members(name)))
}

/// A member at another gateway joined or left. The topic's watchers here are told, under the lock that its members are read under.
pub fn apply_remote_presence(topics: &Topics, change: &Arc<PresenceChange>) {
    let other_gateways = &topics.shared().other_gateways;
    while let Some(topic) = topics.registry().find_or_do(&change.topic, || other_gateways.take(change)) {
        let told = topic.with_audience(topics.live(), |audience, presence| {
            other_gateways.take(change);
            if presence {
                audience.pass_on(change);
            }
        });
        if told.is_ok() {
            return;
        }
        topics.registry().remove(&topic);
    }
}
