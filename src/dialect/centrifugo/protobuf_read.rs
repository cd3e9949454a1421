//! Parses commands in protobuf. Unknown fields are skipped. Groups, which no version of the schema has, make a command unreadable.

use std::borrow::Cow;

use super::command::{ClientPosition, Command, Connect, Emulation, History, Operation, Subscribe};

/// The value of a field, by wire type.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Four or eight bytes; the schema has no such field.
    Fixed,
}

/// Parses one command; `None`: it is unreadable.
pub(super) fn command(bytes: &[u8]) -> Option<Command<'_>> {
    let mut id = 0;
    let mut first: Option<(u64, &[u8])> = None;
    for_each(bytes, |field, value| {
        match field {
            1 => id = u32::try_from(value.number()?).ok()?,
            4..=15 if first.is_none_or(|(known, _)| field < known) => first = Some((field, value.bytes()?)),
            _ => {}
        }
        Some(())
    })?;
    let operation = match first {
        Some((field, body)) => operation(field, body)?,
        None => Operation::Nothing,
    };
    Some(Command { id, operation })
}

fn operation(field: u64, body: &[u8]) -> Option<Operation<'_>> {
    let channel = || one_text(body, 1);
    Some(match field {
        4 => Operation::Connect(connect(body)?),
        5 => Operation::Subscribe(subscribe(body)?),
        6 => Operation::Unsubscribe { channel: channel()? },
        7 => publish(body)?,
        8 => Operation::Presence { channel: channel()? },
        9 => Operation::PresenceStats { channel: channel()? },
        10 => Operation::History(history(body)?),
        14 => Operation::Refresh { token: one_text(body, 1)? },
        15 => Operation::SubRefresh { channel: channel()?, token: one_text(body, 2)? },
        11 => only_message(body, Operation::Ping)?,
        12 => only_message(body, Operation::Send)?,
        _ => only_message(body, Operation::Rpc)?,
    })
}

fn connect(body: &[u8]) -> Option<Connect<'_>> {
    let mut connect = Connect::default();
    for_each(body, |field, value| {
        match field {
            1 => connect.token = value.text()?,
            3 => {
                let (mut channel, mut position) = (Cow::default(), ClientPosition::default());
                for_each(value.bytes()?, |field, value| {
                    match field {
                        1 => channel = value.text()?,
                        2 => for_each(value.bytes()?, |field, value| read_position(&mut position, field, value))?,
                        _ => {}
                    }
                    Some(())
                })?;
                connect.subs.push((channel, position));
            }
            _ => {}
        }
        Some(())
    })?;
    Some(connect)
}

fn subscribe(body: &[u8]) -> Option<Subscribe<'_>> {
    let mut subscribe = Subscribe::default();
    for_each(body, |field, value| {
        match field {
            1 => subscribe.channel = value.text()?,
            2 => subscribe.token = value.text()?,
            8 => subscribe.data = value.bytes()?,
            11 => subscribe.join_leave = value.number()? != 0,
            12 => subscribe.delta = value.text()?,
            13 => subscribe.has_filter = true,
            14 => subscribe.flag = value.number()? as i64,
            15 => subscribe.kind = value.number()? as i32,
            _ => read_position(&mut subscribe.position, field, value)?,
        }
        Some(())
    })?;
    Some(subscribe)
}

/// Reads the fields of a `SubscribeRequest` that have the client's position.
fn read_position<'a>(position: &mut ClientPosition<'a>, field: u64, value: Value<'a>) -> Option<()> {
    match field {
        3 => position.recover = value.number()? != 0,
        6 => position.epoch = value.text()?,
        7 => position.offset = value.number()?,
        _ => {}
    }
    Some(())
}

fn publish(body: &[u8]) -> Option<Operation<'_>> {
    let (mut channel, mut data) = (Cow::default(), &[][..]);
    for_each(body, |field, value| {
        match field {
            1 => channel = value.text()?,
            2 => data = value.bytes()?,
            _ => {}
        }
        Some(())
    })?;
    Some(Operation::Publish { channel, data })
}

fn history(body: &[u8]) -> Option<History<'_>> {
    let mut history = History::default();
    for_each(body, |field, value| {
        match field {
            1 => history.channel = value.text()?,
            7 => history.limit = value.number()? as i32,
            8 => {
                let (mut offset, mut epoch) = (0, Cow::default());
                for_each(value.bytes()?, |field, value| {
                    match field {
                        1 => offset = value.number()?,
                        2 => epoch = value.text()?,
                        _ => {}
                    }
                    Some(())
                })?;
                history.since = Some((offset, epoch));
            }
            9 => history.reverse = value.number()? != 0,
            _ => {}
        }
        Some(())
    })?;
    Some(history)
}

/// The string in the field `wanted` of a message; empty if there is none.
fn one_text(body: &[u8], wanted: u64) -> Option<Cow<'_, str>> {
    let mut found = Cow::default();
    for_each(body, |field, value| {
        if field == wanted {
            found = value.text()?;
        }
        Some(())
    })?;
    Some(found)
}

fn only_message<'a>(body: &[u8], operation: Operation<'a>) -> Option<Operation<'a>> {
    for_each(body, |_, _| Some(())).map(|()| operation)
}

/// Parses the body of a request to `/emulation`; `None`: it is unreadable.
pub(super) fn emulation(body: &[u8]) -> Option<Emulation<'_>> {
    let mut emulation = Emulation::default();
    for_each(body, |field, value| {
        match field {
            1 => emulation.node = value.text()?,
            2 => emulation.session = value.text()?,
            3 => emulation.data = Cow::Borrowed(value.bytes()?),
            _ => {}
        }
        Some(())
    })?;
    Some(emulation)
}

/// The first message, which is preceded by its length, and the number of bytes of both.
pub(super) fn delimited(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let mut rest = bytes;
    let length = usize::try_from(varint(&mut rest)?).ok()?;
    let message = rest.get(..length)?;
    Some((message, bytes.len() - rest.len() + length))
}

/// Calls `read` with each field of a message.
fn for_each<'a>(mut rest: &'a [u8], mut read: impl FnMut(u64, Value<'a>) -> Option<()>) -> Option<()> {
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut rest)?),
            1 => fixed(&mut rest, 8)?,
            2 => {
                let (bytes, used) = delimited(rest)?;
                rest = &rest[used..];
                Value::Bytes(bytes)
            }
            5 => fixed(&mut rest, 4)?,
            _ => return None,
        };
        match key >> 3 {
            0 => return None,
            field => read(field, value)?,
        }
    }
    Some(())
}

fn fixed<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<Value<'a>> {
    *rest = rest.get(bytes..)?;
    Some(Value::Fixed)
}

/// Reads a base-128 number of at most ten bytes, the lowest seven bits first. Bits beyond 64 are dropped.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    const BYTES_MAX: usize = 10;
    let mut value = 0;
    for (index, &byte) in rest.iter().take(BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *rest = &rest[index + 1..];
            return Some(value);
        }
    }
    None
}

impl<'a> Value<'a> {
    fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Bytes(_) | Self::Fixed => None,
        }
    }

    fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Number(_) | Self::Fixed => None,
        }
    }

    fn text(self) -> Option<Cow<'a, str>> {
        std::str::from_utf8(self.bytes()?).ok().map(Cow::Borrowed)
    }
}
