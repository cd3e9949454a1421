//! Reads the events of Belfry's native dialect other than messages (PROTOCOL section 3).

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

/// Reads one event.
pub fn read(frame: &[u8]) -> Reply {
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
    fn each_event_is_told_from_the_others() {
        let gap = |begins_anew| Reply::Gap { topic: "a".to_owned(), dropped: 3, begins_anew };
        assert_eq!(read(br#"{"op":"gap","topic":"a","from":3,"to":5}"#), gap(false));
        assert_eq!(read(br#"{"op":"gap","topic":"a","from":3,"to":5,"epoch":"k3f9x2"}"#), gap(true));
        assert_eq!(read(br#"{"op":"published","id":17,"topic":"a","offset":5}"#), Reply::Published { id: 17 });
        assert_eq!(read(br#"{"op":"draining","retry_after_ms":5}"#), Reply::Draining);
        let error = Reply::Error { id: Some(1), code: "not_allowed".to_owned(), message: "no".to_owned() };
        assert_eq!(read(br#"{"op":"error","id":1,"code":"not_allowed","message":"no"}"#), error);
        assert_eq!(read(br#"{"op":"error","code":4004,"message":"too slow"}"#), Reply::Ending(4004));
        assert_eq!(read(br#"{"op":"welcome","session":"0"}"#), Reply::Other);
        assert_eq!(read(b"nothing"), Reply::Other);
    }
}
