//! Where a topic's messages go: the hub's side of a shard.

use std::sync::Arc;
use std::task::Waker;

use super::message::Message;
use crate::session_id::Member;
use crate::topic_name::TopicName;

/// A member came to a topic or left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceChange {
    /// Which topic.
    pub topic: TopicName,
    /// Who.
    pub member: Member,
    /// Whether it came.
    pub joined: bool,
}

/// Takes what topics give out. It is called under a topic's lock, so it never waits and never calls the hub.
pub trait Outlet: Send + Sync {
    /// Whether it may be offered more now.
    fn has_room(&self) -> bool;
    /// Wakes `waker` once when it has room again.
    fn when_room(&self, waker: &Waker);
    /// Takes a message; a topic's come in the order of their offsets.
    fn offer(&self, message: &Message);
    /// Takes a change of presence.
    fn tell(&self, change: &Arc<PresenceChange>);
}

/// An outlet's place in the hub's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutletId(pub u16);
