//! The positions that a subscriber has seen, with which it resumes without loss or duplicates (PROTOCOL section 3,
//! `since`).

use std::collections::{BTreeMap, HashMap};

use crate::cli::gateway::{Since, Subscribe, SubscribedTopic};
use crate::topic_name::{Pattern, TopicName};

/// The `id` of every `subscribe` command.
pub const SUBSCRIBE_ID: u64 = 1;

/// The `last` of a resumed topic. If `since` cannot recover, the whole history is newer than the last seen message.
const ALL: u32 = u32::MAX;

/// The largest number of remembered topics. Beyond it the least recently active are forgotten, and resume by `last`
/// only.
const TOPICS_MAX: usize = 65_536;

/// The positions of one `belfry sub`, over all of its sessions.
#[derive(Debug)]
pub struct Resume {
    topics: Vec<String>,
    last: Option<u32>,
    seen: HashMap<String, Seen>,
    /// Whether there was an earlier session.
    is_back: bool,
    /// The number of messages received.
    received: u64,
}

/// The position of one topic.
#[derive(Debug)]
struct Seen {
    epoch: String,
    /// The next session asks for messages after this offset.
    offset: u64,
    /// The topic's newest known offset.
    newest: u64,
    /// Whether a message was printed. Before, `offset` is that of the first `subscribed`.
    printed: bool,
    /// The value of `Resume::received` at the topic's newest message.
    received: u64,
}

impl Resume {
    /// No positions yet; `topics` are names or patterns.
    pub fn new(topics: Vec<String>, last: Option<u32>) -> Self {
        Self { topics, last, seen: HashMap::new(), is_back: false, received: 0 }
    }

    /// The `subscribe` commands of the next session, each at most `bytes_max` long if the names allow it. If not all
    /// positions fit, the most recently active topics are named. Names and patterns have separate commands: a topic
    /// that only a pattern matches may be new, so `--last` bounds its replay.
    pub fn commands(&self, bytes_max: usize) -> Vec<String> {
        if !self.is_back {
            return vec![self.command(&self.topics.iter().collect::<Vec<_>>(), self.last, |_| true, bytes_max)];
        }
        let (names, patterns): (Vec<_>, Vec<_>) = self.topics.iter().partition(|topic| self.matches_no_pattern(topic));
        let is_name = |topic: &str| names.iter().any(|name| *name == topic);
        let mut commands = Vec::new();
        if !names.is_empty() {
            commands.push(self.command(&names, Some(ALL), is_name, bytes_max));
        }
        if !patterns.is_empty() {
            commands.push(self.command(&patterns, self.last, |topic| !is_name(topic), bytes_max));
        }
        commands
    }

    /// Whether `topic` is a name that no pattern matches. Otherwise two replays of one topic could interleave.
    fn matches_no_pattern(&self, topic: &str) -> bool {
        let Ok(topic) = TopicName::parse(topic).map(Pattern::from) else { return false };
        let others = self.topics.iter().filter_map(|other| Pattern::parse(other).ok());
        others.filter(|other| other.covers(&topic)).all(|other| other == topic)
    }

    fn command(&self, topics: &[&String], last: Option<u32>, covers: impl Fn(&str) -> bool, bytes_max: usize) -> String {
        let mut recent: Vec<_> = self.seen.iter().filter(|(topic, _)| covers(topic)).collect();
        recent.sort_unstable_by_key(|(_, seen)| std::cmp::Reverse(seen.received));
        loop {
            let since: BTreeMap<_, _> =
                recent.iter().map(|(topic, seen)| (topic.as_str(), Since { epoch: &seen.epoch, offset: seen.offset })).collect();
            let command = Subscribe { op: "subscribe", id: SUBSCRIBE_ID, topics, last, since };
            let text = serde_json::to_string(&command).expect("strings and numbers are always JSON");
            if text.len() <= bytes_max || recent.is_empty() {
                return text;
            }
            // Each step drops an eighth of the topics, at least one.
            recent.truncate(recent.len() - recent.len().div_ceil(8));
        }
    }

