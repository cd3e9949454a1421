//! The lines of a batch: JSON Lines of `{"topic":…,"data":…}`, each `data` as it was written.

use std::borrow::Cow;

use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::codes::ErrorCode;
use crate::topic_name::TopicName;

/// The longest batch, in bytes.
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// The longest part of a line beside its `data`, in bytes: a topic of 255 escaped bytes, the keys, and some white
/// space.
pub const ENVELOPE_BYTES_MAX: usize = 2 << 10;

/// The message of one line.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub topic: TopicName,
    /// The JSON text of `data`, byte for byte.
    pub data: &'a str,
}

/// Why a line was not published.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LineError {
    /// The number of the line, from 1. Blank lines count.
    pub line: usize,
    #[serde(serialize_with = "as_word")]
    pub code: ErrorCode,
    /// What is wrong, and what would be right.
    pub message: String,
}

fn as_word<S: serde::Serializer>(code: &ErrorCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.as_str())
}

#[derive(serde::Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Reads line `number`.
pub fn entry(number: usize, line: &[u8]) -> Result<Entry<'_>, LineError> {
    let refused = |code, message: String| LineError { line: number, code, message };
    let text = std::str::from_utf8(line).map_err(|_| refused(ErrorCode::BadRequest, "the line is not UTF-8".to_owned()))?;
    let envelope =
        envelope(text).map_err(|reason| refused(ErrorCode::BadRequest, format!("{reason}; write {{\"topic\":…,\"data\":…}}")))?;
    let topic = TopicName::parse(&envelope.topic).map_err(|error| refused(error.code(), error.to_string()))?;
    Ok(Entry { topic, data: envelope.data.get() })
}

/// Reads a JSON object. serde would also accept a list of both values, and its messages name Rust types.
fn envelope(text: &str) -> Result<Envelope<'_>, String> {
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data if text.starts_with('{') => "the line needs one \"topic\", which is a string, and one \"data\"".to_owned(),
        Category::Data => "the line is not an object".to_owned(),
        Category::Syntax | Category::Eof | Category::Io => format!("the line is not JSON from byte {} on", error.column()),
    })?;
    if text.starts_with('{') { Ok(envelope) } else { Err("the line is not an object".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 5: `data` passes byte for byte, prices keep their zeros and big integers their digits.
    #[test]
    fn data_is_passed_byte_for_byte() {
        let body = br#"{"topic":"a.b","data":{"p" : 1.50, "n":123456789012345678901234567890,"s":"\u0041"}}"#;
        let entry = entry(1, body).unwrap();
        assert_eq!(entry.topic.as_str(), "a.b");
        assert_eq!(entry.data, r#"{"p" : 1.50, "n":123456789012345678901234567890,"s":"\u0041"}"#);
    }

    /// PROTOCOL 5: each kind of bad line has its own error.
    #[test]
    fn each_bad_line_has_its_error_code() {
        let bad = Some(ErrorCode::BadRequest);
        for (line, code) in [
            (&br#"{"topic":"a","data":1}"#[..], None),
            (br#"{"data":null,"topic":"a"}"#, None),
            (br#"{"topic":"a.>","data":1}"#, Some(ErrorCode::BadTopic)),
            (br#"["chat.arr",1]"#, bad),
            (br#""chat.arr""#, bad),
            (br#"{"topic":5,"data":1}"#, bad),
            (b"not json", bad),
            (b"\xff", bad),
            (br#"{"data":1}"#, bad),
            (br#"{"topic":"a","topic":"b","data":1}"#, bad),
            (br#"{"topic":"a","data":1} x"#, bad),
        ] {
            assert_eq!(entry(7, line).map_err(|error| error.code).err(), code, "{}", String::from_utf8_lossy(line));
        }
    }

    /// Errors use the contract's terms. The bug: they were the parser's, as in "invalid type: sequence".
    #[test]
    fn errors_name_the_expected_form() {
        for (line, reason) in [
            (r#"["chat.arr",1]"#, "the line is not an object"),
            ("7", "the line is not an object"),
            (r#"{"topic":"a"}"#, "the line needs one \"topic\", which is a string, and one \"data\""),
            (r#"{"topic":"a","data":1,"data":2}"#, "the line needs one \"topic\", which is a string, and one \"data\""),
            (r#"{"topic":"a","data":}"#, "the line is not JSON from byte 21 on"),
            ("{", "the line is not JSON from byte 1 on"),
        ] {
            let message = entry(1, line.as_bytes()).unwrap_err().message;
            assert_eq!(message, format!("{reason}; write {{\"topic\":…,\"data\":…}}"), "{line}");
        }
    }

    #[test]
    fn an_error_is_serialized_with_its_code() {
        let error = LineError { line: 2, code: ErrorCode::NotAllowed, message: "no".to_owned() };
        assert_eq!(serde_json::to_string(&error).unwrap(), r#"{"line":2,"code":"not_allowed","message":"no"}"#);
    }
}
