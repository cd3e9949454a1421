//! Results as JSON. Fields that are zero are written too, because Centrifugo's libraries need them.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::failed::Failed;
use crate::dialect::centrifugo::BASE64;
use crate::hub::{Message, PayloadKind};
use crate::position::Position;
use crate::session_id::Member;

/// A result as JSON text, without the object around it.
pub type Text = Box<RawValue>;

/// `value` as JSON text.
pub fn text(value: &impl Serialize) -> Text {
    to_raw_value(value).expect("strings, numbers and lists are always JSON")
}

/// An empty result.
pub fn nothing() -> Text {
    text(&BTreeMap::<&str, u64>::new())
}

/// The answer to a command, or one answer of a broadcast.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandReply {
    Result(Text),
    Error(ErrorText),
}

/// An error as JSON has it.
#[derive(Serialize)]
pub struct ErrorText {
    code: u32,
    message: &'static str,
}

impl From<Failed> for ErrorText {
    fn from(Failed(error): Failed) -> Self {
        Self { code: error.code, message: error.message }
    }
}

impl From<Result<Text, Failed>> for CommandReply {
    fn from(done: Result<Text, Failed>) -> Self {
        done.map_or_else(|failed| Self::Error(failed.into()), Self::Result)
    }
}

/// The position of a message.
#[derive(Serialize)]
struct PositionText<'a> {
    offset: u64,
    epoch: &'a str,
}

/// The position of a message, as JSON.
pub fn position(position: &Position) -> Text {
    text(&PositionText { offset: position.offset.0, epoch: position.epoch.as_str() })
}

#[derive(Serialize)]
struct ClientInfo<'a> {
    client: String,
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    conn_info: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chan_info: Option<&'a RawValue>,
}

fn client_info(member: &Member) -> ClientInfo<'_> {
    let infos = member.info.as_deref();
    ClientInfo {
        client: member.session.to_string(),
        user: member.user.as_deref().unwrap_or(""),
        conn_info: infos.and_then(|infos| infos.session.as_deref()).and_then(|text| serde_json::from_str(text).ok()),
        chan_info: infos.and_then(|infos| infos.topic.as_deref()).and_then(|text| serde_json::from_str(text).ok()),
    }
}

/// The members of a topic, by session.
pub fn presence(members: &[Member]) -> Text {
    let by_session: BTreeMap<String, ClientInfo<'_>> =
        members.iter().map(|member| (member.session.to_string(), client_info(member))).collect();
    text(&BTreeMap::from([("presence", by_session)]))
}

#[derive(Serialize)]
struct HistoryText<'a> {
    publications: Vec<PublicationText<'a>>,
    epoch: &'a str,
    offset: u64,
}

#[derive(Serialize)]
struct PublicationText<'a> {
    offset: u64,
    data: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<ClientInfo<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<&'a str, &'a str>,
}

/// A part of a history.
pub fn history(messages: &[Message], newest: &Position) -> Text {
    let publications = messages.iter().map(publication).collect();
    text(&HistoryText { publications, epoch: newest.epoch.as_str(), offset: newest.offset.0 })
}

fn publication(message: &Message) -> PublicationText<'_> {
    let extra = message.extra.as_deref();
    let tags = extra.into_iter().flat_map(|extra| &extra.tags).map(|(key, value)| (&**key, &**value));
    let tags = tags.chain(std::str::from_utf8(message.payload()).is_err().then_some(BASE64)).collect();
    let info = extra.and_then(|extra| extra.publisher.as_ref()).map(client_info);
    PublicationText { offset: message.position.offset.0, data: data(message), info, tags }
}

/// A payload as JSON: JSON unchanged, text as a string, bytes as a Base64 string.
fn data(message: &Message) -> Text {
    let payload = message.payload();
    match std::str::from_utf8(payload) {
        Ok(json) if message.kind == PayloadKind::Json => RawValue::from_string(json.to_owned()).unwrap_or_else(|_| text(&json)),
        Ok(words) => text(&words),
        Err(_) => text(&STANDARD.encode(payload)),
    }
}
