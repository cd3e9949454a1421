//! A frame that waits for one session, with its kind.

use std::sync::Arc;

use crate::clock::Moment;
use crate::config::{OnSlow, Rule, TopicDeflate};
use crate::dialect::FrameBytes;
use crate::hub::{Message, PresenceChange};
use crate::metrics::DeflateHow;
use crate::position::Position;
use crate::shard::pacing::DroppedRange;
use crate::topic_name::TopicName;

/// A frame on its way to one session.
pub struct Queued {
    /// The complete frame, shared with the other sessions that get it.
    pub frame: FrameBytes,
    /// The kind of the frame.
    pub kind: FrameKind,
}

/// A message whose frame waits, without its payload. The payload is in the frame, so it is not held twice.
#[derive(Debug)]
pub struct QueuedMessage {
    /// The message's topic.
    pub topic: TopicName,
    /// The message's position in the topic.
    pub position: Position,
    /// The moment of its publication.
    pub moment: Moment,
    /// The rule under which it was published.
    pub rule: Arc<Rule>,
}

impl From<&Message> for QueuedMessage {
    fn from(message: &Message) -> Self {
        Self { topic: message.topic.clone(), position: message.position, moment: message.moment, rule: Arc::clone(&message.rule) }
    }
}

/// The kind of a queued frame, for the accounts and for the rules by which frames give way.
pub enum FrameKind {
    /// A live message.
    Message(Arc<QueuedMessage>),
    /// A live message of a topic that the session has unsubscribed from since. No newer message replaces it. The second
    /// field is the number of the unsubscribe in this outbox. If the message is dropped, the gap is told only before
    /// another message with the same number.
    Unsubscribed(Arc<QueuedMessage>, u32),
    /// A message from history. It is read as the socket accepts it, and does not count against the bound.
    Replayed(Arc<QueuedMessage>),
    /// A join or a leave.
    Presence(Arc<PresenceChange>),
    /// A reply, an echo or a notice. It is never dropped.
    Reply,
    /// A reply that lists the members of a topic. A change of presence before it does not cancel out with one behind
    /// it. It is never dropped.
    Members,
    /// The notice of held messages that were dropped. Behind frames that wait, it becomes a gap before the topic's next
    /// message.
    Gap(Box<DroppedRange>),
    /// The gateway's heartbeat. It is never dropped.
    Ping,
    /// The answer to a Ping.
    Pong,
    /// The last frame.
    Close,
}

impl FrameKind {
    /// The dropped messages that the frame tells of, if it is their notice.
    pub fn gap(&self) -> Option<&DroppedRange> {
        if let Self::Gap(dropped) = self { Some(dropped) } else { None }
    }
}

impl Queued {
    /// The memory that the frame holds, in bytes.
    pub fn bytes(&self) -> usize {
        self.frame.len() + self.frame.metadata_bytes()
    }

    /// The message that the frame carries, if any.
    pub fn message(&self) -> Option<&Arc<QueuedMessage>> {
        match &self.kind {
            FrameKind::Message(message) | FrameKind::Unsubscribed(message, _) | FrameKind::Replayed(message) => Some(message),
            _ => None,
        }
    }

    /// The topic of the message or the gap that the frame carries, if any.
    pub fn topic(&self) -> Option<&TopicName> {
        self.message().map(|message| &message.topic).or_else(|| self.kind.gap().map(|dropped| &dropped.topic))
    }

    /// Whether the frame is a live message without a reference in a topic whose messages refer to earlier ones.
    pub fn is_unreferred(&self) -> bool {
        let (FrameKind::Message(message) | FrameKind::Unsubscribed(message, _)) = &self.kind else { return false };
        message.rule.deflate == TopicDeflate::History && self.frame.deflated() != Some(DeflateHow::History)
    }

    /// Whether the frame counts against the bound.
    pub fn is_counted(&self) -> bool {
        matches!(self.kind, FrameKind::Message(_) | FrameKind::Unsubscribed(..) | FrameKind::Presence(_))
    }

    /// Whether the frame may be dropped if conflating frees too little.
    pub fn may_be_dropped(&self) -> bool {
        matches!(&self.kind, FrameKind::Message(message) | FrameKind::Unsubscribed(message, _) if message.rule.on_slow != OnSlow::Disconnect)
    }

    /// The topic of a frame that a newer message of the topic may replace.
    pub fn conflated_topic(&self) -> Option<&TopicName> {
        match &self.kind {
            FrameKind::Message(message) if message.rule.on_slow == OnSlow::Conflate => Some(&message.topic),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{About, Extra, PayloadKind};
    use crate::position::{Epoch, Offset};

    /// A frame that keeps its message in memory counts the message's tags. (A raw session's outbox counted the payload
    /// alone.)
    #[test]
    fn tags_count_in_an_outbox() {
        let position = Position { epoch: Epoch::random(), offset: Offset(1) };
        let extra = Some(Arc::new(Extra { publisher: None, tags: vec![("key".into(), "a".repeat(1_000).into())] }));
        let message = Message::new(About { extra, ..About::of_test("chat.a", position, PayloadKind::Json) }, b"1");
        let queued = Queued { frame: FrameBytes::OfMessage(message), kind: FrameKind::Reply };
        assert!(queued.frame.len() < 10 && queued.bytes() > 1_000);
    }
}
