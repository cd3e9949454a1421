//! The events and commands of the native dialect that the command line uses (PROTOCOL section 3).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An event that the command line uses. A `gap` has an epoch if the topic's past was lost.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
#[allow(missing_docs, reason = "the variants and fields are the contract's words")]
pub enum Event {
    Welcome { ping_interval_ms: u64, max_message_bytes: usize },
    Subscribed { topics: Vec<SubscribedTopic> },
    Published { id: u64 },
    Gap { topic: String, from: u64, to: u64, epoch: Option<String> },
    Draining { retry_after_ms: u64 },
    Error { id: Option<serde_json::Value>, code: String, message: String },
}

/// One entry of `subscribed`.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the contract's members")]
pub struct SubscribedTopic {
    pub topic: String,
    pub epoch: Option<String>,
    pub offset: Option<u64>,
    pub recovered: Option<bool>,
}

/// A `message`, with its payload as received.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the fields are the contract's members")]
pub struct Message<'a> {
    #[serde(borrow)]
    op: Cow<'a, str>,
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
    pub offset: u64,
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    #[serde(borrow)]
    pub data_base64: Option<Cow<'a, str>>,
}

impl<'a> Message<'a> {
    /// Reads a `message`; `None` for other events.
    pub fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str::<Self>(text).ok().filter(|message| message.op == "message")
    }
}

/// Reads an event other than `message`; `None` for others, of which later gateways may have more.
pub fn read_event(text: &str) -> Option<Event> {
    serde_json::from_str(text).ok()
}

#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are the contract's members")]
pub struct Subscribe<'a> {
    pub op: &'static str,
    pub id: u64,
    pub topics: &'a [&'a String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub since: BTreeMap<&'a str, Since<'a>>,
}

/// A position in `since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are the contract's members")]
pub struct Since<'a> {
    pub epoch: &'a str,
    pub offset: u64,
}

/// Replaces line breaks by blanks. JSON has line breaks between its tokens only, where a blank means the same.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(['\n', '\r']) { Cow::Owned(text.replace(['\n', '\r'], " ")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_keeps_every_digit() {
        let text = r#"{"op":"message","topic":"quotes.AAPL","epoch":"k3f9x2","offset":18,"replay":true,"data":{"price":187.300,"n":12345678901234567890}}"#;
        let message = Message::read(text).unwrap();
        assert_eq!((&*message.topic, &*message.epoch, message.offset), ("quotes.AAPL", "k3f9x2", 18));
        assert_eq!(message.data.unwrap().get(), r#"{"price":187.300,"n":12345678901234567890}"#);
    }

    #[test]
    fn binary_payloads_are_decoded_from_base64() {
        let message = Message::read(r#"{"op":"message","topic":"a","epoch":"e","offset":1,"data_base64":"/w=="}"#);
        assert_eq!(message.unwrap().data_base64.as_deref(), Some("/w=="));
    }

    #[test]
    fn other_events_are_not_messages() {
        assert!(Message::read(r#"{"op":"gap","topic":"a","from":1,"to":2}"#).is_none());
        assert!(matches!(read_event(r#"{"op":"gap","topic":"a","from":1,"to":2}"#), Some(Event::Gap { from: 1, to: 2, .. })));
        assert!(read_event(r#"{"op":"join","topic":"a","member":{}}"#).is_none());
        assert!(matches!(read_event(r#"{"op":"draining","retry_after_ms":3120}"#), Some(Event::Draining { retry_after_ms: 3120 })));
        assert!(matches!(
            read_event(r#"{"op":"welcome","session":"0","ping_interval_ms":30000,"max_message_bytes":65536}"#),
            Some(Event::Welcome { max_message_bytes: 65_536, .. })
        ));
        assert!(matches!(read_event(r#"{"op":"error","code":"not_allowed","message":"m"}"#), Some(Event::Error { id: None, .. })));
        assert!(read_event("{").is_none());
    }

    #[test]
    fn pretty_json_becomes_one_line() {
        assert_eq!(one_line("{\r\n \"a\": \"b\\n\"\n}"), r#"{   "a": "b\n" }"#);
    }
}
