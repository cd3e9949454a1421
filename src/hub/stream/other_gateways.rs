//! Presence at the other gateways of a cluster: their members, and the engine that announces joins and leaves to them.

use std::sync::{Arc, OnceLock};

use foldhash::HashMap;
use parking_lot::RwLock;

use super::engine::Engine;
use crate::hub::outlet::PresenceChange;
use crate::session_id::{Member, SessionId};
use crate::topic_name::TopicName;

/// Presence at the other gateways of a cluster; empty without a cluster.
#[derive(Default)]
pub struct OtherGateways {
    engine: OnceLock<Arc<dyn Engine>>,
    /// The members by topic, each as the join that the engine brought. Locked under the topic's lock, or while no topic of that name can
    /// be made. No other lock is taken under this one.
    members: RwLock<HashMap<TopicName, HashMap<SessionId, Arc<PresenceChange>>>>,
}

impl OtherGateways {
    /// Sets the engine that announces changes to the other gateways; `false`: an engine was set before.
    pub fn set_engine(&self, engine: Arc<dyn Engine>) -> bool {
        self.engine.set(engine).is_ok()
    }

    /// The engine, if the gateway belongs to a cluster.
    pub fn engine(&self) -> Option<&Arc<dyn Engine>> {
        self.engine.get()
    }

    /// Announces a join or leave here to the other gateways. Called under the topic's lock, so that the changes of one topic keep their order.
    pub fn announce(&self, change: &Arc<PresenceChange>) {
        if let Some(engine) = self.engine() {
            engine.presence(change);
        }
    }

    /// Applies the join or leave of a member at another gateway.
    pub fn apply(&self, change: &Arc<PresenceChange>) {
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
