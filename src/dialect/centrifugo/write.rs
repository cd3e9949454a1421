//! Replies and pushes, field by field, for both encodings.

use std::time::Duration;

use super::codec::{Fields, Payload, write_delimited, write_object};
use super::frame::Wire;
use super::reply::{ConnectResult, Expiry, Push, Reply, SubscribeResult};
use crate::hub::{Message, PayloadKind};
use crate::session_id::Member;

/// The name and version of the gateway in the answer to `connect`.
const VERSION: &str = concat!("belfry ", env!("CARGO_PKG_VERSION"));

/// The tag of a payload in Base64. JSON has no other way to carry bytes.
pub const BASE64: (&str, &str) = ("encoding", "base64");

/// The length of a push without the payload and the topic's name, with an offset of any size, in bytes.
const PUSH_OVERHEAD_BYTES: usize = 64;

/// Appends `reply`.
pub fn reply(bytes: &mut Vec<u8>, reply: &Reply<'_>, wire: Wire) {
    match wire {
        Wire::Json => write_object(bytes, |fields| write_reply(fields, reply)),
        Wire::Protobuf => write_delimited(bytes, |fields| write_reply(fields, reply)),
    }
}

/// Appends the push of `message`, which is the same for all sessions.
pub fn message(bytes: &mut Vec<u8>, message: &Message, wire: Wire) {
    reply(bytes, &Reply::Push { channel: message.topic.as_str(), push: Push::Publication(message) }, wire);
}

/// The approximate number of bytes that [`message`] appends.
pub fn message_bytes_usual(message: &Message) -> usize {
    message.payload().len() + message.topic.as_str().len() + PUSH_OVERHEAD_BYTES
}

fn write_reply<F: Fields>(fields: &mut F, reply: &Reply<'_>) {
    match *reply {
        Reply::Ping => {}
        Reply::Error { id, error } => answer(fields, id, "error", 2, |fields| {
            fields.number("code", 1, error.code.into());
            fields.text("message", 2, error.message);
            fields.boolean("temporary", 3, error.temporary);
        }),
        Reply::Connect { id, result } => answer(fields, id, "connect", 5, |fields| connect(fields, result)),
        Reply::Subscribe { id, result } => answer(fields, id, "subscribe", 6, |fields| subscribe(fields, result)),
        Reply::Unsubscribe { id } => answer(fields, id, "unsubscribe", 7, |_| {}),
        Reply::Publish { id } => answer(fields, id, "publish", 8, |_| {}),
        Reply::Presence { id, members } => answer(fields, id, "presence", 9, |fields| {
            fields.map("presence", 1, members.iter().map(|member| (member.session.to_string(), member)), client_info);
        }),
        Reply::PresenceStats { id, clients, users } => answer(fields, id, "presence_stats", 10, |fields| {
            fields.number("num_clients", 1, clients as u64);
            fields.number("num_users", 2, users as u64);
        }),
        Reply::History { id, messages, epoch, newest } => answer(fields, id, "history", 11, |fields| {
            fields.messages("publications", 1, messages.iter(), publication);
            fields.text("epoch", 2, epoch.as_str());
            fields.number("offset", 3, newest.0);
        }),
        Reply::Refresh { id, client, expiry } => answer(fields, id, "refresh", 14, |fields| {
            fields.text("client", 1, &client.to_string());
            fields.text("version", 2, VERSION);
            expires(fields, 3, expiry);
        }),
        Reply::SubRefresh { id, expiry } => answer(fields, id, "sub_refresh", 15, |fields| expires(fields, 1, expiry)),
        Reply::Push { channel, push } => fields.message("push", 4, |fields| {
            fields.text("channel", 2, channel);
            write_push(fields, push);
        }),
        Reply::Disconnect { code, reason } => fields.message("push", 4, |push| {
            push.message("disconnect", 11, |fields| {
                fields.number("code", 1, code.into());
                fields.text("reason", 2, reason);
            });
        }),
    }
}

