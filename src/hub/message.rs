//! Messages: a `Publication` before it has a position, a `Message` after that.

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

/// The kind of a payload's bytes, which are passed on as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadKind {
    /// Valid JSON text (RFC 8259).
    Json,
    /// UTF-8 text, which may be JSON or not.
    Text,
    /// Bytes that were published as binary. The raw dialect sends them as binary.
    Binary,
}

impl PayloadKind {
    /// The opcode of a frame that carries the payload alone: text stays text, binary stays binary.
    pub fn opcode(self) -> OpCode {
        match self {
            Self::Json | Self::Text => OpCode::Text,
            Self::Binary => OpCode::Binary,
        }
    }
}

/// A payload for one topic that is not published yet. The payload is borrowed from the buffer into which it was read.
#[derive(Debug, Clone, Copy)]
pub struct Publication<'a> {
    /// The bytes, as published.
    pub payload: &'a [u8],
    /// The kind of these bytes.
    pub kind: PayloadKind,
    /// The session that does not get the message: its sender, if that asked for no echo.
    pub except: Option<SessionId>,
    /// For `messages_published_total{source}`.
    pub source: PublishSource,
    /// The payer of the topic, if the message makes it; `None`: the gateway itself.
    pub payer: Option<&'a Payer>,
    /// The metadata beside the payload.
    pub extra: Option<&'a Arc<Extra>>,
}

impl<'a> Publication<'a> {
    /// A publication for all subscribers, without a payer and without metadata.
    pub fn new(payload: &'a [u8], kind: PayloadKind, source: PublishSource) -> Self {
        Self { payload, kind, except: None, source, payer: None, extra: None }
    }
}

/// Metadata that goes with a message beside its payload. Centrifugo's protocol and `/api` show it; the native dialect shows the publisher
/// where the topic's rule has `sender` on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extra {
    /// The session that published the message.
    pub publisher: Option<Member>,
    /// Keys and values that the publisher gave.
    pub tags: Vec<(Box<str>, Box<str>)>,
}

impl Extra {
    /// The memory that the metadata takes, in bytes. The publisher's name and `info` count for each of its messages, although they share them.
    fn bytes(&self) -> usize {
        let Some(Member { user, info, .. }) = &self.publisher else { return self.own_bytes() };
        self.own_bytes() + user.as_deref().map_or(0, str::len) + info.as_ref().map_or(0, |info| info.bytes())
    }

    /// The memory of the metadata without the publisher's, in bytes.
    fn own_bytes(&self) -> usize {
        let tags = self.tags.iter().map(|(key, value)| size_of::<(Box<str>, Box<str>)>() + key.len() + value.len());
        size_of::<Self>() + tags.sum::<usize>()
    }
}

/// A published message: one allocation, which its holders share.
#[derive(Debug, Clone)]
pub struct Message(triomphe::Arc<HeaderSlice<Header, [u8]>>);

/// The part of the allocation before the message's frame.
#[derive(Debug)]
struct Header {
    about: About,
    /// The length of the frame's head. The payload follows the head.
    head_bytes: usize,
    /// What [`Message::prev`] returns.
    prev: Option<Offset>,
}

/// All of a message except its payload.
#[derive(Debug)]
pub struct About {
    /// The topic.
    pub topic: TopicName,
    /// The position in the topic.
    pub position: Position,
    /// When the message was published, in Unix milliseconds.
    pub published_at: Timestamp,
    /// When the message was published, on the monotonic clock.
    pub moment: Moment,
    /// The kind of the payload.
    pub kind: PayloadKind,
    /// The session that does not get the message.
    pub except: Option<SessionId>,
    /// The rule that was in force when the message was published.
    pub rule: Arc<Rule>,
    /// The metadata beside the payload.
    pub extra: Option<Arc<Extra>>,
}

impl About {
    /// A message of a test, published at the clock's beginning under a rule without options.
    #[cfg(test)]
    pub fn of_test(topic: &str, position: Position, kind: PayloadKind) -> Self {
        Self {
            topic: TopicName::parse(topic).unwrap(),
            position,
            published_at: Timestamp(0),
            moment: Moment::default(),
            kind,
            except: None,
            rule: Arc::new(Rule::plain(None)),
            extra: None,
        }
    }

    /// The session that published the message, where the rule has `sender` on (PROTOCOL section 3).
    pub fn sender(&self) -> Option<&Member> {
        self.extra.as_ref()?.publisher.as_ref().filter(|_| self.rule.sender)
    }
}

impl Message {
    /// Copies `payload` behind the head of its frame. A raw subscriber is sent this frame as it lies here, without another copy.
    pub fn new(about: About, payload: &[u8]) -> Self {
        Self::made(about, None, payload)
    }

    /// Makes a message of a stream, in whose topic the previous message has the offset `prev`.
    pub fn of_stream(about: About, prev: Offset, payload: &[u8]) -> Self {
        Self::made(about, Some(prev), payload)
    }

    /// The offset of the topic's previous message, where an engine assigns offsets with holes (0: none is known); `None`: there are no
    /// holes.
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

    /// The memory of the payload and of the metadata beside it, in bytes. A history may keep the publisher's name and `info` longer than its
    /// session does, so each message counts them.
    pub fn bytes(&self) -> usize {
        self.payload().len() + self.extra.as_ref().map_or(0, |extra| extra.bytes())
    }

    /// The memory that a message holds on its way to a session, in bytes: that of [`Message::bytes`] without the publisher's name and `info`,
    /// which all messages of a session share. A message of a stream was read from there, and has its own.
    pub fn transit_bytes(&self) -> usize {
        self.payload().len() + self.transit_metadata_bytes()
    }

    /// The part of [`Message::transit_bytes`] that is not in the frame.
    pub fn transit_metadata_bytes(&self) -> usize {
        let bytes = |extra: &Arc<Extra>| if self.prev().is_some() { extra.bytes() } else { extra.own_bytes() };
        self.extra.as_ref().map_or(0, bytes)
    }

    /// The whole frame that carries the payload alone, without compression.
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
