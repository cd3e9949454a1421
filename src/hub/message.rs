//! What is published: a `Publication` as it comes, a `Message` once it has its position.

use std::iter::repeat_n;
use std::ops::Deref;
use std::sync::Arc;

use triomphe::HeaderSlice;

use super::payer::Payer;
use crate::clock::{Moment, Timestamp};
use crate::config::Rule;
use crate::frame::{OpCode, server_head};
use crate::metrics::PublishSource;
use crate::position::{Offset, Position};
use crate::session_id::{Member, SessionId};
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

impl PayloadKind {
    /// The opcode that such a payload goes out with by itself: text stays text, binary stays binary.
    pub fn opcode(self) -> OpCode {
        match self {
            Self::Json | Self::Text => OpCode::Text,
            Self::Binary => OpCode::Binary,
        }
    }
}

/// One payload for one topic, not yet published; it lies where it was read, and is copied once it has its position.
#[derive(Debug, Clone, Copy)]
pub struct Publication<'a> {
    /// The bytes, as published.
    pub payload: &'a [u8],
    /// What is known of them.
    pub kind: PayloadKind,
    /// A session that does not get it: its own sender without echo.
    pub except: Option<SessionId>,
    /// For `messages_published_total{source}`.
    pub source: PublishSource,
    /// Who answers for the topic if the message brings it to life; `None`: the gateway itself.
    pub payer: Option<&'a Payer>,
    /// What goes with it beside the payload.
    pub extra: Option<&'a Arc<Extra>>,
}

/// What goes with a message beside its payload, for those whose dialect shows it: Centrifugo's clients, `/api`, and natively where the
/// rule names senders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extra {
    /// The session that has published it.
    pub publisher: Option<Member>,
    /// Keys and values that its publisher has given it.
    pub tags: Vec<(Box<str>, Box<str>)>,
}

impl Extra {
    /// How much memory it takes, in bytes; what its publisher shares with other messages is counted too.
    pub fn bytes(&self) -> usize {
        let info = self.publisher.as_ref().and_then(|publisher| publisher.info.as_ref()).map_or(0, |info| info.bytes());
        let tags = self.tags.iter().map(|(key, value)| size_of::<(Box<str>, Box<str>)>() + key.len() + value.len());
        size_of::<Self>() + info + tags.sum::<usize>()
    }
}

/// A published message: one piece of memory, shared by whoever holds it.
#[derive(Debug, Clone)]
pub struct Message(triomphe::Arc<HeaderSlice<Header, [u8]>>);

/// What lies before a message's frame.
#[derive(Debug)]
struct Header {
    about: About,
    /// The frame's head, which the payload follows.
    head_bytes: usize,
    /// The offset of the topic's message before it, where an engine gives offsets with holes; 0: none is known.
    prev: Option<Offset>,
}

/// What is known of a message beside its payload.
#[derive(Debug)]
pub struct About {
    /// Its topic.
    pub topic: TopicName,
    /// Where it stands there.
    pub position: Position,
    /// When it was published, in Unix milliseconds.
    pub published_at: Timestamp,
    /// The same on the monotonic clock.
    pub moment: Moment,
    /// What is known of its payload.
    pub kind: PayloadKind,
    /// A session that does not get it.
    pub except: Option<SessionId>,
    /// The rule that it was published under.
    pub rule: Arc<Rule>,
    /// What goes with it beside the payload.
    pub extra: Option<Arc<Extra>>,
}

impl About {
    /// The session that has published it, where its rule names it (PROTOCOL section 3).
    pub fn sender(&self) -> Option<&Member> {
        self.extra.as_ref()?.publisher.as_ref().filter(|_| self.rule.sender)
    }
}

impl Message {
    /// Copies `payload`, right behind the head of a frame: a raw subscriber's frame is written with it, and costs nothing more.
    pub fn new(about: About, payload: &[u8]) -> Self {
        Self::made(about, None, payload)
    }

    /// The same for a topic of a stream, whose message before it is at `prev`.
    pub fn of_stream(about: About, prev: Offset, payload: &[u8]) -> Self {
        Self::made(about, Some(prev), payload)
    }

    /// The offset of the topic's message before it, where the offsets have holes; 0: none is known.
    pub fn prev(&self) -> Option<Offset> {
        self.0.header.prev
    }

    fn made(about: About, prev: Option<Offset>, payload: &[u8]) -> Self {
        let (head, head_bytes) = server_head(about.kind.opcode(), false, payload.len());
        let header = Header { about, head_bytes, prev };
        let mut made = triomphe::Arc::from_header_and_iter(header, repeat_n(0, head_bytes + payload.len()));
        let frame = &mut triomphe::Arc::get_mut(&mut made).expect("nobody else has what was just made").slice;
        frame[..head_bytes].copy_from_slice(&head[..head_bytes]);
        frame[head_bytes..].copy_from_slice(payload);
        Self(made)
    }

    /// The bytes, as published.
    pub fn payload(&self) -> &[u8] {
        &self.frame()[self.0.header.head_bytes..]
    }

    /// The whole frame that carries the payload alone, uncompressed.
    pub fn frame(&self) -> &[u8] {
        &self.0.slice
    }
}

impl Deref for Message {
    type Target = About;

    fn deref(&self) -> &About {
        &self.0.header.about
    }
}
