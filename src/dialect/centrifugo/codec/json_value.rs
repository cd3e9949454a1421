//! Values of commands in JSON. Fields that are `null` are ignored.

use std::borrow::Cow;

use super::value::{Names, Value};
use crate::dialect::json::{Members, unescape};

/// The raw text of a JSON value.
#[derive(Clone, Copy)]
pub struct JsonValue<'a>(&'a str);

impl<'a> JsonValue<'a> {
    /// The value with the text `json`; `None`: the text is not UTF-8.
    pub fn of(json: &'a [u8]) -> Option<Self> {
        std::str::from_utf8(json).ok().map(Self)
    }
}

impl<'a> Value<'a> for JsonValue<'a> {
    fn fields(self, _: Names, mut read: impl FnMut(&str, Self) -> Option<()>) -> Option<()> {
        self.entries(|name, value| {
            let is_set = value.0 != "null" || name == "data"; // only a payload may have the value `null`
            if is_set { read(&name, value) } else { Some(()) }
        })
    }

    fn entries(self, mut read: impl FnMut(Cow<'a, str>, Self) -> Option<()>) -> Option<()> {
        for member in Members::of(self.0).ok()? {
            let (key, raw) = member.ok()?;
            read(key, Self(raw))?;
        }
        Some(())
    }

    fn number(self) -> Option<u64> {
        self.0.parse().ok()
    }

    fn number32(self) -> Option<u32> {
        self.0.parse().ok()
    }

    fn signed(self) -> Option<i64> {
        self.0.parse().ok()
    }

    fn signed32(self) -> Option<i32> {
        self.0.parse().ok()
    }

    fn boolean(self) -> Option<bool> {
        self.0.parse().ok()
    }

    fn text(self) -> Option<Cow<'a, str>> {
        unescape(self.0)
    }

    fn payload(self) -> Option<&'a [u8]> {
        Some(self.0.as_bytes())
    }

    fn frame(self) -> Option<Cow<'a, [u8]>> {
        Some(match self.text()? {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }
}
