//! Centrifugo's JSON protocol: a frame holds commands or replies, one object a line.

use std::fmt::Write as _;

use serde_json::Value;

use super::reply::Reply;

/// The commands that open a session with `topics`. Each is acknowledged by a reply of its own.
pub(super) fn subscribe(topics: &[&str]) -> String {
    let mut text = "{\"id\":1,\"connect\":{}}".to_owned();
    for topic in topics {
        let _ = write!(text, "\n{{\"id\":2,\"subscribe\":{{\"channel\":\"{topic}\"}}}}");
    }
    text
}

/// A publish of `payload`.
pub(super) fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    [b"{\"id\":3,\"publish\":{\"channel\":\"", topic.as_bytes(), b"\",\"data\":", payload, b"}}"].concat()
}

/// The lines of a frame that are no messages.
pub(super) fn replies(frame: &[u8]) -> impl Iterator<Item = &[u8]> {
    frame.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"{\"push\""))
}

/// Reads one line.
pub(super) fn reply(line: &[u8]) -> Reply {
    // An empty object is a ping, and the pong to it.
    if line == b"{}" {
        return Reply::Ping(b"{}");
    }
    let Ok(said) = serde_json::from_slice::<Value>(line) else { return Reply::Other };
    let failure = |of: &Value, key: &str| Reply::Error {
        code: format!("centrifugo {}", of["code"]),
        message: of[key].as_str().unwrap_or("").to_owned(),
    };
    if let Some(error) = said.get("error") {
        failure(error, "message")
    } else if let Some(end) = said.get("disconnect") {
        failure(end, "reason")
    } else if said.get("connect").is_some() || said.get("subscribe").is_some() {
        Reply::Acknowledged
    } else {
        Reply::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_a_subscribe_is_a_command() {
        let text = subscribe(&["a.b", "c"]);
        let commands: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(commands[0]["connect"].is_object());
        assert_eq!(commands[2]["subscribe"]["channel"], "c");
        assert_eq!(commands.len(), 3);
    }

    #[test]
    fn a_publish_carries_the_payload_as_it_is() {
        let command: Value = serde_json::from_slice(&publish("a.b", br#"{"m":1}"#)).unwrap();
        assert_eq!(command["publish"]["channel"], "a.b");
        assert_eq!(command["publish"]["data"]["m"], 1);
    }

    #[test]
    fn each_line_of_a_frame_says_something_but_messages() {
        let frame = b"{\"id\":1,\"connect\":{\"client\":\"x\"}}\n{\"push\":{\"channel\":\"a\",\"pub\":{\"data\":1}}}\n{}\n{\"id\":3,\"publish\":{}}\n";
        let all: Vec<Reply> = super::replies(frame).map(super::reply).collect();
        assert_eq!(all, [Reply::Acknowledged, Reply::Ping(b"{}"), Reply::Other]);
        let error = super::reply(b"{\"id\":2,\"error\":{\"code\":103,\"message\":\"permission denied\"}}");
        assert_eq!(error, Reply::Error { code: "centrifugo 103".to_owned(), message: "permission denied".to_owned() });
    }
}
