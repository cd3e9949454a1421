//! The fields of Centrifugo's API commands. A command reads the structs that it needs. Unknown fields are ignored, as
//! in Centrifugo.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::failed::Failed;

/// The topic of a command.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct ChannelRequest<'a> {
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct BroadcastRequest<'a> {
    #[serde(borrow)]
    pub channels: Vec<Cow<'a, str>>,
}

/// A message.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct PublishRequest<'a> {
    /// The payload as JSON, byte for byte; `null` is one.
    #[serde(borrow, deserialize_with = "raw_value")]
    pub data: Option<&'a RawValue>,
    /// The payload in Base64.
    #[serde(borrow)]
    pub b64data: Cow<'a, str>,
    /// Keys and values that accompany the payload.
    pub tags: Option<BTreeMap<Box<str>, Box<str>>>,
    /// The idempotency key: a topic publishes one message for each key.
    #[serde(borrow)]
    pub idempotency_key: Cow<'a, str>,
    /// Keeps the message out of the history; not supported.
    pub skip_history: bool,
    /// Delta compression; not supported.
    pub delta: bool,
    /// Publishes only if newer than this version; not supported.
    pub version: u64,
}

fn raw_value<'a, D: Deserializer<'a>>(value: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// A part of a history.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct HistoryRequest<'a> {
    /// The largest number of messages; negative for all.
    pub limit: i64,
    /// The position before the first message.
    #[serde(borrow)]
    pub since: Option<Since<'a>>,
    /// Whether the newest message comes first.
    pub reverse: bool,
}

/// A position.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Since<'a> {
    pub offset: u64,
    /// The epoch; an empty one is not compared.
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct ChannelsRequest<'a> {
    #[serde(borrow)]
    pub pattern: Cow<'a, str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct DisconnectRequest<'a> {
    /// Sessions that stay open.
    #[serde(borrow)]
    pub whitelist: Vec<Cow<'a, str>>,
    /// A custom close code and reason; not supported.
    #[serde(borrow)]
    pub disconnect: Option<&'a RawValue>,
}

/// The sessions that a command addresses.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct UserRequest<'a> {
    #[serde(borrow)]
    pub user: Cow<'a, str>,
    /// The id of one of the user's sessions; empty for all.
    #[serde(borrow)]
    pub client: Cow<'a, str>,
    /// The secret of one of the user's sessions; not supported.
    #[serde(borrow)]
    pub session: Cow<'a, str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct SubscribeRequest<'a> {
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// The `chan_info` of the subscriber in presence and publications.
    #[serde(borrow)]
    pub info: Option<&'a RawValue>,
    /// The same in Base64.
    #[serde(borrow)]
    pub b64info: Cow<'a, str>,
    /// Data for the application.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    /// The same in Base64.
    #[serde(borrow)]
    pub b64data: Cow<'a, str>,
    /// The position from which the topic is recovered.
    #[serde(borrow)]
    pub recover_since: Option<Since<'a>>,
    /// Options that override the topic's rule.
    #[serde(rename = "override")]
    pub other_rule: Option<OtherRule>,
}

/// Options of a subscription that override the topic's rule. Most are refused unless they equal the rule's.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct OtherRule {
    /// Whether the subscriber is in presence.
    pub presence: Option<BoolValue>,
    /// Whether the subscriber's join and leave are published.
    pub join_leave: Option<BoolValue>,
    /// Whether the subscriber receives joins and leaves.
    pub force_push_join_leave: Option<BoolValue>,
    /// Whether lost messages are detected.
    pub force_positioning: Option<BoolValue>,
    /// Whether the subscription can recover.
    pub force_recovery: Option<BoolValue>,
}

/// The protocol's `BoolValue`: an option that is set to true or false, or absent.
#[derive(Deserialize, Default, Clone, Copy)]
#[serde(default)]
pub struct BoolValue {
    pub value: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct RefreshRequest {
    /// Whether the credentials expire now.
    pub expired: bool,
    /// The new expiry, in Unix seconds; 0 keeps that of the token.
    pub expire_at: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct BatchRequest<'a> {
    /// Each is an object with one command, by the command's name.
    #[serde(borrow)]
    pub commands: Vec<BTreeMap<Cow<'a, str>, &'a RawValue>>,
}

/// Whether `json` is an object. An empty body counts as an empty object.
pub fn is_command(json: &[u8]) -> bool {
    let json = json.trim_ascii();
    json.is_empty() || json.first() == Some(&b'{') && serde_json::from_slice::<&RawValue>(json).is_ok()
}

/// Reads some fields of the command in `json`.
pub fn read<'a, T: Deserialize<'a> + Default>(json: &'a [u8]) -> Result<T, Failed> {
    match json.trim_ascii() {
        b"" => Ok(T::default()),
        json if json.first() == Some(&b'{') => serde_json::from_slice(json).map_err(|_| Failed::BAD_REQUEST),
        _ => Err(Failed::BAD_REQUEST),
    }
}
