//! Commands, field by field, for both encodings.
//!
//! Fields may come in any order. Unknown fields are ignored. A known field of the wrong type makes the command unreadable,
//! except an operation behind the first.

use std::borrow::Cow;

use super::codec::{Names, Value};
use super::command::{ClientPosition, Command, Connect, Emulation, History, Operation, Subscribe};

/// The `id` of a command, and the operations in the order of the schema.
const COMMAND: Names = &[
    ("id", 1),
    ("connect", 4),
    ("subscribe", 5),
    ("unsubscribe", 6),
    ("publish", 7),
    ("presence", 8),
    ("presence_stats", 9),
    ("history", 10),
    ("ping", 11),
    ("send", 12),
    ("rpc", 13),
    ("refresh", 14),
    ("sub_refresh", 15),
];

const SUBSCRIBE: Names = &[
    ("channel", 1),
    ("token", 2),
    ("recover", 3),
    ("epoch", 6),
    ("offset", 7),
    ("data", 8),
    ("join_leave", 11),
    ("delta", 12),
    ("tf", 13),
    ("flag", 14),
    ("type", 15),
];

/// Reads one command. The first of its operations in the order of the schema counts. `None`: the command is unreadable.
pub(super) fn command<'a>(command: impl Value<'a>) -> Option<Command<'a>> {
    let mut id = 0;
    let mut first = None;
    command.fields(COMMAND, |name, value| {
        match COMMAND.iter().position(|(known, _)| *known == name) {
            Some(0) => id = value.number32()?,
            Some(order) if first.is_none_or(|(known, _)| order < known) => first = Some((order, value)),
            _ => {}
        }
        Some(())
    })?;
    let operation = match first {
        Some((order, body)) => operation(COMMAND[order].0, body)?,
        None => Operation::Nothing,
    };
    Some(Command { id, operation })
}

/// Reads the body of a request to `/emulation`; `None`: it is unreadable.
pub(super) fn emulation<'a>(body: impl Value<'a>) -> Option<Emulation<'a>> {
    let mut emulation = Emulation::default();
    body.fields(&[("node", 1), ("session", 2), ("data", 3)], |name, value| {
        match name {
            "node" => emulation.node = value.text()?,
            "session" => emulation.session = value.text()?,
            "data" => emulation.data = value.frame()?,
            _ => {}
        }
        Some(())
    })?;
    Some(emulation)
}

fn operation<'a>(name: &str, body: impl Value<'a>) -> Option<Operation<'a>> {
    let channel = || one_text(body, &[("channel", 1)]);
    let nothing_in = |operation| body.fields(&[], |_, _| Some(())).map(|()| operation);
    Some(match name {
        "connect" => Operation::Connect(connect(body)?),
        "subscribe" => Operation::Subscribe(subscribe(body)?),
        "unsubscribe" => Operation::Unsubscribe { channel: channel()? },
        "publish" => publish(body)?,
        "presence" => Operation::Presence { channel: channel()? },
        "presence_stats" => Operation::PresenceStats { channel: channel()? },
        "history" => Operation::History(history(body)?),
        "refresh" => Operation::Refresh { token: one_text(body, &[("token", 1)])? },
        "sub_refresh" => Operation::SubRefresh { channel: channel()?, token: one_text(body, &[("token", 2)])? },
        "ping" => nothing_in(Operation::Ping)?,
        "send" => nothing_in(Operation::Send)?,
        _ => nothing_in(Operation::Rpc)?,
    })
}

fn connect<'a>(body: impl Value<'a>) -> Option<Connect<'a>> {
    let mut connect = Connect::default();
    body.fields(&[("token", 1), ("subs", 3)], |name, value| {
        match name {
            "token" => connect.token = value.text()?,
            "subs" => value.entries(|channel, value| {
                let mut position = ClientPosition::default();
                value.fields(SUBSCRIBE, |name, value| read_position(&mut position, name, value))?;
                connect.subs.push((channel, position));
                Some(())
            })?,
            _ => {}
        }
        Some(())
    })?;
    Some(connect)
}

fn subscribe<'a>(body: impl Value<'a>) -> Option<Subscribe<'a>> {
    let mut subscribe = Subscribe::default();
    body.fields(SUBSCRIBE, |name, value| {
        match name {
            "channel" => subscribe.channel = value.text()?,
            "token" => subscribe.token = value.text()?,
            "data" => subscribe.data = value.payload()?,
            "join_leave" => subscribe.join_leave = value.boolean()?,
            "delta" => subscribe.delta = value.text()?,
            "tf" => subscribe.has_filter = true,
            "flag" => subscribe.flag = value.signed()?,
            "type" => subscribe.kind = value.signed32()?,
            _ => read_position(&mut subscribe.position, name, value)?,
        }
        Some(())
    })?;
    Some(subscribe)
}

fn read_position<'a>(position: &mut ClientPosition<'a>, name: &str, value: impl Value<'a>) -> Option<()> {
    match name {
        "recover" => position.recover = value.boolean()?,
        "offset" => position.offset = value.number()?,
        "epoch" => position.epoch = value.text()?,
        _ => {}
    }
    Some(())
}

fn publish<'a>(body: impl Value<'a>) -> Option<Operation<'a>> {
    let (mut channel, mut data) = (Cow::default(), &[][..]);
    body.fields(&[("channel", 1), ("data", 2)], |name, value| {
        match name {
            "channel" => channel = value.text()?,
            "data" => data = value.payload()?,
            _ => {}
        }
        Some(())
    })?;
    Some(Operation::Publish { channel, data })
}

fn history<'a>(body: impl Value<'a>) -> Option<History<'a>> {
    let mut history = History::default();
    body.fields(&[("channel", 1), ("limit", 7), ("since", 8), ("reverse", 9)], |name, value| {
        match name {
            "channel" => history.channel = value.text()?,
            "limit" => history.limit = value.signed32()?,
            "reverse" => history.reverse = value.boolean()?,
            "since" => {
                let mut position = ClientPosition::default();
                value.fields(&[("offset", 1), ("epoch", 2)], |name, value| read_position(&mut position, name, value))?;
                history.since = Some((position.offset, position.epoch));
            }
            _ => {}
        }
        Some(())
    })?;
    Some(history)
}

/// The string in the field `wanted` of a message; empty if there is none.
fn one_text<'a>(body: impl Value<'a>, wanted: Names) -> Option<Cow<'a, str>> {
    let mut found = Cow::default();
    body.fields(wanted, |name, value| {
        if wanted.iter().any(|(wanted, _)| *wanted == name) {
            found = value.text()?;
        }
        Some(())
    })?;
    Some(found)
}
