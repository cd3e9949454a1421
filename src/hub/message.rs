//! What is published: a `Publication` as it comes, a `Message` once it has its position.

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::{Moment, Timestamp};
use crate::config::Rule;
use crate::metrics::PublishSource;
use crate::position::Position;
use crate::session_id::SessionId;
use crate::topic_name::TopicName;

/// What is known of a payload's bytes; each is handed on as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadKind {
    /// JSON text (RFC 8259), checked.
    Json,
    /// UTF-8 text; JSON or not.
    Text,
    /// Came as binary: goes out as binary in the raw dialect.
    Binary,
}

/// One payload for one topic, not yet published.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The bytes, as published.
    pub payload: Bytes,
    /// What is known of them.
    pub kind: PayloadKind,
    /// A session that does not get it: its own sender without echo.
    pub except: Option<SessionId>,
    /// For `messages_published_total{source}`.
    pub source: PublishSource,
}

/// A published message.
#[derive(Debug)]
pub struct Message {
    /// Its topic.
    pub topic: TopicName,
    /// Where it stands there.
    pub position: Position,
    /// When it was published, in Unix milliseconds.
    pub published_at: Timestamp,
    /// The same on the monotonic clock.
    pub moment: Moment,
    /// The bytes, as published.
    pub payload: Bytes,
    /// What is known of them.
    pub kind: PayloadKind,
    /// A session that does not get it.
    pub except: Option<SessionId>,
    /// The rule that it was published under.
    pub rule: Arc<Rule>,
}
