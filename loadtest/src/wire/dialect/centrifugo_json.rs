//! Centrifugo's protocol in JSON: a frame has commands or replies, one object on each line.

use std::ops::Range;

use serde_json::Value;

use super::decimal::leading;
use super::reply::Reply;

/// The command that opens a session.
pub const CONNECT: &str = "{\"id\":1,\"connect\":{}}";

/// The commands that subscribe to `topics`, with ids from `first_id` on. Each is acknowledged by its own reply. A topic
/// resumes from its position in `since`, which has either all topics or none.
pub fn subscribe(topics: &[&str], since: &[(&str, &str, u64)], first_id: u64) -> String {
    let commands = (first_id..).zip(topics.iter().enumerate()).map(|(id, (index, topic))| {
        let position = since.get(index).filter(|(_, epoch, _)| !epoch.is_empty());
        let recover = position.map(|(_, epoch, offset)| format!(",\"recover\":true,\"epoch\":\"{epoch}\",\"offset\":{offset}"));
        format!("{{\"id\":{id},\"subscribe\":{{\"channel\":\"{topic}\"{}}}}}", recover.unwrap_or_default())
    });
    commands.collect::<Vec<_>>().join("\n")
}

pub fn unsubscribe(topics: &[&str]) -> String {
    let commands: Vec<String> = topics.iter().map(|topic| format!("{{\"id\":1,\"unsubscribe\":{{\"channel\":\"{topic}\"}}}}")).collect();
    commands.join("\n")
}

pub fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    [b"{\"id\":3,\"publish\":{\"channel\":\"", topic.as_bytes(), b"\",\"data\":", payload, b"}}"].concat()
}

/// The lines of a frame that are not messages.
pub fn replies(frame: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = frame;
    let lines = std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = (!rest.is_empty()).then(|| &rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
        line
    });
    lines.filter(|line| !line.is_empty() && !line.starts_with(b"{\"push\""))
}

/// Reads one line.
pub fn reply(line: &[u8]) -> Reply {
    // An empty object is a ping, and also the pong.
    if line == b"{}" {
        return Reply::Ping(b"{}");
    }
    let Ok(object) = serde_json::from_slice::<Value>(line) else { return Reply::Other };
    let failure = |of: &Value, key: &str| Reply::Error {
        id: None,
        code: format!("centrifugo {}", of["code"]),
        message: of[key].as_str().unwrap_or("").to_owned(),
    };
    if let Some(error) = object.get("error") {
        failure(error, "message")
    } else if let Some(end) = object.get("disconnect") {
        failure(end, "reason")
    } else if object.get("connect").is_some() {
        Reply::Acknowledged
    } else if let Some(subscribed) = object.get("subscribe") {
        let is = |key: &str| subscribed[key].as_bool().unwrap_or(false);
        let epoch = subscribed["epoch"].as_str().filter(|epoch| !epoch.is_empty());
        Reply::TopicSubscribed {
            id: object["id"].as_u64().unwrap_or(0),
            position: epoch.map(|epoch| (epoch.to_owned(), subscribed["offset"].as_u64().unwrap_or(0))),
            recovered: is("was_recovering").then(|| is("recovered")),
        }
    } else {
        Reply::Other
    }
}

