//! Writes fields in protobuf.

use super::fields::{Fields, Payload};

/// Wire types: a base-128 number, and bytes that are preceded by their length.
const NUMBER: u32 = 0;
const BYTES: u32 = 2;

/// A protobuf message that is being written.
pub struct ProtobufFields<'a> {
    bytes: &'a mut Vec<u8>,
}

/// Appends a message, preceded by its length.
pub fn write_delimited(bytes: &mut Vec<u8>, write: impl FnOnce(&mut ProtobufFields<'_>)) {
    ProtobufFields { bytes }.behind_length(write);
}

impl ProtobufFields<'_> {
    fn key(&mut self, field: u32, wire: u32) {
        varint(self.bytes, u64::from(field << 3 | wire));
    }

    /// Appends the output of `write`, preceded by its length. One byte is reserved for the length; the output is moved if the length needs more.
    fn behind_length(&mut self, write: impl FnOnce(&mut Self)) {
        let at = self.bytes.len();
        self.bytes.push(0);
        write(self);
        let length = self.bytes.len() - at - 1;
        match u8::try_from(length) {
            Ok(short) if short < 0x80 => self.bytes[at] = short,
            _ => {
                let mut written = Vec::with_capacity(5);
                varint(&mut written, length as u64);
                self.bytes.splice(at..=at, written);
            }
        }
    }

    fn bytes_of(&mut self, field: u32, value: &[u8]) {
        self.key(field, BYTES);
        varint(self.bytes, value.len() as u64);
        self.bytes.extend_from_slice(value);
    }
}

impl Fields for ProtobufFields<'_> {
    fn number(&mut self, _: &str, field: u32, value: u64) {
        if value != 0 {
            self.key(field, NUMBER);
            varint(self.bytes, value);
        }
    }

    fn boolean(&mut self, name: &str, field: u32, value: bool) {
        self.number(name, field, value.into());
    }

    fn text(&mut self, _: &str, field: u32, value: &str) {
        if !value.is_empty() {
            self.bytes_of(field, value.as_bytes());
        }
    }

    fn payload(&mut self, _: &str, field: u32, payload: &Payload<'_>) {
        self.bytes_of(
            field,
            match payload {
                Payload::Json(bytes) | Payload::Bytes(bytes) => bytes,
                Payload::Text(text) => text.as_bytes(),
            },
        );
    }

    fn message(&mut self, _: &str, field: u32, write: impl FnOnce(&mut Self)) {
        self.key(field, BYTES);
        self.behind_length(write);
    }

    fn messages<T>(&mut self, name: &str, field: u32, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        items.for_each(|item| self.message(name, field, |fields| write(fields, item)));
    }

    fn map<K: AsRef<str>, T>(&mut self, name: &str, field: u32, items: impl Iterator<Item = (K, T)>, mut write: impl FnMut(&mut Self, T)) {
        for (key, item) in items {
            self.message(name, field, |entry| {
                entry.bytes_of(1, key.as_ref().as_bytes());
                entry.message("", 2, |fields| write(fields, item));
            });
        }
    }

    fn texts<'t>(&mut self, name: &str, field: u32, items: impl Iterator<Item = (&'t str, &'t str)>) {
        for (key, value) in items {
            self.message(name, field, |entry| {
                entry.bytes_of(1, key.as_bytes());
                entry.bytes_of(2, value.as_bytes());
            });
        }
    }

    fn marks_base64(&self) -> bool {
        false
    }
}

/// Appends a base-128 number, the lowest seven bits first.
fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}
