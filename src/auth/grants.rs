//! What somebody may subscribe to and publish on.

use crate::config::GrantLists;
use crate::topic_name::{Pattern, Scope, TopicName};

/// Rights as two lists, for one user or for nobody in particular: no `{user}` stands in them any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    subscribe: Vec<Scope>,
    publish: Vec<Scope>,
}

impl Grants {
    /// What `lists` grant to `user`. A grant with `{user}` in it is left out for the anonymous, and for a user that is no token.
    pub fn of(lists: &GrantLists, user: Option<&str>) -> Self {
        let granted = |list: &[Scope]| list.iter().filter_map(|scope| scope.for_user(user)).collect();
        Self { subscribe: granted(&lists.subscribe), publish: granted(&lists.publish) }
    }

    /// What either allows.
    pub fn union(&self, other: &Grants) -> Self {
        let joined = |own: &[Scope], more: &[Scope]| {
            let new = more.iter().filter(|scope| !own.contains(scope));
            own.iter().chain(new).cloned().collect()
        };
        Self { subscribe: joined(&self.subscribe, &other.subscribe), publish: joined(&self.publish, &other.publish) }
    }

    /// Whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.subscribe.is_empty() && self.publish.is_empty()
    }

    /// Whether one grant covers all of `pattern`.
    pub fn may_subscribe(&self, pattern: &Pattern) -> bool {
        self.subscribe.iter().any(|grant| grant.covers(pattern))
    }

    /// Whether any topic at all may be published on.
    pub fn may_publish_anywhere(&self) -> bool {
        !self.publish.is_empty()
    }

    /// Whether `topic` may be published on; the gateway's own may not, whatever the grants say.
    pub fn may_publish(&self, topic: &TopicName) -> bool {
        !topic.is_own() && self.publish.iter().any(|grant| grant.matches(topic))
    }
}
