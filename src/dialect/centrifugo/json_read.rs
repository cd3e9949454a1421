//! Parses commands in JSON.
//!
//! `id` may come after the payload. Unknown fields and fields that are `null` are ignored. A known field of the wrong type makes the command
//! unreadable.

use std::borrow::Cow;

use super::command::{ClientPosition, Command, Connect, Emulation, History, Operation, Subscribe};
use crate::dialect::json::{Members, unescape};

/// The operations in the order of the schema. The first field that is set is the operation.
const OPERATIONS: [&str; 12] = [
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
        } else if let Some(order) = OPERATIONS.iter().position(|operation| *operation == key)
            && first.is_none_or(|(known, _)| order < known)
        {
            first = Some((order, raw));
        }
        Some(())
    })?;
    let operation = match first {
        Some((order, raw)) => operation(OPERATIONS[order], raw)?,
        None => Operation::Nothing,
    };
    Some(Command { id, operation })
}

fn operation<'a>(name: &str, raw: &'a str) -> Option<Operation<'a>> {
    let channel = || one_text(raw, "channel");
    Some(match name {
        "connect" => Operation::Connect(connect(raw)?),
        "subscribe" => Operation::Subscribe(subscribe(raw)?),
        "unsubscribe" => Operation::Unsubscribe { channel: channel()? },
        "publish" => publish(raw)?,
        "presence" => Operation::Presence { channel: channel()? },
        "presence_stats" => Operation::PresenceStats { channel: channel()? },
        "history" => Operation::History(history(raw)?),
        "refresh" => Operation::Refresh { token: one_text(raw, "token")? },
        "sub_refresh" => Operation::SubRefresh { channel: channel()?, token: one_text(raw, "token")? },
        "ping" => only_object(raw, Operation::Ping)?,
        "send" => only_object(raw, Operation::Send)?,
        _ => only_object(raw, Operation::Rpc)?,
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
                    let mut position = ClientPosition::default();
                    for_each(raw, |key, raw| read_position(&mut position, key, raw))?;
                    connect.subs.push((channel, position));
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
            _ => read_position(&mut subscribe.position, key, raw)?,
        }
        Some(())
    })?;
    Some(subscribe)
}

fn read_position<'a>(position: &mut ClientPosition<'a>, key: &str, raw: &'a str) -> Option<()> {
    match key {
        "recover" => position.recover = truth(raw)?,
        "offset" => position.offset = raw.parse().ok()?,
        "epoch" => position.epoch = text(raw)?,
        _ => {}
    }
    Some(())
}

fn publish(raw: &str) -> Option<Operation<'_>> {
    let (mut channel, mut data) = (Cow::default(), &[][..]);
    for_each(raw, |key, raw| {
        match key {
            "channel" => channel = text(raw)?,
            "data" => data = raw.as_bytes(),
            _ => {}
        }
        Some(())
    })?;
    Some(Operation::Publish { channel, data })
}

fn history(raw: &str) -> Option<History<'_>> {
    let mut history = History::default();
    for_each(raw, |key, raw| {
        match key {
            "channel" => history.channel = text(raw)?,
            "limit" => history.limit = raw.parse().ok()?,
            "reverse" => history.reverse = truth(raw)?,
            "since" => {
                let mut position = ClientPosition::default();
                for_each(raw, |key, raw| read_position(&mut position, key, raw))?;
                history.since = Some((position.offset, position.epoch));
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

fn only_object<'a>(raw: &str, operation: Operation<'a>) -> Option<Operation<'a>> {
    for_each(raw, |_, _| Some(())).map(|()| operation)
}

fn text(raw: &str) -> Option<Cow<'_, str>> {
    unescape(raw)
}

fn truth(raw: &str) -> Option<bool> {
    raw.parse().ok()
}
