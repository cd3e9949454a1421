//! The exported state of topics: the form in which a store writes them at a planned restart.

use std::sync::Arc;

use crate::clock::{Clock, Timestamp};
use crate::config::Rule;
use crate::hub::message::{About, Extra, Message, PayloadKind};
use crate::position::{Epoch, Offset, Position};
use crate::session_id::SessionId;
use crate::topic_name::TopicName;

/// The state of a topic, without its subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// The topic's name.
    pub name: TopicName,
    /// The topic's epoch.
    pub epoch: Epoch,
    /// The offset of the topic's newest message, kept or not.
    pub newest: Offset,
    /// The label of the topic's rule: the rule's pattern.
    pub rule: Arc<str>,
    /// The history, oldest first and without holes; the last message is at `newest`.
    pub messages: Vec<KeptMessage>,
}

/// A message of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMessage {
    /// The offset in the topic.
    pub offset: Offset,
    /// When the message was published, in Unix milliseconds.
    pub published_at: Timestamp,
    /// The kind of the payload.
    pub kind: PayloadKind,
    /// The session that does not get the message.
    pub except: Option<SessionId>,
    /// The metadata beside the payload.
    pub extra: Option<Arc<Extra>>,
    /// The bytes, as published.
    pub payload: Box<[u8]>,
}

impl From<&Message> for KeptMessage {
    fn from(message: &Message) -> Self {
        Self {
            offset: message.position.offset,
            published_at: message.published_at,
            kind: message.kind,
            except: message.except,
            extra: message.extra.clone(),
            payload: message.payload().into(),
        }
    }
}

impl KeptMessage {
    /// The message in this life of `topic`, under `rule`. Its age is the time since `published_at` by the wall clock.
    pub fn into_message(self, topic: &TopicName, epoch: Epoch, rule: &Arc<Rule>, clock: &Clock) -> Message {
        let about = About {
            topic: topic.clone(),
            position: Position { epoch, offset: self.offset },
            published_at: self.published_at,
            moment: clock.moment_of(self.published_at),
            kind: self.kind,
            except: self.except,
            rule: Arc::clone(rule),
            extra: self.extra,
        };
        Message::new(about, &self.payload)
    }
}
