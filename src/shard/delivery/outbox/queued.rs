//! A frame that waits for one session, with what it is.

use std::sync::Arc;

use crate::clock::Moment;
use crate::config::{OnSlow, Rule, TopicDeflate};
use crate::dialect::FrameBytes;
use crate::hub::{Message, PresenceChange};
use crate::metrics::DeflateHow;
use crate::position::Position;
use crate::topic_name::TopicName;

/// A frame on its way to one session.
pub struct Queued {
    /// The whole frame, shared with whoever else takes it.
    pub frame: FrameBytes,
    /// What it is.
    pub what: What,
}

/// What is kept of a message whose frame waits: all but its payload, which is in the frame. So what waits is not held twice.
#[derive(Debug)]
pub struct Routed {
    /// Its topic.
    pub topic: TopicName,
    /// Where it stands there.
    pub position: Position,
    /// When it was published.
    pub moment: Moment,
    /// The rule that it was published under.
    pub rule: Arc<Rule>,
}

impl From<&Message> for Routed {
    fn from(message: &Message) -> Self {
        Self { topic: message.topic.clone(), position: message.position, moment: message.moment, rule: Arc::clone(&message.rule) }
    }
}

/// What a queued frame is, for the accounts and for what may give way.
pub enum What {
    /// A live message.
    Message(Arc<Routed>),
    /// A live message of a topic that the session has unsubscribed from since. No newer message takes its place. If it is dropped, the gap
    /// is told only before another message from before the same unsubscribe, which has this number in the outbox.
    Unsubscribed(Arc<Routed>, u32),
    /// A message out of history; it is read as the socket takes it, and does not count against the bound.
    Replayed(Arc<Routed>),
    /// A join or a leave.
    Presence(Arc<PresenceChange>),
    /// A reply, an echo or a notice; never dropped.
    Reply,
    /// A reply that tells who is in a topic: no change before it cancels out with one behind it. Never dropped.
    Members,
    /// The gateway's heartbeat; never dropped.
    Ping,
    /// The answer to a Ping.
    Pong,
    /// The last frame.
    Close,
}

impl Queued {
    /// The message that it carries, if it is one.
    pub fn message(&self) -> Option<&Arc<Routed>> {
        match &self.what {
            What::Message(message) | What::Unsubscribed(message, _) | What::Replayed(message) => Some(message),
            _ => None,
        }
    }

    /// Whether it is a live message of a topic whose messages refer to earlier ones, and this one doesn't.
    pub fn is_unreferred(&self) -> bool {
        let (What::Message(message) | What::Unsubscribed(message, _)) = &self.what else { return false };
        message.rule.deflate == TopicDeflate::History && self.frame.deflated() != Some(DeflateHow::History)
    }

    /// Whether it counts against the bound.
    pub fn is_counted(&self) -> bool {
        matches!(self.what, What::Message(_) | What::Unsubscribed(..) | What::Presence(_))
    }

    /// Whether it may be dropped where conflating frees too little.
    pub fn may_be_dropped(&self) -> bool {
        matches!(&self.what, What::Message(message) | What::Unsubscribed(message, _) if message.rule.on_slow != OnSlow::Disconnect)
    }

    /// The topic within which a newer message takes its place.
    pub fn conflated_topic(&self) -> Option<&TopicName> {
        match &self.what {
            What::Message(message) if message.rule.on_slow == OnSlow::Conflate => Some(&message.topic),
            _ => None,
        }
    }
}
