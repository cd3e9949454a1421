//! Values of commands in protobuf. Groups, which no version of the schema has, make a command unreadable.

use std::borrow::Cow;

use super::value::{Names, Value};

/// The value of a field, by wire type.
#[derive(Debug, Clone, Copy)]
pub enum ProtobufValue<'a> {
    /// A base-128 number.
    Number(u64),
    /// Bytes that were preceded by their length.
    Bytes(&'a [u8]),
    /// Four or eight bytes; the schema has no such field.
    Fixed,
}

impl<'a> Value<'a> for ProtobufValue<'a> {
    fn fields(self, names: Names, mut read: impl FnMut(&str, Self) -> Option<()>) -> Option<()> {
        let mut rest = self.payload()?;
        while !rest.is_empty() {
            let key = varint(&mut rest)?;
            let value = match key & 7 {
                0 => Self::Number(varint(&mut rest)?),
                1 => fixed(&mut rest, 8)?,
                2 => {
                    let (bytes, used) = split_delimited(rest)?;
                    rest = &rest[used..];
                    Self::Bytes(bytes)
                }
                5 => fixed(&mut rest, 4)?,
                _ => return None,
            };
            let field = Some(key >> 3).filter(|field| *field > 0)?;
            if let Some((name, _)) = names.iter().find(|(_, known)| u64::from(*known) == field) {
                read(name, value)?;
            }
        }
        Some(())
    }

    fn entries(self, mut read: impl FnMut(Cow<'a, str>, Self) -> Option<()>) -> Option<()> {
        let (mut key, mut entry) = (Cow::default(), Self::Bytes(&[]));
        self.fields(&[("key", 1), ("value", 2)], |name, value| {
            match name {
                "key" => key = value.text()?,
                _ => entry = value,
            }
            Some(())
        })?;
        read(key, entry)
    }

    fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Bytes(_) | Self::Fixed => None,
        }
    }

    fn number32(self) -> Option<u32> {
        self.number().map(|number| number as u32) // the upper bits are dropped, as protobuf says
    }

    fn signed(self) -> Option<i64> {
        self.number().map(|number| number as i64)
    }

    fn signed32(self) -> Option<i32> {
        self.number().map(|number| number as i32)
    }

    fn boolean(self) -> Option<bool> {
        self.number().map(|number| number != 0)
    }

    fn text(self) -> Option<Cow<'a, str>> {
        std::str::from_utf8(self.payload()?).ok().map(Cow::Borrowed)
    }

    fn payload(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Number(_) | Self::Fixed => None,
        }
    }

    fn frame(self) -> Option<Cow<'a, [u8]>> {
        self.payload().map(Cow::Borrowed)
    }
}

/// The first message, which is preceded by its length, and the number of bytes of both.
pub fn split_delimited(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let mut rest = bytes;
    let length = usize::try_from(varint(&mut rest)?).ok()?;
    let message = rest.get(..length)?;
    Some((message, bytes.len() - rest.len() + length))
}

fn fixed<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<ProtobufValue<'a>> {
    *rest = rest.get(bytes..)?;
    Some(ProtobufValue::Fixed)
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
