//! The fields of a record's body: integers and texts, little-endian.

use super::damage::Damage;
use crate::topic_name::NAME_BYTES_MAX;

/// Appends a text of at most [`NAME_BYTES_MAX`] bytes: a name, a pattern or an epoch.
pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    debug_assert!(text.len() <= NAME_BYTES_MAX, "{text}");
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Appends a text of any length.
pub(super) fn put_long_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The unread rest of a record's content.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Damage::Malformed("a record's length"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Damage> {
        self.take().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Damage> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Damage> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Damage> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Damage> {
        let length = self.u16()?;
        self.text_of(length.into())
    }

    /// Reads a text with four bytes of length.
    pub(super) fn long_text(&mut self) -> Result<&'a str, Damage> {
        let length = self.u32()?;
        self.text_of(length as usize)
    }

    fn text_of(&mut self, length: usize) -> Result<&'a str, Damage> {
        let (text, rest) = self.0.split_at_checked(length).ok_or(Damage::Malformed("a text's length"))?;
        self.0 = rest;
        str::from_utf8(text).map_err(|_| Damage::Malformed("a text"))
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }
}
