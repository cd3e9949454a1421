//! The lines of a batch: JSON Lines of `{"topic":…,"data":…}`, each `data` as it was written.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::codes::ErrorCode;
use crate::topic_name::TopicName;

/// The longest batch, in bytes.
pub const BATCH_BYTES_MAX: usize = 16 << 20;

/// What one line wants published.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Where.
    pub topic: TopicName,
    /// The JSON text of `data`, byte for byte.
    pub data: &'a str,
}

/// Why one line was not published.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LineError {
    /// Which line, from 1; blank ones count.
    pub line: usize,
    /// The contract's code.
    #[serde(serialize_with = "as_word")]
    pub code: ErrorCode,
    /// What was wrong and what would be right.
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

/// Every line that is not blank, by its number.
pub fn lines(body: &[u8]) -> impl Iterator<Item = (usize, Result<Entry<'_>, LineError>)> {
    body.split(|&byte| byte == b'\n')
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim_ascii()))
        .filter(|(_, line)| !line.is_empty())
        .map(|(number, line)| (number, entry(number, line)))
}

fn entry(number: usize, line: &[u8]) -> Result<Entry<'_>, LineError> {
    let refused = |code, message: String| LineError { line: number, code, message };
    let text = std::str::from_utf8(line).map_err(|_| refused(ErrorCode::BadRequest, "the line is not UTF-8".to_owned()))?;
    let envelope: Envelope<'_> = serde_json::from_str(text)
        .map_err(|error| refused(ErrorCode::BadRequest, format!("the line is not {{\"topic\":…,\"data\":…}}: {error}")))?;
    let topic = TopicName::parse(&envelope.topic).map_err(|error| refused(error.code(), error.to_string()))?;
    Ok(Entry { topic, data: envelope.data.get() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 5: `data` passes byte for byte, prices keep their zeros and big integers their digits.
    #[test]
    fn data_stays_as_written() {
        let body = br#"{"topic":"a.b","data":{"p" : 1.50, "n":123456789012345678901234567890,"s":"\u0041"}}"#;
        let (number, entry) = lines(body).next().unwrap();
        let entry = entry.unwrap();
        assert_eq!((number, entry.topic.as_str()), (1, "a.b"));
        assert_eq!(entry.data, r#"{"p" : 1.50, "n":123456789012345678901234567890,"s":"\u0041"}"#);
    }

    /// PROTOCOL 5: lines count from 1; blank ones are skipped and counted.
    #[test]
    fn lines_are_numbered_and_told_apart() {
        let body = b"\n{\"topic\":\"a\",\"data\":1}\r\n  \n{\"topic\":\"a.>\",\"data\":1}\nnot json\n\xff\n{\"data\":1}\n\
            {\"topic\":\"a\",\"topic\":\"b\",\"data\":1}\n{\"topic\":\"a\",\"data\":1} x\n{\"data\":null,\"topic\":\"a\"}";
        let seen: Vec<_> = lines(body).map(|(number, entry)| (number, entry.map_err(|error| error.code).err())).collect();
        let bad = Some(ErrorCode::BadRequest);
        let expected = [(2, None), (4, Some(ErrorCode::BadTopic)), (5, bad), (6, bad), (7, bad), (8, bad), (9, bad), (10, None)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_error_is_written_with_its_code() {
        let error = LineError { line: 2, code: ErrorCode::NotAllowed, message: "no".to_owned() };
        assert_eq!(serde_json::to_string(&error).unwrap(), r#"{"line":2,"code":"not_allowed","message":"no"}"#);
    }
}
