//! The `publish` command of one payload.

use serde_json::value::RawValue;

use crate::topic_name::TopicName;

/// The `publish` of one payload. The error is a payload that is not UTF-8, or a command longer than `bytes_max` bytes.
pub(super) fn command(number: u64, topic: &TopicName, payload: &[u8], bytes_max: usize) -> Result<String, String> {
    let payload = std::str::from_utf8(payload).map_err(|_| "it is not UTF-8".to_owned())?;
    // JSON is sent unchanged, so that prices keep their zeros. A topic's name never needs escapes.
    let data = match serde_json::from_str::<&RawValue>(payload) {
        Ok(json) => json.get().to_owned(),
        Err(_) => serde_json::Value::from(payload).to_string(),
    };
    let text = format!(r#"{{"op":"publish","id":{number},"topic":"{topic}","data":{data}}}"#);
    if text.len() > bytes_max {
        return Err(format!("its command has {} bytes, the gateway takes {bytes_max} (message_bytes)", text.len()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(payload: &str) -> String {
        command(7, &TopicName::parse("chat.lobby").unwrap(), payload.as_bytes(), 1_000).unwrap()
    }

    /// PROTOCOL 8: JSON is sent byte for byte.
    #[test]
    fn json_is_sent_unchanged_and_other_text_as_a_string() {
        assert_eq!(written(r#"{"price":187.300}"#), r#"{"op":"publish","id":7,"topic":"chat.lobby","data":{"price":187.300}}"#);
        assert_eq!(written("12345678901234567890"), r#"{"op":"publish","id":7,"topic":"chat.lobby","data":12345678901234567890}"#);
        assert_eq!(written("say \"hi\""), r#"{"op":"publish","id":7,"topic":"chat.lobby","data":"say \"hi\""}"#);
        assert_eq!(written(""), r#"{"op":"publish","id":7,"topic":"chat.lobby","data":""}"#);
        assert_eq!(written("{} {}"), r#"{"op":"publish","id":7,"topic":"chat.lobby","data":"{} {}"}"#);
    }

    #[test]
    fn commands_that_would_close_the_session_are_not_sent() {
        let topic = TopicName::parse("a").unwrap();
        assert!(command(1, &topic, &[b'1'; 200], 100).unwrap_err().contains("100"));
        assert!(command(1, &topic, b"\xFF", 100).is_err());
    }
}
