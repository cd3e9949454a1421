//! Where a topic's messages go: the hub's side of a shard.

use std::sync::Arc;
use std::task::Waker;

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
    /// About how much memory it takes on its way to those who are told, in bytes.
    pub fn bytes(&self) -> usize {
        /// The change itself, its number and what finds it by its member.
        const OVERHEAD_BYTES: usize = 256;
        let Member { user, info, .. } = &self.member;
        let user = user.as_ref().map_or(0, |user| user.len());
        OVERHEAD_BYTES + self.topic.as_str().len() + user + info.as_ref().map_or(0, |info| info.bytes())
    }
}

/// Takes what topics deliver. Topics call an outlet under their lock, so an outlet never waits and never calls the hub.
pub trait Outlet: Send + Sync {
    /// Whether `publisher`, which is known by its waker, may offer the outlet another message now. Where others wait for room, that is
    /// first come first served.
    fn has_room(&self, publisher: &Waker) -> bool;
    /// Wakes `publisher` once it is its turn. A publisher that found no room waits by this alone.
    fn when_room(&self, publisher: &Waker);
    /// Takes a message of `publisher`. The messages of a topic come in the order of their offsets.
    fn offer(&self, message: &Message, publisher: &Waker);
    /// Takes `topic`, whose log is another one from now on. Subscribers have had what there was up to `after`, and read on from there.
    fn go_on(&self, topic: &TopicName, after: Position);
    /// Takes a change of presence.
    fn tell(&self, change: &Arc<PresenceChange>);
}

/// An outlet's place in the hub's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutletId(pub u16);