fn write_push<F: Fields>(fields: &mut F, push: Push<'_>) {
    let info = |fields: &mut F, member| fields.message("info", 1, |fields| client_info(fields, member));
    match push {
        Push::Publication(message) => fields.message("pub", 4, |fields| publication(fields, message)),
        Push::Join(member) => fields.message("join", 5, |fields| info(fields, member)),
        Push::Leave(member) => fields.message("leave", 6, |fields| info(fields, member)),
        Push::Unsubscribe(unsubscribed) => fields.message("unsubscribe", 7, |fields| {
            fields.number("code", 2, unsubscribed.code.into());
            fields.text("reason", 3, unsubscribed.reason);
        }),
        Push::Subscribe { result, data } => fields.message("subscribe", 9, |fields| {
            if let Some(position) = result.position {
                fields.boolean("recoverable", 1, true);
                fields.text("epoch", 4, position.epoch.as_str());
                fields.number("offset", 5, position.offset.0);
                fields.boolean("positioned", 6, result.positioned);
            }
            if let Some((data, kind)) = data {
                fields.payload("data", 7, &payload(data, kind));
            }
        }),
    }
}

fn answer<F: Fields>(fields: &mut F, id: u32, name: &str, field: u32, write: impl FnOnce(&mut F)) {
    fields.number("id", 1, id.into());
    fields.message(name, field, write);
}

fn connect<F: Fields>(fields: &mut F, result: &ConnectResult<'_>) {
    fields.text("client", 1, &result.client.to_string());
    fields.text("version", 2, VERSION);
    expires(fields, 3, result.expiry);
    fields.map("subs", 6, result.subs.iter().map(|(channel, result)| (channel, result)), subscribe);
    fields.number("ping", 7, whole_seconds(result.ping));
    fields.boolean("pong", 8, true);
    if let Some(emulation) = result.emulation {
        fields.text("session", 9, emulation.session);
        fields.text("node", 10, emulation.node);
    }
}

fn subscribe<F: Fields>(fields: &mut F, result: &SubscribeResult) {
    expires(fields, 1, result.expiry);
    if let Some(position) = result.position {
        fields.boolean("recoverable", 3, true);
        fields.text("epoch", 6, position.epoch.as_str());
        fields.boolean("recovered", 8, result.recovered);
        fields.number("offset", 9, position.offset.0);
        fields.boolean("positioned", 10, result.positioned);
        fields.boolean("was_recovering", 12, result.was_recovering);
    }
}

fn publication<F: Fields>(fields: &mut F, message: &Message) {
    let payload = payload(message.payload(), message.kind);
    let mark = matches!(payload, Payload::Bytes(_)) && fields.marks_base64();
    let extra = message.extra.as_deref();
    fields.payload("data", 4, &payload);
    if let Some(publisher) = extra.and_then(|extra| extra.publisher.as_ref()) {
        fields.message("info", 5, |fields| client_info(fields, publisher));
    }
    // A topic without history has no positions to recover from, so it has no offset.
    fields.number("offset", 6, if message.rule.history > 0 { message.position.offset.0 } else { 0 });
    let tags = extra.into_iter().flat_map(|extra| extra.tags.iter().map(|(key, value)| (&**key, &**value)));
    fields.texts("tags", 7, tags.chain(mark.then_some(BASE64)));
}

fn payload(bytes: &[u8], kind: PayloadKind) -> Payload<'_> {
    match kind {
        PayloadKind::Json => Payload::Json(bytes),
        PayloadKind::Text | PayloadKind::Binary => std::str::from_utf8(bytes).map_or(Payload::Bytes(bytes), Payload::Text),
    }
}

fn client_info<F: Fields>(fields: &mut F, member: &Member) {
    fields.text("user", 1, member.user.as_deref().unwrap_or_default());
    fields.text("client", 2, &member.session.to_string());
    let info = member.info.as_deref();
    for (name, field, json) in
        [("conn_info", 3, info.and_then(|info| info.session.as_deref())), ("chan_info", 4, info.and_then(|info| info.topic.as_deref()))]
    {
        if let Some(json) = json {
            fields.payload(name, field, &Payload::Json(json.as_bytes()));
        }
    }
}

/// Writes `expires` and, in the next field, `ttl`, which is at least 1 because 0 would be left out.
fn expires<F: Fields>(fields: &mut F, field: u32, Expiry(left): Expiry) {
    if let Some(left) = left {
        fields.boolean("expires", field, true);
        fields.number("ttl", field + 1, whole_seconds(left).max(1));
    }
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
