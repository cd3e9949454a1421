//! What a subscriber has seen, so that it comes back without a loss or a double (PROTOCOL section 3, `since`).

use std::collections::{BTreeMap, HashMap};

use super::event::{Since, Subscribe, SubscribedTopic};

/// The `id` of every `subscribe` that this sends; a session sends one.
pub const SUBSCRIBE_ID: u64 = 1;

/// How many topics are remembered; past it those heard of least recently are forgotten, and resume by `last` alone.
const TOPICS_MAX: usize = 65_536;

/// The bookkeeping of one `belfry sub`, over all of its sessions.
#[derive(Debug)]
pub struct Resume {
    topics: Vec<String>,
    last: Option<u32>,
    seen: HashMap<String, Seen>,
    /// Counts what was heard, so that `Seen::heard` tells what is recent.
    heard: u64,
}

/// Where one topic stands.
#[derive(Debug)]
struct Seen {
    epoch: String,
    /// What the next session asks for is after this.
    offset: u64,
    /// The topic's newest offset, as far as this side knows.
    newest: u64,
    /// Whether a message was printed; before that `offset` only says where the topic was found.
    printed: bool,
    heard: u64,
}

impl Resume {
    /// Nothing seen yet of `topics`, names or patterns.
    pub fn new(topics: Vec<String>, last: Option<u32>) -> Self {
        Self { topics, last, seen: HashMap::new(), heard: 0 }
    }

    /// The `subscribe` of the next session, in at most `bytes_max` as far as names allow: where not all that was seen fits, what was
    /// heard of most recently does.
    pub fn command(&self, bytes_max: usize) -> String {
        let mut recent: Vec<_> = self.seen.iter().collect();
        recent.sort_unstable_by_key(|(_, seen)| std::cmp::Reverse(seen.heard));
        loop {
            let since: BTreeMap<_, _> =
                recent.iter().map(|(topic, seen)| (topic.as_str(), Since { epoch: &seen.epoch, offset: seen.offset })).collect();
            let command = Subscribe { op: "subscribe", id: SUBSCRIBE_ID, topics: &self.topics, last: self.last, since };
            let text = serde_json::to_string(&command).expect("strings and numbers are always JSON");
            if text.len() <= bytes_max || recent.is_empty() {
                return text;
            }
            // Each step drops an eighth, and at least one.
            recent.truncate(recent.len() - recent.len().div_ceil(8));
        }
    }

    /// Takes the gateway's answer; what comes back is for the user's eyes: where messages were lost.
    pub fn subscribed(&mut self, entries: Vec<SubscribedTopic>) -> Vec<String> {
        entries.into_iter().filter_map(|entry| self.subscribed_to(entry)).collect()
    }

    fn subscribed_to(&mut self, entry: SubscribedTopic) -> Option<String> {
        let SubscribedTopic { topic, epoch, offset, recovered } = entry;
        let (Some(epoch), Some(offset)) = (epoch, offset) else {
            return (recovered == Some(false)).then(|| format!("{topic}: topics not heard of before may have missed messages"));
        };
        // Where nothing was printed yet, coming back owes what the first `subscribe` owed: the newest `last`, then all after.
        let owed_after = offset.saturating_sub(self.last.unwrap_or(0).into());
        let found = Seen { epoch, offset: owed_after, newest: offset, printed: false, heard: self.heard };
        let Some(seen) = self.seen.get_mut(&topic) else {
            self.remember(topic, found);
            return None;
        };
        if seen.epoch != found.epoch {
            *seen = found;
            return Some(format!("{topic}: the gateway has begun its messages anew; some may be lost"));
        }
        let lost = recovered != Some(true) && offset > seen.newest;
        lost.then(|| format!("{topic}: its history no longer reaches back to message {}; some may be lost", seen.newest))
    }

    /// Whether a message is to be printed: it was not seen before.
    pub fn is_new(&mut self, topic: &str, epoch: &str, offset: u64) -> bool {
        self.heard += 1;
        let heard = self.heard;
        match self.seen.get_mut(topic) {
            Some(seen) if seen.printed && seen.epoch == epoch && offset <= seen.offset => return false,
            Some(seen) => {
                if seen.epoch != epoch {
                    seen.epoch = epoch.to_owned();
                }
                (seen.offset, seen.newest, seen.printed, seen.heard) = (offset, offset, true, heard);
            }
            None => self.remember(topic.to_owned(), Seen { epoch: epoch.to_owned(), offset, newest: offset, printed: true, heard }),
        }
        true
    }

