//! What somebody may subscribe to and publish on.

use crate::config::GrantLists;
use crate::topic_name::{Pattern, TopicName};

/// Rights as two lists of patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    lists: GrantLists,
}

impl Grants {
    /// These lists.
    pub fn new(lists: GrantLists) -> Self {
        Self { lists }
    }

    /// What either allows.
    pub fn union(&self, other: &Grants) -> Self {
        let joined = |own: &[Pattern], more: &[Pattern]| {
            let new = more.iter().filter(|pattern| !own.contains(pattern));
            own.iter().chain(new).cloned().collect()
        };
        Self::new(GrantLists {
            subscribe: joined(&self.lists.subscribe, &other.lists.subscribe),
            publish: joined(&self.lists.publish, &other.lists.publish),
        })
    }

    /// Whether one grant covers all of `pattern`.
    pub fn may_subscribe(&self, pattern: &Pattern) -> bool {
        self.lists.subscribe.iter().any(|grant| grant.covers(pattern))
    }

    /// Whether any topic at all may be published on.
    pub fn may_publish_anywhere(&self) -> bool {
        !self.lists.publish.is_empty()
    }

    /// Whether `topic` may be published on; the gateway's own may not, whatever the grants say.
    pub fn may_publish(&self, topic: &TopicName) -> bool {
        !topic.is_own() && self.lists.publish.iter().any(|grant| grant.matches(topic))
    }
}
