//! What a command says, out of its JSON: each command reads the parts that it has. What is not known is passed over, as Centrifugo does.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::failed::Failed;

/// The topic of a command.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Named<'a> {
    /// Its name.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
}

/// The topics of a broadcast.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct NamedAll<'a> {
    /// Their names.
    #[serde(borrow)]
    pub channels: Vec<Cow<'a, str>>,
}

/// A message.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Content<'a> {
    /// The payload as JSON, byte for byte; `null` is one.
    #[serde(borrow, deserialize_with = "whatever_is_there")]
    pub data: Option<&'a RawValue>,
    /// The payload in Base64.
    #[serde(borrow)]
    pub b64data: Cow<'a, str>,
    /// Keys and values that go with the payload.
    pub tags: Option<BTreeMap<Box<str>, Box<str>>>,
    /// Under one key a topic is published on once.
    #[serde(borrow)]
    pub idempotency_key: Cow<'a, str>,
    /// Not to be kept in history; not done here.
    pub skip_history: bool,
    /// Delta compression; not done here.
    pub delta: bool,
    /// Only if newer; not done here.
    pub version: u64,
}

fn whatever_is_there<'a, D: Deserializer<'a>>(value: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// A part of a history.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Part<'a> {
    /// The most messages; negative: all.
    pub limit: i64,
    /// Where to read from.
    #[serde(borrow)]
    pub since: Option<Since<'a>>,
    /// Newest first.
    pub reverse: bool,
}

/// A position.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Since<'a> {
    /// The offset.
    pub offset: u64,
    /// The epoch; empty: not compared.
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
}

/// Which topics are listed.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Listed<'a> {
    /// Those whose names are like this.
    #[serde(borrow)]
    pub pattern: Cow<'a, str>,
}

/// How sessions are closed.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Closing<'a> {
    /// Sessions that are spared.
    #[serde(borrow)]
    pub whitelist: Vec<Cow<'a, str>>,
    /// A Close of one's own; not done here.
    #[serde(borrow)]
    pub disconnect: Option<&'a RawValue>,
}

/// Whose sessions are told to do something.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Meant<'a> {
    /// The user.
    #[serde(borrow)]
    pub user: Cow<'a, str>,
    /// One of the user's sessions.
    #[serde(borrow)]
    pub client: Cow<'a, str>,
    /// The secret of one of the user's sessions; not known here.
    #[serde(borrow)]
    pub session: Cow<'a, str>,
}

/// A subscription that sessions are to have.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Subscribing<'a> {
    /// To what.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// What presence and publications show of the subscriber.
    #[serde(borrow)]
    pub info: Option<&'a RawValue>,
    /// The same in Base64.
    #[serde(borrow)]
    pub b64info: Cow<'a, str>,
    /// Something for the application.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    /// The same in Base64.
    #[serde(borrow)]
    pub b64data: Cow<'a, str>,
    /// From where on the session hears the topic.
    #[serde(borrow)]
    pub recover_since: Option<Since<'a>>,
    /// Another rule for this subscription.
    #[serde(rename = "override")]
    pub other_rule: Option<OtherRule>,
}

/// The options of a topic's rule that one subscription overrides. Most are refused unless they say what the rule has anyway.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct OtherRule {
    /// Whether the subscriber is in presence.
    pub presence: Option<BoolValue>,
    /// Whether the subscriber's join and leave are told.
    pub join_leave: Option<BoolValue>,
    /// Whether the subscriber is told of the joins and leaves of others.
    pub force_push_join_leave: Option<BoolValue>,
    /// Whether lost messages are told.
    pub force_positioning: Option<BoolValue>,
    /// Whether the subscription can recover.
    pub force_recovery: Option<BoolValue>,
}

/// The protocol's `BoolValue`: an option that is set to true or false, or absent.
#[derive(Deserialize, Default, Clone, Copy)]
#[serde(default)]
pub struct BoolValue {
    /// The option's value.
    pub value: bool,
}

/// How long sessions' credentials hold.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Refreshing {
    /// No longer.
    pub expired: bool,
    /// Until then, in Unix seconds; 0: as they say themselves.
    pub expire_at: u64,
}

/// The commands of a batch.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Batched<'a> {
    /// Each an object with one command by its name.
    #[serde(borrow)]
    pub commands: Vec<BTreeMap<Cow<'a, str>, &'a RawValue>>,
}

/// Whether `json` is an object, or nothing at all, which counts as an empty one.
pub fn is_command(json: &[u8]) -> bool {
    let json = json.trim_ascii();
    json.is_empty() || json.first() == Some(&b'{') && serde_json::from_slice::<&RawValue>(json).is_ok()
}

/// A part of the command in `json`.
pub fn read<'a, T: Deserialize<'a> + Default>(json: &'a [u8]) -> Result<T, Failed> {
    match json.trim_ascii() {
        b"" => Ok(T::default()),
        json if json.first() == Some(&b'{') => serde_json::from_slice(json).map_err(|_| Failed::BAD_REQUEST),
        _ => Err(Failed::BAD_REQUEST),
    }
}
