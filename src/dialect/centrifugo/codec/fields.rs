//! The fields of a message, named for JSON and numbered for protobuf. Fields that are zero or empty are left out.

/// Takes the fields of one message, in the order of their numbers.
pub trait Fields {
    /// A number.
    fn number(&mut self, name: &str, field: u32, value: u64);

    /// A boolean.
    fn boolean(&mut self, name: &str, field: u32, value: bool);

    /// A string.
    fn text(&mut self, name: &str, field: u32, value: &str);

    /// A payload, which is sent even if it is empty.
    fn payload(&mut self, name: &str, field: u32, payload: &Payload<'_>);

    /// A message, which is sent even if it is empty.
    fn message(&mut self, name: &str, field: u32, write: impl FnOnce(&mut Self));

    /// A list of messages.
    fn messages<T>(&mut self, name: &str, field: u32, items: impl Iterator<Item = T>, write: impl FnMut(&mut Self, T));

    /// A map from strings to messages.
    fn map<K: AsRef<str>, T>(&mut self, name: &str, field: u32, items: impl Iterator<Item = (K, T)>, write: impl FnMut(&mut Self, T));

    /// A map from strings to strings.
    fn texts<'t>(&mut self, name: &str, field: u32, items: impl Iterator<Item = (&'t str, &'t str)>);

    /// Whether a payload that is not UTF-8 is marked as Base64.
    fn marks_base64(&self) -> bool;
}

/// A `bytes` field: raw JSON in JSON, the bytes themselves in protobuf.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// JSON text.
    Json(&'a [u8]),
    /// Text, JSON or not.
    Text(&'a str),
    /// Bytes that are not UTF-8.
    Bytes(&'a [u8]),
}
