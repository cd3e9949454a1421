//! Prints messages on standard output, one on each line.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use serde_json::value::RawValue;

use crate::cli::gateway::{Message, one_line};

/// How a message is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// The payload for people: JSON as it is, text without quotes, bytes as `base64:…`; the topic before it where
    /// several may match
    #[default]
    Text,
    /// The message's event, as received
    Json,
    /// The payload alone, byte for byte
    Raw,
}

/// Standard output, in one format.
pub(super) struct Output {
    format: Format,
    /// Whether the topic precedes the payload.
    names_topics: bool,
    /// Whether each message is flushed at once, for a terminal.
    flush_each: bool,
    writer: BufWriter<Stdout>,
}

impl Output {
    pub(super) fn new(format: Format, names_topics: bool) -> Self {
        let output = io::stdout();
        Self { format, names_topics, flush_each: output.is_terminal(), writer: BufWriter::new(output) }
    }

    /// Prints `message`, whose event is `event`.
    pub(super) fn print(&mut self, event: &str, message: &Message<'_>) -> io::Result<()> {
        match self.format {
            Format::Json => self.writer.write_all(one_line(event).as_bytes())?,
            Format::Raw => self.writer.write_all(&bytes(message))?,
            Format::Text => {
                if self.names_topics {
                    write!(self.writer, "{} ", message.topic)?;
                }
                self.writer.write_all(text(message).as_bytes())?;
            }
        }
        self.writer.write_all(b"\n")?;
        if self.flush_each { self.writer.flush() } else { Ok(()) }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// The payload on one line.
fn text<'a>(message: &'a Message<'_>) -> Cow<'a, str> {
    match (message.data, &message.data_base64) {
        (Some(data), _) => match string(data) {
            Some(text) => Cow::Owned(escaped(&text)),
            None => one_line(data.get()),
        },
        (None, Some(base64)) => Cow::Owned(format!("base64:{base64}")),
        (None, None) => Cow::Borrowed("null"),
    }
}

/// The payload as published: the characters of a text, bytes, or JSON.
fn bytes<'a>(message: &'a Message<'_>) -> Cow<'a, [u8]> {
    match (message.data, &message.data_base64) {
        (Some(data), _) => match string(data) {
            Some(text) => Cow::Owned(text.into_bytes()),
            None => Cow::Borrowed(data.get().as_bytes()),
        },
        // The gateway always writes valid Base64.
        (None, Some(base64)) => STANDARD.decode(base64.as_bytes()).map_or(Cow::Borrowed(&[]), Cow::Owned),
        (None, None) => Cow::Borrowed(b"null"),
    }
}

/// The text of a JSON string; `None` for other JSON.
fn string(data: &RawValue) -> Option<String> {
    if data.get().starts_with('"') { serde_json::from_str(data.get()).ok() } else { None }
}

/// Escapes control characters as JSON does, so that the text is one line and has no terminal sequences.
fn escaped(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if letter.is_control() { out.extend(letter.escape_default()) } else { out.push(letter) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(payload: &str) -> (String, Vec<u8>) {
        let event = format!(r#"{{"op":"message","topic":"a","epoch":"e","offset":1,{payload}}}"#);
        let message = Message::read(&event).unwrap();
        (text(&message).into_owned(), bytes(&message).into_owned())
    }

    /// JSON is printed unchanged, text without its quotes, and bytes with a mark.
    #[test]
    fn each_kind_of_payload_has_its_form() {
        assert_eq!(both(r#""data":{"price":187.300}"#), ("{\"price\":187.300}".to_owned(), b"{\"price\":187.300}".to_vec()));
        assert_eq!(both(r#""data":"say \"hi\"""#), ("say \"hi\"".to_owned(), b"say \"hi\"".to_vec()));
        assert_eq!(both(r#""data":"two\nlines\u001b[2J""#), ("two\\nlines\\u{1b}[2J".to_owned(), b"two\nlines\x1b[2J".to_vec()));
        assert_eq!(both(r#""data_base64":"/wA=""#), ("base64:/wA=".to_owned(), vec![0xff, 0]));
        assert_eq!(both("\"data\":{\n\"a\":1}").0, "{ \"a\":1}");
    }
}
