//! The commands of Belfry's native dialect, and its events other than messages (PROTOCOL section 3).

use std::fmt::Write as _;

use serde::Deserialize;

use super::reply::{Reply, SubscribedTopic};

/// The relevant fields of an event.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Event {
    Subscribed { topics: Vec<SubscribedTopic> },
    Gap { topic: String, from: u64, to: u64, epoch: Option<String> },
    Draining,
    Published { id: u64 },
    Error { id: Option<u64>, code: Code, message: Option<String> },
}

/// The code of an error; a number before the end of a stream.
#[derive(Deserialize)]
#[serde(untagged)]
enum Code {
    Number(u16),
    Name(String),
}

/// A subscribe to `topics`, which resumes from the positions in `since`.
pub fn subscribe(topics: &[&str], since: &[(&str, &str, u64)]) -> String {
    let mut text = format!("{{\"op\":\"subscribe\",\"id\":1,\"topics\":[\"{}\"]", topics.join("\",\""));
    for (index, (topic, epoch, offset)) in since.iter().enumerate() {
        let before = if index == 0 { ",\"since\":{" } else { "," };
        let _ = write!(text, "{before}\"{topic}\":{{\"epoch\":\"{epoch}\",\"offset\":{offset}}}");
    }
    text + if since.is_empty() { "}" } else { "}}" }
}

pub fn unsubscribe(topics: &[&str]) -> String {
    format!("{{\"op\":\"unsubscribe\",\"id\":2,\"topics\":[\"{}\"]}}", topics.join("\",\""))
}

/// A publish, which is answered if it has an `id`.
pub fn publish(topic: &str, payload: &[u8], id: Option<u64>) -> Vec<u8> {
    let id = id.map(|id| format!("\"id\":{id},")).unwrap_or_default();
    let head = format!("{{\"op\":\"publish\",{id}\"topic\":\"{topic}\",\"data\":");
    [head.as_bytes(), payload, b"}"].concat()
}

/// Reads one event.
pub fn reply(frame: &[u8]) -> Reply {
    match serde_json::from_slice(frame) {
        Ok(Event::Subscribed { topics }) => Reply::Subscribed(topics),
        Ok(Event::Gap { topic, from, to, epoch }) => {
            Reply::Gap { topic, dropped: (to + 1).saturating_sub(from), begins_anew: epoch.is_some() }
        }
        Ok(Event::Draining) => Reply::Draining,
        Ok(Event::Published { id }) => Reply::Published { id },
        Ok(Event::Error { code: Code::Number(code), .. }) => Reply::Ending(code),
        Ok(Event::Error { id, code: Code::Name(code), message }) => Reply::Error { id, code, message: message.unwrap_or_default() },
        Err(_) => Reply::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_recognized() {
        let gap = |begins_anew| Reply::Gap { topic: "a".to_owned(), dropped: 3, begins_anew };
        assert_eq!(reply(br#"{"op":"gap","topic":"a","from":3,"to":5}"#), gap(false));
        assert_eq!(reply(br#"{"op":"gap","topic":"a","from":3,"to":5,"epoch":"k3f9x2"}"#), gap(true));
        assert_eq!(reply(br#"{"op":"published","id":17,"topic":"a","offset":5}"#), Reply::Published { id: 17 });
        assert_eq!(reply(br#"{"op":"draining","retry_after_ms":5}"#), Reply::Draining);
        let error = Reply::Error { id: Some(1), code: "not_allowed".to_owned(), message: "no".to_owned() };
        assert_eq!(reply(br#"{"op":"error","id":1,"code":"not_allowed","message":"no"}"#), error);
        assert_eq!(reply(br#"{"op":"error","code":4004,"message":"too slow"}"#), Reply::Ending(4004));
        assert_eq!(reply(br#"{"op":"welcome","session":"0"}"#), Reply::Other);
        assert_eq!(reply(b"nothing"), Reply::Other);
        let topic = SubscribedTopic { topic: "a.b".to_owned(), epoch: "k3f9x2".to_owned(), offset: 17, recovered: Some(true) };
        let event = br#"{"op":"subscribed","id":1,"topics":[{"topic":"a.b","epoch":"k3f9x2","offset":17,"recovered":true}]}"#;
        assert_eq!(reply(event), Reply::Subscribed(vec![topic]));
    }

    #[test]
    fn a_subscribe_with_since_is_json() {
        let text = subscribe(&["a", "b"], &[("a", "k3f9x2", 3), ("b", "k3f9x2", 4)]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["topics"][1], &value["since"]["b"]["offset"]), (&"b".into(), &4.into()));
    }
}
