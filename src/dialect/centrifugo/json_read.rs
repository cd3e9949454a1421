//! Parses commands in JSON.
//!
//! `id` may come after the payload. Unknown fields and fields that are `null` are ignored. A known field of the wrong type makes the command
//! unreadable.

use std::borrow::Cow;

use super::command::{Asked, Command, Connect, Emulation, History, Place, Subscribe};
use crate::dialect::json_items::Members;
use crate::dialect::json_scan::unescape;

/// The operations in the order of the schema. The first field that is set is the operation.
const ASKED: [&str; 12] = [
    "connect",
    "subscribe",
    "unsubscribe",
    "publish",
    "presence",
    "presence_stats",
    "history",
    "ping",
    "send",
    "rpc",
    "refresh",
    "sub_refresh",
];

/// Parses one command; `None`: it is unreadable.
pub(super) fn command(line: &[u8]) -> Option<Command<'_>> {
    let mut id = 0;
    let mut first: Option<(usize, &str)> = None;
    for_each(std::str::from_utf8(line).ok()?, |key, raw| {
        if key == "id" {
            id = raw.parse().ok()?;
        } else if let Some(order) = ASKED.iter().position(|asked| *asked == key)
            && first.is_none_or(|(known, _)| order < known)
        {
            first = Some((order, raw));
        }
        Some(())
    })?;
    let asked = match first {
        Some((order, raw)) => asked(ASKED[order], raw)?,
        None => Asked::Nothing,
    };
    Some(Command { id, asked })
}

fn asked<'a>(name: &str, raw: &'a str) -> Option<Asked<'a>> {
    let channel = || one_text(raw, "channel");
    Some(match name {
        "connect" => Asked::Connect(connect(raw)?),
        "subscribe" => Asked::Subscribe(subscribe(raw)?),
        "unsubscribe" => Asked::Unsubscribe { channel: channel()? },
        "publish" => publish(raw)?,
        "presence" => Asked::Presence { channel: channel()? },
        "presence_stats" => Asked::PresenceStats { channel: channel()? },
        "history" => Asked::History(history(raw)?),
        "refresh" => Asked::Refresh { token: one_text(raw, "token")? },
        "sub_refresh" => Asked::SubRefresh { channel: channel()?, token: one_text(raw, "token")? },
        "ping" => only_object(raw, Asked::Ping)?,
        "send" => only_object(raw, Asked::Send)?,
        _ => only_object(raw, Asked::Rpc)?,
    })
}

/// Parses the body of a request to `/emulation`; `None`: it is unreadable.
pub(super) fn emulation(body: &[u8]) -> Option<Emulation<'_>> {
    let mut emulation = Emulation::default();
    for_each(std::str::from_utf8(body).ok()?, |key, raw| {
        match key {
            "node" => emulation.node = text(raw)?,
            "session" => emulation.session = text(raw)?,
            "data" => {
                emulation.data = match text(raw)? {
                    Cow::Borrowed(data) => Cow::Borrowed(data.as_bytes()),
                    Cow::Owned(data) => Cow::Owned(data.into_bytes()),
                }
            }
            _ => {}
        }
        Some(())
    })?;
    Some(emulation)
}

fn connect(raw: &str) -> Option<Connect<'_>> {
    let mut connect = Connect::default();
    for_each(raw, |key, raw| {
        match key {
            "token" => connect.token = text(raw)?,
            "subs" => {
                for member in Members::of(raw).ok()? {
                    let (channel, raw) = member.ok()?;
                    let mut place = Place::default();
                    for_each(raw, |key, raw| read_place(&mut place, key, raw))?;
                    connect.subs.push((channel, place));
                }
            }
            _ => {}
        }
        Some(())
    })?;
    Some(connect)
}

fn subscribe(raw: &str) -> Option<Subscribe<'_>> {
    let mut subscribe = Subscribe::default();
    for_each(raw, |key, raw| {
        match key {
            "channel" => subscribe.channel = text(raw)?,
            "token" => subscribe.token = text(raw)?,
            "data" => subscribe.data = raw.as_bytes(),
            "join_leave" => subscribe.join_leave = truth(raw)?,
            "delta" => subscribe.delta = text(raw)?,
            "tf" => subscribe.has_filter = true,
            "flag" => subscribe.flag = raw.parse().ok()?,
            "type" => subscribe.kind = raw.parse().ok()?,
            _ => read_place(&mut subscribe.place, key, raw)?,
        }
        Some(())
    })?;
    Some(subscribe)
}

fn read_place<'a>(place: &mut Place<'a>, key: &str, raw: &'a str) -> Option<()> {
    match key {
        "recover" => place.recover = truth(raw)?,
        "offset" => place.offset = raw.parse().ok()?,
        "epoch" => place.epoch = text(raw)?,
        _ => {}
    }
    Some(())
}

fn publish(raw: &str) -> Option<Asked<'_>> {
    let (mut channel, mut data) = (Cow::default(), &[][..]);
    for_each(raw, |key, raw| {
        match key {
            "channel" => channel = text(raw)?,
            "data" => data = raw.as_bytes(),
            _ => {}
        }
        Some(())
    })?;
    Some(Asked::Publish { channel, data })
}

fn history(raw: &str) -> Option<History<'_>> {
    let mut history = History::default();
    for_each(raw, |key, raw| {
        match key {
            "channel" => history.channel = text(raw)?,
            "limit" => history.limit = raw.parse().ok()?,
            "reverse" => history.reverse = truth(raw)?,
            "since" => {
                let mut place = Place::default();
                for_each(raw, |key, raw| read_place(&mut place, key, raw))?;
                history.since = Some((place.offset, place.epoch));
            }
            _ => {}
        }
        Some(())
    })?;
    Some(history)
}

/// Calls `read` with each member of the object `text` that is not `null`. Only a payload may have the value `null`.
fn for_each<'a>(text: &'a str, mut read: impl FnMut(&str, &'a str) -> Option<()>) -> Option<()> {
    for member in Members::of(text).ok()? {
        let (key, raw) = member.ok()?;
        if raw != "null" || key == "data" {
            read(&key, raw)?;
        }
    }
    Some(())
}

/// The string `name` of the object `raw`; empty if there is none.
fn one_text<'a>(raw: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut found = Cow::default();
    for_each(raw, |key, raw| {
        if key == name {
            found = text(raw)?;
        }
        Some(())
    })?;
    Some(found)
}

fn only_object<'a>(raw: &str, asked: Asked<'a>) -> Option<Asked<'a>> {
    for_each(raw, |_, _| Some(())).map(|()| asked)
}

fn text(raw: &str) -> Option<Cow<'_, str>> {
    unescape(raw)
}

fn truth(raw: &str) -> Option<bool> {
    raw.parse().ok()
}
