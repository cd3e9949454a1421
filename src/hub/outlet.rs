//! Where a topic's messages go: the hub's side of a shard.

use std::sync::Arc;
use std::task::Waker;

use super::message::Message;
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

/// Takes what topics deliver. Topics call an outlet under their lock, so an outlet never waits and never calls the hub.
pub trait Outlet: Send + Sync {
    /// Whether the outlet may be offered another message now.
    fn has_room(&self) -> bool;
    /// Wakes `waker` once the outlet has room; at once if it has room now. A publisher that found no room waits by this alone.
    fn when_room(&self, waker: &Waker);
    /// Takes a message. The messages of a topic come in the order of their offsets.
    fn offer(&self, message: &Message);
    /// Takes a change of presence.
    fn tell(&self, change: &Arc<PresenceChange>);
}

/// An outlet's place in the hub's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutletId(pub u16);
