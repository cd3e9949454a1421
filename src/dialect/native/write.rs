//! Writes the messages and [`Event`]s of the native dialect as JSON text, without frame heads.
//!
//! Topics, patterns, epochs, offsets, session ids and codes never need escaping (PROTOCOL section 2), and are copied unchanged.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::command::RequestId;
use super::event::{Event, SubscribedTopic};
use crate::dialect::json::{is_json_text, number, string};
use crate::hub::{HistoryPage, Message, PayloadKind};
use crate::position::{Epoch, Offset};
use crate::session_id::{Member, SessionId};
use crate::topic_name::{Pattern, TopicName};

/// The parts of a message's event between its values, in their order.
const MESSAGE: &str = r#"{"op":"message","topic":""#;
const EPOCH: &str = r#"","epoch":""#;
const OFFSET: &str = r#"","offset":"#;
const PREV: &str = r#","prev":"#;
const REPLAY: &str = r#","replay":true,"#;
const DATA: &str = r#""data":"#;
const DATA_BASE64: &str = r#""data_base64":""#;

/// The length at which an answer from history stops, in bytes.
const HISTORY_ANSWER_BYTES_MAX: usize = 1 << 20;

/// Appends the event of `message`, with `"replay":true` if `replay` is set.
pub fn message(json: &mut Vec<u8>, message: &Message, replay: bool) {
    text(json, MESSAGE);
    text(json, message.topic.as_str());
    text(json, EPOCH);
    text(json, message.position.epoch.as_str());
    text(json, OFFSET);
    number(json, message.position.offset.0);
    if let Some(prev) = message.prev() {
        text(json, PREV);
        number(json, prev.0);
    }
    text(json, if replay { REPLAY } else { "," });
    sender(json, message);
    data(json, message);
    json.push(b'}');
}

/// The number of bytes that [`message`] appends, so that a frame's buffer has no spare room. The number is exact except for text payloads:
/// escapes take more bytes, and text that is JSON has no quotes.
pub fn message_bytes(message: &Message, replay: bool) -> usize {
    let digits = |number: u64| number.checked_ilog10().unwrap_or(0) as usize + 1;
    let prev = message.prev().map_or(0, |prev| PREV.len() + digits(prev.0));
    let values = message.topic.as_str().len() + message.position.epoch.as_str().len() + digits(message.position.offset.0) + prev;
    let mut named = Vec::new();
    sender(&mut named, message);
    let payload = message.payload().len();
    let data = match message.kind {
        PayloadKind::Json => DATA.len() + payload,
        PayloadKind::Binary if std::str::from_utf8(message.payload()).is_err() => DATA_BASE64.len() + payload.div_ceil(3) * 4 + 1,
        PayloadKind::Text | PayloadKind::Binary => DATA.len() + payload + 2,
    };
    MESSAGE.len() + EPOCH.len() + OFFSET.len() + values + if replay { REPLAY.len() } else { 1 } + named.len() + data + 1
}