    fn remember(&mut self, topic: String, seen: Seen) {
        if self.seen.len() >= TOPICS_MAX {
            let mut heard: Vec<u64> = self.seen.values().map(|seen| seen.heard).collect();
            let (_, middle, _) = heard.select_nth_unstable(TOPICS_MAX / 2);
            let middle = *middle;
            self.seen.retain(|_, seen| seen.heard > middle);
        }
        self.seen.insert(topic, seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn resume(last: Option<u32>) -> Resume {
        Resume::new(vec!["quotes.AAPL".into(), "chat.>".into()], last)
    }

    fn entry(topic: &str, epoch: &str, offset: u64, recovered: Option<bool>) -> SubscribedTopic {
        SubscribedTopic { topic: topic.into(), epoch: Some(epoch.into()), offset: Some(offset), recovered }
    }

    fn command(resume: &Resume) -> Value {
        serde_json::from_str(&resume.command(65_536)).unwrap()
    }

    #[test]
    fn the_first_command_asks_for_no_since() {
        assert_eq!(command(&resume(Some(3))), json!({"op":"subscribe","id":1,"topics":["quotes.AAPL","chat.>"],"last":3}));
        assert_eq!(command(&resume(None)), json!({"op":"subscribe","id":1,"topics":["quotes.AAPL","chat.>"]}));
    }

    /// PROTOCOL 3: a topic in `since` may be covered by a subscribed pattern.
    #[test]
    fn what_was_seen_is_named_under_patterns_too() {
        let mut resume = resume(None);
        assert!(resume.subscribed(vec![entry("quotes.AAPL", "e1", 17, None)]).is_empty());
        assert!(resume.is_new("quotes.AAPL", "e1", 17));
        assert!(resume.is_new("quotes.AAPL", "e1", 18));
        assert!(resume.is_new("chat.lobby", "e2", 4));
        let since = &command(&resume)["since"];
        assert_eq!(*since, json!({"quotes.AAPL":{"epoch":"e1","offset":18},"chat.lobby":{"epoch":"e2","offset":4}}));
    }

    /// A topic that was silent until the break: what was published meanwhile is owed, from where it was found.
    #[test]
    fn a_silent_topic_resumes_from_where_it_was_found() {
        let mut silent = resume(None);
        silent.subscribed(vec![entry("quotes.AAPL", "e1", 17, None)]);
        assert_eq!(command(&silent)["since"]["quotes.AAPL"]["offset"], 17);
        let mut with_last = resume(Some(5));
        with_last.subscribed(vec![entry("quotes.AAPL", "e1", 17, None)]);
        assert_eq!(command(&with_last)["since"]["quotes.AAPL"]["offset"], 12);
        // Its history had expired and nothing has come since: nothing is lost.
        assert!(with_last.subscribed(vec![entry("quotes.AAPL", "e1", 17, Some(false))]).is_empty());
        assert_eq!(with_last.subscribed(vec![entry("quotes.AAPL", "e1", 18, Some(false))]).len(), 1);
    }

    #[test]
    fn a_replay_brings_no_double() {
        let mut resume = resume(Some(10));
        resume.subscribed(vec![entry("quotes.AAPL", "e1", 3, None)]);
        assert!((1..=3).all(|offset| resume.is_new("quotes.AAPL", "e1", offset)));
        let notices = resume.subscribed(vec![entry("quotes.AAPL", "e1", 9, Some(false))]);
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(!resume.is_new("quotes.AAPL", "e1", 2));
        assert!(!resume.is_new("quotes.AAPL", "e1", 3));
        assert!(resume.is_new("quotes.AAPL", "e1", 8));
    }

    #[test]
    fn a_new_epoch_starts_over_and_says_so() {
        let mut resume = resume(None);
        resume.subscribed(vec![entry("quotes.AAPL", "e1", 3, None)]);
        resume.is_new("quotes.AAPL", "e1", 4);
        assert_eq!(resume.subscribed(vec![entry("quotes.AAPL", "e9", 1, Some(false))]).len(), 1);
        assert!(resume.is_new("quotes.AAPL", "e9", 1));
        assert_eq!(command(&resume)["since"]["quotes.AAPL"], json!({"epoch":"e9","offset":1}));
    }

    #[test]
    fn what_was_recovered_is_told_to_nobody() {
        let mut resume = resume(None);
        resume.subscribed(vec![entry("quotes.AAPL", "e1", 3, None)]);
        resume.is_new("quotes.AAPL", "e1", 4);
        assert!(resume.subscribed(vec![entry("quotes.AAPL", "e1", 9, Some(true))]).is_empty());
        assert!(resume.subscribed(vec![entry("quotes.AAPL", "e1", 4, Some(false))]).is_empty());
        let pattern = SubscribedTopic { topic: "chat.>".into(), epoch: None, offset: None, recovered: Some(false) };
        assert_eq!(resume.subscribed(vec![pattern]).len(), 1);
    }

    /// PROTOCOL 7: `message_bytes` holds for a `subscribe` too.
    #[test]
    fn a_long_memory_keeps_to_the_gateways_bound() {
        let mut resume = resume(None);
        for number in 0..2_000 {
            resume.is_new(&format!("chat.room{number}"), "epoch1", 1);
        }
        let text = resume.command(4_096);
        assert!(text.len() <= 4_096);
        let command: Value = serde_json::from_str(&text).unwrap();
        assert!(command["since"].get("chat.room1999").is_some());
        assert!(command["since"].get("chat.room0").is_none());
        assert!(command["since"].as_object().unwrap().len() > 40);
    }

    #[test]
    fn memory_is_bounded() {
        let mut resume = resume(None);
        for number in 0..TOPICS_MAX + 10 {
            resume.is_new(&format!("t{number}"), "e", 1);
        }
        assert!(resume.seen.len() <= TOPICS_MAX);
        assert!(!resume.is_new(&format!("t{}", TOPICS_MAX + 9), "e", 1));
    }
}
