//! Writes fields as members of a JSON object.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::fields::{Fields, Payload};
use crate::dialect::json::{is_json_text, number, string};

/// A JSON object that is being written, after its opening brace.
pub struct JsonFields<'a> {
    json: &'a mut Vec<u8>,
    /// Whether the object has no member yet.
    is_empty: bool,
}

/// Appends an object.
pub fn write_object(json: &mut Vec<u8>, write: impl FnOnce(&mut JsonFields<'_>)) {
    json.push(b'{');
    write(&mut JsonFields { json, is_empty: true });
    json.push(b'}');
}

impl JsonFields<'_> {
    fn name(&mut self, name: &str) {
        self.comma();
        self.json.push(b'"');
        self.json.extend_from_slice(name.as_bytes());
        self.json.extend_from_slice(b"\":");
    }

    fn comma(&mut self) {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.json.push(b',');
        }
    }

    /// Appends the output of `write` between `open` and `close`.
    fn within(&mut self, [open, close]: [u8; 2], write: impl FnOnce(&mut Self)) {
        self.json.push(open);
        let is_empty = std::mem::replace(&mut self.is_empty, true);
        write(self);
        self.is_empty = is_empty;
        self.json.push(close);
    }

    /// Appends a member with `items` between `brackets`, if there are any.
    fn items<T>(&mut self, name: &str, brackets: [u8; 2], items: impl Iterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        let mut items = items.peekable();
        if items.peek().is_none() {
            return;
        }
        self.name(name);
        self.within(brackets, |fields| {
            for item in items {
                fields.comma();
                write(fields, item);
            }
        });
    }

    /// Appends the key of a map's entry, which may be any text.
    fn key(&mut self, key: &str) {
        string(self.json, key);
        self.json.push(b':');
    }
}

impl Fields for JsonFields<'_> {
    fn number(&mut self, name: &str, _: u32, value: u64) {
        if value != 0 {
            self.name(name);
            number(self.json, value);
        }
    }

    fn boolean(&mut self, name: &str, _: u32, value: bool) {
        if value {
            self.name(name);
            self.json.extend_from_slice(b"true");
        }
    }

    fn text(&mut self, name: &str, _: u32, value: &str) {
        if !value.is_empty() {
            self.name(name);
            string(self.json, value);
        }
    }

    fn payload(&mut self, name: &str, _: u32, payload: &Payload<'_>) {
        self.name(name);
        match payload {
            Payload::Json(text) => one_line(self.json, text),
            Payload::Text(text) if is_json_text(text.as_bytes()) => one_line(self.json, text.as_bytes()),
            Payload::Text(text) => string(self.json, text),
            Payload::Bytes(bytes) => string(self.json, &STANDARD.encode(bytes)),
        }
    }

    fn message(&mut self, name: &str, _: u32, write: impl FnOnce(&mut Self)) {
        self.name(name);
        self.within(*b"{}", write);
    }

    fn messages<T>(&mut self, name: &str, _: u32, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.items(name, *b"[]", items, |fields, item| fields.within(*b"{}", |fields| write(fields, item)));
    }

    fn map<K: AsRef<str>, T>(&mut self, name: &str, _: u32, items: impl Iterator<Item = (K, T)>, mut write: impl FnMut(&mut Self, T)) {
        self.items(name, *b"{}", items, |fields, (key, item)| {
            fields.key(key.as_ref());
            fields.within(*b"{}", |fields| write(fields, item));
        });
    }

    fn texts<'t>(&mut self, name: &str, _: u32, items: impl Iterator<Item = (&'t str, &'t str)>) {
        self.items(name, *b"{}", items, |fields, (key, value)| {
            fields.key(key);
            string(fields.json, value);
        });
    }

    fn marks_base64(&self) -> bool {
        true
    }
}

/// Appends JSON text with a space in the place of each line break, which would end the message. JSON has line breaks only between tokens.
/// `\r` ends a line of an event stream too.
fn one_line(json: &mut Vec<u8>, text: &[u8]) {
    let begin = json.len();
    json.extend_from_slice(text);
    for byte in &mut json[begin..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}
