//! Who is in a topic, at this gateway and at others.

use std::sync::Arc;

use super::outlet::PresenceChange;
use super::registry::Registry;
use super::topic::Shared;
use crate::config::Live;
use crate::session_id::Member;
use crate::topic_name::TopicName;

/// A member has another user from now on: a leave, then a join.
pub fn rename(registry: &Registry, shared: &Shared, live: &Live, topic: &TopicName, member: &Member) {
    if let Some(topic) = registry.find(topic) {
        topic.with_audience(live, |audience, _| audience.rename(topic.name(), member, &shared.elsewhere));
    }
}

/// A session that subscribed by name before presence was turned on is a member from now on. No join is told here.
pub fn enter(registry: &Registry, shared: &Shared, live: &Live, topic: &TopicName, member: &Member) {
    if let Some(topic) = registry.find(topic) {
        topic.with_audience(live, |audience, presence| {
            if presence {
                audience.enter(topic.name(), member, &shared.elsewhere);
            }
        });
    }
}

/// The members of `name`; `None` where the rule has presence off.
pub fn members(registry: &Registry, shared: &Shared, live: &Live, name: &TopicName) -> Option<Vec<Member>> {
    let living = registry
        .find(name)
        .and_then(|topic| topic.with_audience(live, |audience, presence| presence.then(|| audience.members(name, &shared.elsewhere))));
    living.unwrap_or_else(|| live.load().rules.of(name).presence.then(|| shared.elsewhere.members(name)))
}

/// A member at another gateway joined or left. Who watches the topic here is told, between two answers to who is there.
pub fn change_elsewhere(registry: &Registry, shared: &Shared, live: &Live, change: &Arc<PresenceChange>) {
    while let Some(topic) = registry.find_or_do(&change.topic, || shared.elsewhere.take(change)) {
        let taken = topic.with_audience(live, |audience, presence| {
            shared.elsewhere.take(change);
            if presence {
                audience.pass_on(change);
            }
        });
        if taken.is_some() {
            return;
        }
        registry.remove(&topic);
    }
}
