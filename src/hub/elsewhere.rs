//! Members at other gateways, and what these are told of the members here.

use std::sync::{Arc, OnceLock};

use foldhash::HashMap;
use parking_lot::RwLock;

use super::outlet::PresenceChange;
use super::stream::Engine;
use crate::session_id::{Member, SessionId};
use crate::topic_name::TopicName;

/// The rest of a cluster, as far as presence goes. A gateway that is alone has an empty one.
#[derive(Default)]
pub struct Elsewhere {
    engine: OnceLock<Arc<dyn Engine>>,
    /// By topic, as the joins that the engine has told. Taken under the lock of the topic, or while none of that name can come to life;
    /// nothing is taken under this one.
    members: RwLock<HashMap<TopicName, HashMap<SessionId, Arc<PresenceChange>>>>,
}

impl Elsewhere {
    /// From now on `engine` tells the others; `false`: there was one before.
    pub fn set_engine(&self, engine: Arc<dyn Engine>) -> bool {
        self.engine.set(engine).is_ok()
    }

    /// Who tells the others, if there are any.
    pub fn engine(&self) -> Option<&Arc<dyn Engine>> {
        self.engine.get()
    }

    /// Tells the others of a change here. Called under the topic's lock, so that they hear the changes of a topic in their order.
    pub fn tell(&self, change: &Arc<PresenceChange>) {
        if let Some(engine) = self.engine() {
            engine.presence(change);
        }
    }

    /// A member at another gateway joined or left.
    pub fn take(&self, change: &Arc<PresenceChange>) {
        let mut topics = self.members.write();
        if change.joined {
            topics.entry(change.topic.clone()).or_default().insert(change.member.session, Arc::clone(change));
            return;
        }
        let Some(members) = topics.get_mut(&change.topic) else { return };
        members.remove(&change.member.session);
        if members.is_empty() {
            topics.remove(&change.topic);
        }
    }

    /// The members of `topic` at other gateways.
    pub fn members(&self, topic: &TopicName) -> Vec<Member> {
        let topics = self.members.read();
        topics.get(topic).into_iter().flat_map(|members| members.values()).map(|joined| joined.member.clone()).collect()
    }
}