/// Whether the push around the payload at `payload` belongs to `topic`, and is valid JSON.
pub fn is_intact(frame: &[u8], payload: Range<usize>, topic: &str) -> bool {
    let Some((head, tail)) = around(frame, payload) else { return false };
    let rest = head.strip_prefix(br#"{"push":{"channel":""#).and_then(|rest| rest.strip_prefix(topic.as_bytes()));
    if rest != Some(br#"","pub":{"data":"#) {
        return false;
    }
    tail == b"}}}" || after_offset(tail) == Some(b"}}}") || {
        // The push has further fields, such as the publisher or tags. It is parsed with a number in place of the
        // payload, which is compared elsewhere.
        let line = [br#"{"push":{"pub":{"data":0"#, tail].concat();
        serde_json::from_slice::<Value>(&line).is_ok_and(|line| line["push"]["pub"]["data"] == 0)
    }
}

/// The offset behind the payload at `payload`, if its topic has positions.
pub fn offset(frame: &[u8], payload: Range<usize>) -> Option<u64> {
    let (_, tail) = around(frame, payload)?;
    let start = memchr::memmem::find(tail, OFFSET)? + OFFSET.len();
    leading(&tail[start..]).map(|(offset, _)| offset)
}

const OFFSET: &[u8] = b",\"offset\":";

fn after_offset(tail: &[u8]) -> Option<&[u8]> {
    leading(tail.strip_prefix(OFFSET)?).map(|(_, rest)| rest)
}

/// The parts of the line before and behind the payload. A payload of a load test has no line feed.
fn around(frame: &[u8], payload: Range<usize>) -> Option<(&[u8], &[u8])> {
    let (head, tail) = (frame.get(..payload.start)?, frame.get(payload.end..)?);
    let start = memchr::memrchr(b'\n', head).map_or(0, |at| at + 1);
    let end = memchr::memchr(b'\n', tail).unwrap_or(tail.len());
    Some((&head[start..], &tail[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_compared_and_has_its_offset() {
        let payload = r#"{"m":1}"#;
        let push = |tail: &str| format!(r#"{{"push":{{"channel":"a.b","pub":{{"data":{payload}{tail}}}}}}}"#);
        let plain = push("");
        let start = plain.find(payload).unwrap();
        let at = |frame: &str| frame.find(payload).unwrap()..frame.find(payload).unwrap() + payload.len();
        for (tail, expected) in [("", None), (r#","offset":18"#, Some(18)), (r#","info":{"user":"","client":"x"},"offset":7"#, Some(7))] {
            for frame in [push(tail), format!("{{\"id\":3,\"publish\":{{}}}}\n{}\n{{}}", push(tail))] {
                assert!(is_intact(frame.as_bytes(), at(&frame), "a.b"), "{frame}");
                assert_eq!(offset(frame.as_bytes(), at(&frame)), expected, "{frame}");
            }
            let frame = push(tail);
            assert!(!is_intact(frame.as_bytes(), at(&frame), "a.c"), "a push of another topic");
            assert!(!is_intact(&frame.as_bytes()[..frame.len() - 1], at(&frame), "a.b"), "cut short");
            for place in (0..start).chain(start + payload.len()..frame.len()) {
                let mut altered = frame.clone().into_bytes();
                altered[place] = 1;
                assert!(!is_intact(&altered, at(&frame), "a.b"), "byte {place} of {frame}");
            }
        }
    }

    #[test]
    fn each_line_of_a_subscribe_is_a_command() {
        let read = |text: &str| -> Vec<Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
        assert!(read(CONNECT)[0]["connect"].is_object());
        let commands = read(&subscribe(&["a.b", "c"], &[], 2));
        assert_eq!((&commands[1]["subscribe"]["channel"], &commands[1]["id"], commands.len()), (&"c".into(), &3.into(), 2));
        assert_eq!(commands[1]["subscribe"]["recover"], Value::Null);
        let resumed = read(&subscribe(&["a.b", "c"], &[("a.b", "k3f9x2", 3), ("c", "", 0)], 2));
        assert_eq!((&resumed[0]["subscribe"]["epoch"], &resumed[0]["subscribe"]["offset"]), (&"k3f9x2".into(), &3.into()));
        assert_eq!(resumed[1]["subscribe"]["recover"], Value::Null);
        assert_eq!(read(&unsubscribe(&["a.b", "c"]))[1]["unsubscribe"]["channel"], "c");
    }

    #[test]
    fn a_publish_carries_the_payload_as_it_is() {
        let command: Value = serde_json::from_slice(&publish("a.b", br#"{"m":1}"#)).unwrap();
        assert_eq!(command["publish"]["channel"], "a.b");
        assert_eq!(command["publish"]["data"]["m"], 1);
    }

    #[test]
    fn each_line_that_is_no_message_is_a_reply() {
        let frame = b"{\"id\":1,\"connect\":{\"client\":\"x\"}}\n{\"push\":{\"channel\":\"a\",\"pub\":{\"data\":1}}}\n{}\n{\"id\":3,\"publish\":{}}\n";
        let all: Vec<Reply> = replies(frame).map(reply).collect();
        assert_eq!(all, [Reply::Acknowledged, Reply::Ping(b"{}"), Reply::Other]);
        let joined = |position, recovered| Reply::TopicSubscribed { id: 2, position, recovered };
        assert_eq!(reply(b"{\"id\":2,\"subscribe\":{}}"), joined(None, None));
        let subscribed = br#"{"id":2,"subscribe":{"recoverable":true,"epoch":"k3f9x2","recovered":true,"offset":7,"was_recovering":true}}"#;
        assert_eq!(reply(subscribed), joined(Some(("k3f9x2".to_owned(), 7)), Some(true)));
        let error = reply(b"{\"id\":2,\"error\":{\"code\":103,\"message\":\"permission denied\"}}");
        assert_eq!(error, Reply::Error { id: None, code: "centrifugo 103".to_owned(), message: "permission denied".to_owned() });
    }
}