/// Appends `event`.
pub fn event(json: &mut Vec<u8>, event: &Event<'_>) {
    match *event {
        Event::Welcome { session, ping_interval, max_message_bytes } => {
            welcome(json, session, ping_interval, max_message_bytes);
        }
        Event::Subscribed { id, topics } => subscribed(json, id, topics),
        Event::StreamBegun { topics, .. } => subscribed(json, None, topics),
        Event::Unsubscribed { id, topics } => {
            reply(json, "unsubscribed", id);
            patterns(json, topics);
        }
        Event::Published { id, topic, offset } => {
            reply(json, "published", Some(id));
            name_member(json, topic);
            text(json, r#","offset":"#);
            number(json, offset.0);
        }
        Event::History { id, topic, page } => {
            let begin = json.len();
            reply(json, "history", id);
            json.push(b',');
            history_members(json, begin, topic, page);
        }
        Event::Presence { id, topic, members } => {
            reply(json, "presence", id);
            json.push(b',');
            presence_members(json, topic, members);
        }
        Event::Authenticated { id, user, expires } => {
            reply(json, "authenticated", id);
            identity_members(json, user.map(|user| &**user), expires);
        }
        Event::Subscriptions { id, topics } => {
            reply(json, "subscriptions", id);
            patterns(json, topics);
        }
        Event::Pong { id } => reply(json, "pong", id),
        Event::Error { id, code, message } => {
            reply(json, "error", id);
            text(json, r#","code":""#);
            text(json, code.as_str());
            text(json, r#"","message":"#);
            string(json, message);
        }
        Event::PresenceChange(change) => {
            reply(json, if change.joined { "join" } else { "leave" }, None);
            name_member(json, &change.topic);
            text(json, r#","member":"#);
            member(json, &change.member);
        }
        Event::Gap { topic, from, to, epoch } => {
            reply(json, "gap", None);
            gap_members(json, topic, (from, to), epoch);
        }
        Event::Draining { retry_after } => {
            reply(json, "draining", None);
            text(json, r#","retry_after_ms":"#);
            milliseconds(json, retry_after);
        }
    }
    json.push(b'}');
}

/// Appends the event that ends a stream, with the code that a Close frame would have.
pub fn end(json: &mut Vec<u8>, code: u16, reason: &str) {
    reply(json, "error", None);
    text(json, r#","code":"#);
    number(json, code.into());
    text(json, r#","message":"#);
    string(json, reason);
    json.push(b'}');
}

fn welcome(json: &mut Vec<u8>, session: SessionId, ping_interval: Duration, max_message_bytes: usize) {
    text(json, r#"{"op":"welcome","session":"#);
    session_id(json, session);
    text(json, r#","ping_interval_ms":"#);
    milliseconds(json, ping_interval);
    text(json, r#","max_message_bytes":"#);
    number(json, max_message_bytes as u64);
}

fn gap_members(json: &mut Vec<u8>, topic: &TopicName, (from, to): (Offset, Offset), epoch: Option<Epoch>) {
    name_member(json, topic);
    if let Some(epoch) = epoch {
        text(json, r#","epoch":""#);
        text(json, epoch.as_str());
        json.push(b'"');
    }
    text(json, r#","from":"#);
    number(json, from.0);
    text(json, r#","to":"#);
    number(json, to.0);
}

fn identity_members(json: &mut Vec<u8>, user: Option<&str>, expires: Option<u64>) {
    text(json, r#","user":"#);
    string_or_null(json, user);
    text(json, r#","expires":"#);
    match expires {
        Some(expires) => number(json, expires),
        None => text(json, "null"),
    }
}

/// Appends the members of an answer from history, without braces: `"topic":…,"epoch":…,"messages":[…]`, then `"more":true` if the answer
/// does not hold all messages. The HTTP API uses the same members. The answer begins at `begin` of `json` and stops at 1 MiB of JSON text.
/// The first message is appended whatever its size, so that each call makes progress.
pub fn history_members(json: &mut Vec<u8>, begin: usize, topic: &TopicName, page: &HistoryPage) {
    const MORE: &str = r#","more":true"#;
    let end_max = begin + HISTORY_ANSWER_BYTES_MAX - "]".len() - MORE.len() - "}".len();
    text(json, r#""topic":""#);
    text(json, topic.as_str());
    text(json, r#"","epoch":"#);
    string_or_null(json, page.epoch.as_ref().map(|epoch| epoch.as_str()));
    text(json, r#","messages":["#);
    let mut more = page.more;
    for (index, message) in page.messages.iter().enumerate() {
        let before = json.len();
        if index > 0 {
            json.push(b',');
        }
        past_message(json, message);
        if index > 0 && json.len() > end_max {
            json.truncate(before);
            more = true;
            break;
        }
    }
    json.push(b']');
    if more {
        text(json, MORE);
    }
}

fn past_message(json: &mut Vec<u8>, message: &Message) {
    text(json, r#"{"offset":"#);
    number(json, message.position.offset.0);
    text(json, r#","ts":"#);
    number(json, message.published_at.0);
    json.push(b',');
    sender(json, message);
    data(json, message);
    json.push(b'}');
}

/// Appends the members of an answer to `presence`, without braces: `"topic":…,"count":…,"members":[…]`.
pub fn presence_members(json: &mut Vec<u8>, topic: &TopicName, members: &[Member]) {
    text(json, r#""topic":""#);
    text(json, topic.as_str());
    text(json, r#"","count":"#);
    number(json, members.len() as u64);
    text(json, r#","members":"#);
    list(json, members, member);
}

/// Appends the sender of a message, if its rule has `sender` on.
fn sender(json: &mut Vec<u8>, message: &Message) {
    if let Some(sender) = message.sender() {
        text(json, r#""from":"#);
        member(json, sender);
        json.push(b',');
    }
}

/// Appends the payload: JSON text byte for byte, other text as a string, other bytes in Base64 (RFC 4648 §4).
fn data(json: &mut Vec<u8>, message: &Message) {
    if message.kind == PayloadKind::Json {
        text(json, DATA);
        json.extend_from_slice(message.payload());
        return;
    }
    match std::str::from_utf8(message.payload()) {
        Ok(payload) => {
            text(json, DATA);
            if is_json_text(message.payload()) { text(json, payload) } else { string(json, payload) }
        }
        Err(_) => {
            text(json, DATA_BASE64);
            text(json, &STANDARD.encode(message.payload()));
            json.push(b'"');
        }
    }
}

/// Appends `{"op":…` and the `id` of the command.
fn reply(json: &mut Vec<u8>, op: &str, id: Option<RequestId<'_>>) {
    text(json, r#"{"op":""#);
    text(json, op);
    json.push(b'"');
    if let Some(RequestId(id)) = id {
        text(json, r#","id":"#);
        text(json, id);
    }
}

fn subscribed(json: &mut Vec<u8>, id: Option<RequestId<'_>>, topics: &[SubscribedTopic]) {
    reply(json, "subscribed", id);
    text(json, r#","topics":"#);
    list(json, topics, subscribed_topic);
}

fn subscribed_topic(json: &mut Vec<u8>, entry: &SubscribedTopic) {
    text(json, r#"{"topic":""#);
    text(json, entry.topic.as_str());
    json.push(b'"');
    if let Some(position) = &entry.position {
        text(json, r#","epoch":""#);
        text(json, position.epoch.as_str());
        text(json, r#"","offset":"#);
        number(json, position.offset.0);
    }
    if let Some(recovered) = entry.recovered {
        text(json, if recovered { r#","recovered":true"# } else { r#","recovered":false"# });
    }
    json.push(b'}');
}

fn member(json: &mut Vec<u8>, member: &Member) {
    text(json, r#"{"session":"#);
    session_id(json, member.session);
    text(json, r#","user":"#);
    string_or_null(json, member.user.as_deref());
    json.push(b'}');
}

fn patterns(json: &mut Vec<u8>, topics: &[Pattern]) {
    text(json, r#","topics":"#);
    list(json, topics, |json, pattern| {
        json.push(b'"');
        text(json, pattern.as_str());
        json.push(b'"');
    });
}

fn name_member(json: &mut Vec<u8>, topic: &TopicName) {
    text(json, r#","topic":""#);
    text(json, topic.as_str());
    json.push(b'"');
}

fn list<T>(json: &mut Vec<u8>, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    json.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write(json, item);
    }
    json.push(b']');
}

fn session_id(json: &mut Vec<u8>, session: SessionId) {
    json.push(b'"');
    text(json, &session.to_string());
    json.push(b'"');
}

fn string_or_null(json: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(value) => string(json, value),
        None => text(json, "null"),
    }
}

fn milliseconds(json: &mut Vec<u8>, duration: std::time::Duration) {
    number(json, u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
}

fn text(json: &mut Vec<u8>, text: &str) {
    json.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests;
