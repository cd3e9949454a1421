//! Outlets: the hub's view of shards, which receive the messages and presence changes of topics.

use std::sync::Arc;
use std::task::Waker;

use parking_lot::RwLock;

use super::message::Message;
use crate::position::Position;
use crate::session_id::Member;
use crate::topic_name::TopicName;

/// A member joined a topic or left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceChange {
    /// The topic.
    pub topic: TopicName,
    /// The member.
    pub member: Member,
    /// Whether the member joined.
    pub joined: bool,
}

impl PresenceChange {
    /// About how much memory the change takes until it is sent, in bytes.
    pub fn bytes(&self) -> usize {
        /// The change itself, its number and its entry in the index by member.
        const OVERHEAD_BYTES: usize = 256;
        let Member { user, info, .. } = &self.member;
        let user = user.as_ref().map_or(0, |user| user.len());
        OVERHEAD_BYTES + self.topic.as_str().len() + user + info.as_ref().map_or(0, |info| info.bytes())
    }
}

/// Receives the messages and presence changes of topics. A topic calls its outlets under its lock, so an outlet never waits and never calls
/// the hub.
pub trait Outlet: Send + Sync {
    /// Whether `publisher`, which is identified by its waker, may offer another message now. Publishers that wait for room are served in
    /// the order in which they came.
    fn has_room(&self, publisher: &Waker) -> bool;
    /// Wakes `publisher` once it may offer a message. A publisher that found no room waits for this call alone.
    fn when_room(&self, publisher: &Waker);
    /// Notes that `publisher` waits for another outlet of its topic, so others need not wait for it here.
    fn waits_elsewhere(&self, _publisher: &Waker) {}
    /// Forgets `publisher`, which waits no more and is not to be woken.
    fn forget(&self, _publisher: &Waker) {}
    /// Takes a message of `publisher`. The messages of a topic come in the order of their offsets.
    fn offer(&self, message: &Message, publisher: &Waker);
    /// The log of `topic` was replaced. Subscribers have the messages up to `after`, and continue behind it in the new log.
    fn log_replaced(&self, topic: &TopicName, after: Position);
    /// Takes a change of presence.
    fn offer_presence(&self, change: &Arc<PresenceChange>);
}

/// The index of an outlet in the hub's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutletId(pub u16);

/// The outlets of a hub.
#[derive(Default)]
pub struct Outlets {
    /// Indexed by [`OutletId`]. Written only while the gateway starts.
    list: RwLock<Vec<Arc<dyn Outlet>>>,
}

impl Outlets {
    /// Adds an outlet, and returns the outlet's id.
    pub fn attach(&self, outlet: Arc<dyn Outlet>) -> OutletId {
        let mut list = self.list.write();
        list.push(outlet);
        OutletId((list.len() - 1) as u16)
    }

    /// The outlet `id`.
    pub fn get(&self, id: OutletId) -> Arc<dyn Outlet> {
        Arc::clone(&self.list.read()[usize::from(id.0)])
    }

    /// Has every outlet forget `publisher`.
    pub fn forget(&self, publisher: &Waker) {
        let outlets = self.list.read().clone();
        outlets.iter().for_each(|outlet| outlet.forget(publisher));
    }
}
