//! Topics as they can be written down, and made again from that: what outlives a planned restart.

use std::sync::Arc;

use super::message::{About, Extra, Message, PayloadKind};
use crate::clock::{Clock, Timestamp};
use crate::config::Rule;
use crate::position::{Epoch, Offset, Position};
use crate::session_id::SessionId;
use crate::topic_name::TopicName;

/// A topic without its subscribers: these come again by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// The topic's name.
    pub name: TopicName,
    /// Its life.
    pub epoch: Epoch,
    /// The offset of its newest message, kept or not.
    pub newest: Offset,
    /// The label of the rule that it has: the rule's pattern.
    pub rule: Arc<str>,
    /// Its history, oldest first and without holes; the last message is at `newest`.
    pub messages: Vec<KeptMessage>,
}

/// A message of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMessage {
    /// Its place in the topic.
    pub offset: Offset,
    /// When it was published, in Unix milliseconds.
    pub published_at: Timestamp,
    /// What is known of its payload.
    pub kind: PayloadKind,
    /// A session that does not get it.
    pub except: Option<SessionId>,
    /// What goes with it beside the payload.
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
    /// The message as it was in this life of `topic`, as old as it is by the wall clock, under `rule`.
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
