//! Grants: the patterns that an identity may subscribe to and publish to.

use crate::config::GrantLists;
use crate::topic_name::{Pattern, Scope, TopicName};

/// The grants of one identity, in which `{user}` is replaced by its user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    subscribe: Vec<Scope>,
    publish: Vec<Scope>,
}

impl Grants {
    /// The grants of `lists` for `user`. A grant with `{user}` is left out if there is no user, or its name is no valid token of a topic.
    pub fn of(lists: &GrantLists, user: Option<&str>) -> Self {
        let granted = |list: &[Scope]| list.iter().filter_map(|scope| scope.for_user(user)).collect();
        Self { subscribe: granted(&lists.subscribe), publish: granted(&lists.publish) }
    }

    /// The grants of both.
    pub fn union(&self, other: &Grants) -> Self {
        let joined = |own: &[Scope], more: &[Scope]| {
            let new = more.iter().filter(|scope| !own.contains(scope));
            own.iter().chain(new).cloned().collect()
        };
        Self { subscribe: joined(&self.subscribe, &other.subscribe), publish: joined(&self.publish, &other.publish) }
    }

    /// Whether there are no grants.
    pub fn is_empty(&self) -> bool {
        self.subscribe.is_empty() && self.publish.is_empty()
    }

    /// Whether one grant covers all topics that `pattern` matches.
    pub fn may_subscribe(&self, pattern: &Pattern) -> bool {
        self.subscribe.iter().any(|grant| grant.covers(pattern))
    }

    /// Whether there is a topic to which the grants allow publishing.
    pub fn may_publish_anywhere(&self) -> bool {
        !self.publish.is_empty()
    }

    /// Whether the grants cover publishing to `topic`. Publishing to the gateway's own topics is never allowed.
    pub fn may_publish(&self, topic: &TopicName) -> bool {
        !topic.is_own() && self.publish.iter().any(|grant| grant.matches(topic))
    }
}