    /// Reads the entries of `subscribed`. Returns a line for the user for each topic that lost messages.
    pub fn subscribed(&mut self, entries: Vec<SubscribedTopic>) -> Vec<String> {
        self.is_back = true;
        entries.into_iter().filter_map(|entry| self.subscribed_to(entry)).collect()
    }

    fn subscribed_to(&mut self, entry: SubscribedTopic) -> Option<String> {
        let SubscribedTopic { topic, epoch, offset, recovered } = entry;
        let (Some(epoch), Some(offset)) = (epoch, offset) else {
            return (recovered == Some(false)).then(|| format!("{topic}: topics not seen before may have missed messages"));
        };
        // If no message was printed yet, the next session owes the same as the first: the newest `last`, and all later
        // ones.
        let owed_after = offset.saturating_sub(self.last.unwrap_or(0).into());
        let found = Seen { epoch, offset: owed_after, newest: offset, printed: false, received: self.received };
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

    /// Whether a message is new and is to be printed. Notes its position.
    pub fn is_new(&mut self, topic: &str, epoch: &str, offset: u64) -> bool {
        self.received += 1;
        let received = self.received;
        match self.seen.get_mut(topic) {
            Some(seen) if seen.printed && seen.epoch == epoch && offset <= seen.offset => return false,
            Some(seen) => {
                if seen.epoch != epoch {
                    seen.epoch = epoch.to_owned();
                }
                (seen.offset, seen.newest, seen.printed, seen.received) = (offset, offset, true, received);
            }
            None => self.remember(topic.to_owned(), Seen { epoch: epoch.to_owned(), offset, newest: offset, printed: true, received }),
        }
        true
    }

    fn remember(&mut self, topic: String, seen: Seen) {
        if self.seen.len() >= TOPICS_MAX {
            let mut received: Vec<u64> = self.seen.values().map(|seen| seen.received).collect();
            let (_, middle, _) = received.select_nth_unstable(TOPICS_MAX / 2);
            let middle = *middle;
            self.seen.retain(|_, seen| seen.received > middle);
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

    fn commands(resume: &Resume, bytes_max: usize) -> Vec<Value> {
        resume.commands(bytes_max).iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    /// All of `since` in the commands of the next session.
    fn since(resume: &Resume) -> Value {
        let commands = commands(resume, 65_536);
        let entries = commands.iter().filter_map(|command| command["since"].as_object()).flatten();
        entries.map(|(topic, since)| (topic.clone(), since.clone())).collect()
    }

    #[test]
    fn the_first_command_has_no_since() {
        assert_eq!(commands(&resume(Some(3)), 65_536), [json!({"op":"subscribe","id":1,"topics":["quotes.AAPL","chat.>"],"last":3})]);
        assert_eq!(commands(&resume(None), 65_536), [json!({"op":"subscribe","id":1,"topics":["quotes.AAPL","chat.>"]})]);
    }

    /// The whole history of a topic is requested if its epoch is new, or if its history no longer reaches back.
    /// PROTOCOL 3: a topic in `since` may be covered by a subscribed pattern.
    #[test]
    fn a_reconnect_requests_all_newer_messages() {
        let mut resume = resume(Some(3));
        resume.subscribed(vec![entry("quotes.AAPL", "e1", 17, None)]);
        assert!(resume.is_new("quotes.AAPL", "e1", 18) && resume.is_new("chat.lobby", "e2", 4));
        let since = |topic: &str, epoch, offset| json!({topic: {"epoch": epoch, "offset": offset}});
        let names = json!({"op":"subscribe","id":1,"topics":["quotes.AAPL"],"last":u32::MAX,"since":since("quotes.AAPL", "e1", 18)});
        let patterns = json!({"op":"subscribe","id":1,"topics":["chat.>"],"last":3,"since":since("chat.lobby", "e2", 4)});
        assert_eq!(commands(&resume, 65_536), [names, patterns]);
        let mut crossing = Resume::new(vec!["chat.lobby".into(), "chat.>".into()], None);
        crossing.subscribed(vec![entry("chat.lobby", "e2", 4, None)]);
        let topics: Vec<_> = commands(&crossing, 65_536).into_iter().map(|command| command["topics"].clone()).collect();
        assert_eq!(topics, [json!(["chat.lobby", "chat.>"])]);
    }

    /// A topic that was silent until the connection broke resumes from its offset in the first `subscribed`.
    #[test]
    fn a_silent_topic_resumes_from_its_first_position() {
        let mut silent = resume(None);
        assert!(silent.subscribed(vec![entry("quotes.AAPL", "e1", 17, None)]).is_empty());
        assert_eq!(since(&silent)["quotes.AAPL"]["offset"], 17);
        assert!(silent.is_new("quotes.AAPL", "e1", 17));
        let mut with_last = resume(Some(5));
        with_last.subscribed(vec![entry("quotes.AAPL", "e1", 17, None)]);
        assert_eq!(since(&with_last)["quotes.AAPL"]["offset"], 12);
        // The history had expired and no message was published since, so none is lost.
        assert!(with_last.subscribed(vec![entry("quotes.AAPL", "e1", 17, Some(false))]).is_empty());
        assert_eq!(with_last.subscribed(vec![entry("quotes.AAPL", "e1", 18, Some(false))]).len(), 1);
    }

    #[test]
    fn a_replayed_message_is_printed_once() {
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
    fn a_new_epoch_starts_over_with_a_notice() {
        let mut resume = resume(None);
        resume.subscribed(vec![entry("quotes.AAPL", "e1", 3, None)]);
        resume.is_new("quotes.AAPL", "e1", 4);
        assert_eq!(resume.subscribed(vec![entry("quotes.AAPL", "e9", 1, Some(false))]).len(), 1);
        assert!(resume.is_new("quotes.AAPL", "e9", 1));
        assert_eq!(since(&resume)["quotes.AAPL"], json!({"epoch":"e9","offset":1}));
    }

    #[test]
    fn a_recovered_topic_has_no_notice() {
        let mut resume = resume(None);
        resume.subscribed(vec![entry("quotes.AAPL", "e1", 3, None)]);
        resume.is_new("quotes.AAPL", "e1", 4);
        assert!(resume.subscribed(vec![entry("quotes.AAPL", "e1", 9, Some(true))]).is_empty());
        assert!(resume.subscribed(vec![entry("quotes.AAPL", "e1", 4, Some(false))]).is_empty());
        let pattern = SubscribedTopic { topic: "chat.>".into(), epoch: None, offset: None, recovered: Some(false) };
        assert_eq!(resume.subscribed(vec![pattern]).len(), 1);
    }

    /// PROTOCOL 7: the oldest positions are left out of `since`.
    #[test]
    fn a_subscribe_fits_message_bytes() {
        let mut resume = resume(None);
        for number in 0..2_000 {
            resume.is_new(&format!("chat.room{number}"), "epoch1", 1);
        }
        assert!(resume.commands(4_096).iter().all(|text| text.len() <= 4_096));
        let command = &commands(&resume, 4_096)[0];
        assert!(command["since"].get("chat.room1999").is_some());
        assert!(command["since"].get("chat.room0").is_none());
        assert!(command["since"].as_object().unwrap().len() > 40);
    }

    #[test]
    fn the_remembered_topics_are_bounded() {
        let mut resume = resume(None);
        for number in 0..TOPICS_MAX + 10 {
            resume.is_new(&format!("t{number}"), "e", 1);
        }
        assert!(resume.seen.len() <= TOPICS_MAX);
        assert!(!resume.is_new(&format!("t{}", TOPICS_MAX + 9), "e", 1));
    }
}
