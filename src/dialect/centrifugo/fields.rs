//! What a message of the protocol is made of, for both encodings: named and numbered fields. What is zero or empty is left out.

/// Takes the fields of one message, in the order of their numbers.
pub(super) trait Fields {
    /// A number.
    fn number(&mut self, name: &str, field: u32, value: u64);

    /// A truth.
    fn truth(&mut self, name: &str, field: u32, value: bool);

    /// A text.
    fn text(&mut self, name: &str, field: u32, value: &str);

    /// A payload, sent even where it is empty.
    fn payload(&mut self, name: &str, field: u32, payload: &Payload<'_>);

    /// A message, sent even where it is empty.
    fn message(&mut self, name: &str, field: u32, write: impl FnOnce(&mut Self));

    /// A list of messages.
    fn messages<T>(&mut self, name: &str, field: u32, items: impl Iterator<Item = T>, write: impl FnMut(&mut Self, T));

    /// A map from texts to messages.
    fn map<K: AsRef<str>, T>(&mut self, name: &str, field: u32, items: impl Iterator<Item = (K, T)>, write: impl FnMut(&mut Self, T));

    /// A map from texts to texts.
    fn texts<'t>(&mut self, name: &str, field: u32, items: impl Iterator<Item = (&'t str, &'t str)>);

    /// Whether a payload that is not UTF-8 is marked as Base64.
    fn marks_base64(&self) -> bool;
}

/// A `bytes` field: raw JSON in JSON, the bytes themselves in protobuf.
#[derive(Debug, Clone, Copy)]
pub(super) enum Payload<'a> {
    /// JSON text.
    Json(&'a [u8]),
    /// Text, JSON or not.
    Text(&'a str),
    /// Bytes that are not UTF-8.
    Bytes(&'a [u8]),
}
