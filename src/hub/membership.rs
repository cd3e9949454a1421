//! Presence across topics: members at this gateway and at other gateways.

use std::sync::Arc;

use super::outlet::PresenceChange;
use super::topics::Topics;
use crate::session_id::Member;
use crate::topic_name::TopicName;

/// Changes the user of a member, which outlets receive as a leave and a join.
pub fn rename(topics: &Topics, name: &TopicName, member: &Member) {
    if let Some(topic) = topics.registry().find(name) {
        _ = topic.with_audience(topics.live(), |audience, _| audience.rename(name, member, &topics.shared().other_gateways));
    }
}

/// Makes a session a member that subscribed by name before presence was turned on. Outlets receive no join.
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

/// Applies a join or leave at another gateway, and forwards it to the topic's outlets. Both happen under the lock under which members are read.
pub fn apply_remote_presence(topics: &Topics, change: &Arc<PresenceChange>) {
    let other_gateways = &topics.shared().other_gateways;
    while let Some(topic) = topics.registry().find_or_do(&change.topic, || other_gateways.apply(change)) {
        let applied = topic.with_audience(topics.live(), |audience, presence| {
            other_gateways.apply(change);
            if presence {
                audience.forward(change);
            }
        });
        if applied.is_ok() {
            return;
        }
        topics.registry().remove(&topic);
    }
}
