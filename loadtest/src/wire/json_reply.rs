//! Belfry's native dialect: events other than messages (PROTOCOL section 3).

use std::borrow::Cow;

use serde::Deserialize;

use super::reply::{Reply, SubscribedTopic};

/// An event, as far as a load test reads it.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Event<'a> {
    Subscribed {
        #[serde(borrow)]
        topics: Vec<Entry<'a>>,
    },
    Gap {
        from: u64,
        to: u64,
    },
    Draining,
    Error {
        code: String,
        #[serde(default)]
        message: String,
    },
    #[serde(other)]
    Other,
}

/// An entry of `subscribed`. Patterns have neither epoch nor offset.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow, default)]
    epoch: Cow<'a, str>,
    #[serde(default)]
    offset: u64,
    recovered: Option<bool>,
}

/// Reads one event.
pub(super) fn read(frame: &[u8]) -> Reply {
    match serde_json::from_slice(frame) {
        Ok(Event::Subscribed { topics }) => Reply::Subscribed(topics.into_iter().map(SubscribedTopic::from).collect()),
        Ok(Event::Gap { from, to }) => Reply::Gap { dropped: (to + 1).saturating_sub(from) },
        Ok(Event::Draining) => Reply::Draining,
        Ok(Event::Error { code, message }) => Reply::Error { code, message },
        Ok(Event::Other) | Err(_) => Reply::Other,
    }
}

impl From<Entry<'_>> for SubscribedTopic {
    fn from(entry: Entry<'_>) -> Self {
        Self { topic: entry.topic.into_owned(), epoch: entry.epoch.into_owned(), offset: entry.offset, recovered: entry.recovered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_told_from_the_others() {
        assert_eq!(read(br#"{"op":"gap","topic":"a","from":3,"to":5}"#), Reply::Gap { dropped: 3 });
        assert_eq!(read(br#"{"op":"draining","retry_after_ms":5}"#), Reply::Draining);
        let error = Reply::Error { code: "not_allowed".to_owned(), message: "no".to_owned() };
        assert_eq!(read(br#"{"op":"error","id":1,"code":"not_allowed","message":"no"}"#), error);
        assert_eq!(read(br#"{"op":"welcome","session":"0"}"#), Reply::Other);
        assert_eq!(read(b"nothing"), Reply::Other);
    }
}
