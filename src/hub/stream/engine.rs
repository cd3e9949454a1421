//! The trait of an engine, and what passes between an engine and the hub.

use std::sync::Arc;
use std::task::Waker;

use super::life::StreamLife;
use super::receipt::Receipt;
use crate::clock::{Moment, Timestamp};
use crate::config::Rule;
use crate::hub::message::{About, Extra, Message, PayloadKind, Publication};
use crate::hub::outlet::PresenceChange;
use crate::hub::refusal::PublishError;
use crate::position::{Offset, Position};
use crate::session_id::SessionId;
use crate::topic_name::TopicName;

/// A message that was read from a stream.
#[derive(Debug, Clone, Copy)]
pub struct StreamMessage<'a> {
    /// The offset in the stream.
    pub offset: Offset,
    /// When the stream stored the message.
    pub published_at: Timestamp,
    /// The kind of the payload.
    pub kind: PayloadKind,
    /// The session that does not get the message.
    pub except: Option<SessionId>,
    /// The metadata beside the payload.
    pub extra: Option<&'a Arc<Extra>>,
    /// The bytes, as published.
    pub payload: &'a [u8],
}

impl StreamMessage<'_> {
    /// The message of `topic` in `life`, under `rule`. The newest message of the topic before it has the offset `prev`.
    pub fn message(&self, topic: &TopicName, life: &StreamLife, prev: Offset, rule: &Arc<Rule>, moment: Moment) -> Message {
        let about = About {
            topic: topic.clone(),
            position: Position { epoch: life.epoch(), offset: self.offset },
            published_at: self.published_at,
            moment,
            kind: self.kind,
            except: self.except,
            rule: Arc::clone(rule),
            extra: self.extra.cloned(),
        };
        Message::of_stream(about, prev, self.payload)
    }
}

/// Takes publications on topics of streams, and changes of presence. Sessions call an engine, so it never waits.
pub trait Engine: Send + Sync {
    /// Whether the engine accepts publications on `topic` for now, if it has room; `None`: no stream has the topic.
    fn accepts(&self, topic: &TopicName) -> Option<bool>;
    /// Submits `publication` to the stream of `topic`; `None`: no stream has the topic. The publisher is identified by its waker, because
    /// room is kept for publishers that were woken.
    fn publish(&self, topic: &TopicName, publication: &Publication<'_>, publisher: &Waker) -> Option<Result<EngineAttempt, PublishError>>;
    /// Wakes `publisher` once another of its publications may be submitted, which may be at once.
    fn when_room(&self, publisher: &Waker);
    /// Forgets a publisher that waits for room or was woken, and has gone.
    fn forget(&self, publisher: &Waker);
    /// Tells the other gateways that a member joined here or left. Called under the topic's lock.
    fn presence(&self, _change: &Arc<PresenceChange>) {}
    /// Why the gateway can't serve all of its streams; `None`: it can.
    fn unready(&self) -> Option<String> {
        None
    }
    /// Whether a configured stream was not read to its end yet.
    fn is_loading(&self) -> bool {
        false
    }
}

/// The outcome of an engine's attempt to publish.
pub enum EngineAttempt {
    /// The engine accepted the publication. The receipt will have the answer.
    Awaited(Receipt),
    /// Too many publications wait for their answers. The engine did not accept this one.
    NoRoom,
}
