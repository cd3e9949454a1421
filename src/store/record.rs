//! A record of the store's file: a checksum, a length, a kind and a body.
//!
//! | part | bytes | what |
//! |---|---|---|
//! | checksum | 4 | CRC-32 (ISO 3309) of all that follows, the length included |
//! | length | 4 | of the kind and the body |
//! | kind | 1 | 1 topic, 2 message, 3 seal |
//! | body | length − 1 | as [`Record`] lists it |
//!
//! Integers are little-endian. A text is two bytes of length and UTF-8. Each record can be checked by itself, so records of one
//! file can be copied into another.

use std::borrow::Cow;
use std::sync::Arc;

use super::damage::Damage;
use super::extra;
use super::fields::{Fields, put_text};
use crate::clock::Timestamp;
use crate::hub::{KeptMessage, PayloadKind};
use crate::position::{Epoch, Offset};
use crate::session_id::SessionId;
use crate::topic_name::TopicName;

/// The checksum and the length.
pub(super) const HEAD_BYTES: usize = 8;

const TOPIC: u8 = 1;
const MESSAGE: u8 = 2;
const SEAL: u8 = 3;

/// A flag of a message: it has the session that does not receive it.
const HAS_EXCEPT: u8 = 1;
/// A flag of a message: it has further parts before its payload.
const HAS_EXTRA: u8 = 2;

/// The content of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// A topic, whose messages follow.
    Topic {
        /// The number of the topic in the file, from 0, which its messages have.
        id: u32,
        epoch: Epoch,
        newest: Offset,
        name: TopicName,
        /// The pattern of the rule that the topic had.
        rule: &'a str,
    },
    /// A message of the topic before it.
    Message { topic: u32, message: Cow<'a, KeptMessage> },
    /// The end of a complete file.
    Seal { topics: u32, messages: u64, written_at: Timestamp },
}

impl<'a> Record<'a> {
    /// Appends the record to `out`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&[0; HEAD_BYTES]);
        match self {
            Self::Topic { id, epoch, newest, name, rule } => {
                out.push(TOPIC);
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&newest.0.to_le_bytes());
                put_text(epoch.as_str(), out);
                put_text(name.as_str(), out);
                put_text(rule, out);
            }
            Self::Message { topic, message } => {
                let KeptMessage { offset, published_at, kind, except, extra, payload } = &**message;
                out.push(MESSAGE);
                out.extend_from_slice(&topic.to_le_bytes());
                out.extend_from_slice(&offset.0.to_le_bytes());
                out.extend_from_slice(&published_at.0.to_le_bytes());
                out.push(kind_number(*kind));
                out.push(except.map_or(0, |_| HAS_EXCEPT) | extra.as_ref().map_or(0, |_| HAS_EXTRA));
                if let Some(session) = except {
                    out.extend_from_slice(&session.number().to_le_bytes());
                }
                if let Some(extra) = extra {
                    extra::encode(extra, out);
                }
                out.extend_from_slice(payload);
            }
            Self::Seal { topics, messages, written_at } => {
                out.push(SEAL);
                out.extend_from_slice(&topics.to_le_bytes());
                out.extend_from_slice(&messages.to_le_bytes());
                out.extend_from_slice(&written_at.0.to_le_bytes());
            }
        }
        let length = (out.len() - begin - HEAD_BYTES) as u32;
        out[begin + 4..begin + HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
        let checksum = crc32fast::hash(&out[begin + 4..]);
        out[begin..begin + 4].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Reads a record from its head and content.
    pub(super) fn decode(head: [u8; HEAD_BYTES], content: &'a [u8]) -> Result<Self, Damage> {
        let [c0, c1, c2, c3, ref length @ ..] = head;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(length);
        hasher.update(content);
        if hasher.finalize() != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(Damage::Checksum);
        }
        let mut fields = Fields(content);
        let record = match fields.byte()? {
            TOPIC => {
                let (id, newest) = (fields.u32()?, Offset(fields.u64()?));
                let epoch = Epoch::parse(fields.text()?).ok_or(Damage::Malformed("an epoch"))?;
                let name = TopicName::parse(fields.text()?).map_err(|_| Damage::Malformed("a topic's name"))?;
                Self::Topic { id, epoch, newest, name, rule: fields.text()? }
            }
            MESSAGE => {
                let (topic, offset, published_at) = (fields.u32()?, Offset(fields.u64()?), Timestamp(fields.u64()?));
                let kind = kind_of(fields.byte()?)?;
                let flags = fields.byte()?;
                if flags & !(HAS_EXCEPT | HAS_EXTRA) != 0 {
                    return Err(Damage::Malformed("a message's flags"));
                }
                let except = if flags & HAS_EXCEPT > 0 { Some(SessionId::from_number(fields.u64()?)) } else { None };
                let extra = if flags & HAS_EXTRA > 0 { Some(Arc::new(extra::decode(&mut fields)?)) } else { None };
                let payload = fields.rest().into();
                let message = Cow::Owned(KeptMessage { offset, published_at, kind, except, extra, payload });
                return Ok(Self::Message { topic, message });
            }
            SEAL => Self::Seal { topics: fields.u32()?, messages: fields.u64()?, written_at: Timestamp(fields.u64()?) },
            _ => return Err(Damage::Malformed("a record's kind")),
        };
        if fields.rest().is_empty() { Ok(record) } else { Err(Damage::Malformed("a record's length")) }
    }
}

fn kind_number(kind: PayloadKind) -> u8 {
    match kind {
        PayloadKind::Json => 0,
        PayloadKind::Text => 1,
        PayloadKind::Binary => 2,
    }
}

fn kind_of(number: u8) -> Result<PayloadKind, Damage> {
    match number {
        0 => Ok(PayloadKind::Json),
        1 => Ok(PayloadKind::Text),
        2 => Ok(PayloadKind::Binary),
        _ => Err(Damage::Malformed("a payload's kind")),
    }
}
