//! The model: the events that one connection may receive, by its commands and the messages published.

use std::collections::{BTreeMap, BTreeSet};

use belfry::topic_name::{Pattern, TopicName};
use serde_json::Value;

use crate::session::{Entry, Offsets, Session};

/// The messages published: by topic and offset, the number in the data.
#[derive(Default)]
pub struct Published(BTreeMap<(String, u64), u64>);

impl Published {
    /// Adds a message.
    pub fn insert(&mut self, topic: &str, offset: u64, n: u64) {
        self.0.insert((topic.to_owned(), offset), n);
    }

    /// The number of the message at `offset`.
    pub fn number(&self, topic: &str, offset: u64) -> Option<u64> {
        self.0.get(&(topic.to_owned(), offset)).copied()
    }

    /// The numbers of a topic's messages, by offset.
    fn of(&self, topic: &str) -> impl Iterator<Item = u64> {
        self.0.range((topic.to_owned(), 0)..=(topic.to_owned(), u64::MAX)).map(|(_, &n)| n)
    }
}

/// By topic, the sessions that are members.
pub type Members = BTreeMap<String, BTreeSet<String>>;

/// PROTOCOL 4: a raw session that reads gets its topic's messages in order, without a hole from its first message on.
/// `published` does not have the messages that it published itself.
pub fn check_raw(trace: &[Entry], topic: &str, published: &Published) -> Result<(), String> {
    let mut received = Vec::new();
    for entry in trace {
        match entry {
            Entry::Received(event, _) => received.push(event["n"].as_u64().ok_or_else(|| format!("unexpected: {event}"))?),
            other => return Err(format!("unexpected: {other:?}")),
        }
    }
    let all: Vec<u64> = published.of(topic).collect();
    let received: Vec<u64> = received.into_iter().filter(|n| all.contains(n)).collect();
    if all.ends_with(&received) { Ok(()) } else { Err(format!("a raw session got {received:?} of {all:?}")) }
}

/// The parts of a topic's rule that the model needs.
#[derive(Clone, Copy)]
pub struct Rule {
    history: u64,
    last: u64,
    conflates: bool,
    /// Whether a slow session reads on from history.
    replays: bool,
}

impl Rule {
    /// The rule of topics of this kind, as in the gateway's configuration.
    pub fn of(kind: &str) -> Self {
        let (history, last) = match kind {
            "conflate" => (20, 1),
            "drop" => (30, 0),
            "disconnect" => (200, 0),
            "replay" => (40, 0),
            "aged" => (10, 3),
            _ => (0, 0),
        };
        Self { history, last, conflates: kind == "conflate", replays: kind == "replay" }
    }

    /// The length of the history once `offset` messages have been published.
    fn kept(self, offset: u64) -> u64 {
        self.history.min(offset)
    }
}

/// The progress of one connection in one topic.
#[derive(Debug, Default)]
struct Progress {
    /// The last offset, or the one before the first that may come.
    last: u64,
    /// Messages up to this offset may be missing.
    optional: u64,
    /// The gaps since the last message.
    gaps: Vec<(u64, u64)>,
    /// No live message has come yet.
    replaying: bool,
    /// An interval has been in effect since the last message.
    paced: bool,
}

/// Checks the events of one connection.
pub struct Checker<'a, R> {
    topics: &'a [TopicName],
    published: &'a Published,
    session: &'a Session,
    rules: R,
    subscriptions: BTreeMap<String, Option<u64>>,
    progress: BTreeMap<String, Progress>,
    /// The subscriptions with `presence`.
    watched: BTreeSet<String>,
    /// By topic and session, whether the last event was a join.
    members: BTreeMap<(String, String), bool>,
    /// The session has had an interval. Held messages count against its outbox, so it may be closed although it reads.
    has_interval: bool,
    /// The session's id.
    id: String,
}

impl<'a, R: Fn(&str) -> Rule> Checker<'a, R> {
    /// A checker before the first event.
    pub fn new(topics: &'a [TopicName], published: &'a Published, session: &'a Session, rules: R) -> Self {
        let (subscriptions, progress, watched, members, has_interval, id) = Default::default();
        Self { topics, published, session, rules, subscriptions, progress, watched, members, has_interval, id }
    }

    /// The first error in `trace`. Where `members` is known, also an error in the joins and leaves, by the members at
    /// the end.
    pub fn check(mut self, trace: &[Entry], members: Option<&Members>) -> Result<(), String> {
        let mut commands = BTreeMap::new();
        for (line, entry) in trace.iter().enumerate() {
            match entry {
                Entry::Sent(command, newest) => {
                    self.has_interval |= command["interval_ms"].is_u64();
                    commands.insert(command["id"].as_u64().unwrap(), (command, newest));
                }
                Entry::Received(event, newest) => {
                    let command = event["id"].as_u64().and_then(|id| commands.get(&id).copied());
                    self.check_event(event, newest, command).map_err(|why| format!("line {}: {why}", line + 1))?;
                }
                Entry::Closed(code) => match (self.session.has_small_buffers, code) {
                    (true, 4004 | 1006) => {}
                    (false, 4004) if self.has_interval => {}
                    _ => return Err(format!("closed with {code}")),
                },
            }
        }
        let wrong = |members: &Members| {
            let wrong = self
                .members
                .iter()
                .find(|((topic, session), joined)| members.get(topic).is_some_and(|members| members.contains(session) != **joined));
            wrong.map(|((topic, session), joined)| format!("{session} is a member of {topic}: {joined}, by its joins and leaves"))
        };
        members.and_then(wrong).map_or(Ok(()), Err)
    }

    fn check_event(&mut self, event: &Value, newest: &Offsets, command: Option<(&Value, &Offsets)>) -> Result<(), String> {
        match event["op"].as_str().unwrap_or_default() {
            "message" => self.message(event),
            "gap" => self.gap(event),
            "subscribed" => {
                let (command, sent_at) = command.ok_or("an answer without a command")?;
                self.subscribed(event, command, sent_at, newest)
            }
            "unsubscribed" => {
                for pattern in event["topics"].as_array().into_iter().flatten() {
                    self.subscriptions.remove(pattern.as_str().unwrap_or_default());
                    self.watch(pattern.as_str().unwrap_or_default(), false);
                }
                let subscriptions = &self.subscriptions;
                self.progress.retain(|topic, _| matching(subscriptions, topic).next().is_some());
                // A remaining interval is in effect from here on, even where the next subscribe ends it before a
                // message comes.
                self.progress.iter_mut().for_each(|(topic, progress)| progress.paced |= is_paced(subscriptions, topic));
                Ok(())
            }
            "join" | "leave" => self.presence(event),
            "welcome" => {
                self.id = event["session"].as_str().unwrap_or_default().to_owned();
                Ok(())
            }
            "published" => Ok(()),
            "error" if event["code"] == "presence_off" && command.is_some_and(|(command, _)| command["presence"] == true) => Ok(()),
            "error" if event["code"] == "not_subscribed" && command.is_some_and(|(command, _)| command["topics"][0] == "nothing") => Ok(()),
            _ => Err(format!("unexpected: {event}")),
        }
    }

    fn subscribed(&mut self, event: &Value, command: &Value, sent_at: &Offsets, newest: &Offsets) -> Result<(), String> {
        let before: BTreeSet<String> = self.progress.keys().cloned().collect();
        for pattern in command["topics"].as_array().into_iter().flatten() {
            self.subscriptions.insert(pattern.as_str().unwrap_or_default().to_owned(), command["interval_ms"].as_u64());
            self.watch(pattern.as_str().unwrap_or_default(), command["presence"] == true);
        }
        for topic in self.topics.iter().map(|topic| topic.as_str()) {
            if matching(&self.subscriptions, topic).next().is_none() {
                continue;
            }
            let paced = is_paced(&self.subscriptions, topic);
            if before.contains(topic) {
                self.progress.entry(topic.to_owned()).and_modify(|progress| progress.paced |= paced);
                continue;
            }
            let rule = (self.rules)(topic);
            let last = command["last"].as_u64().unwrap_or(rule.last);
            let before_replay = |newest: u64| newest - last.min(rule.kept(newest));
            let own = event["topics"].as_array().into_iter().flatten().find(|entry| entry["topic"] == topic && entry["epoch"].is_string());
            let (last, optional) = match (own, &command["since"][topic]) {
                (None, _) => {
                    let at = sent_at.get(topic).copied().unwrap_or_default();
                    (before_replay(at), newest.get(topic).copied().unwrap_or_default())
                }
                (Some(entry), since) => {
                    let at = entry["offset"].as_u64().ok_or("an entry without its offset")?;
                    let kept = since["offset"].as_u64().filter(|&since| since <= at && at - since <= rule.kept(at));
                    let recovered = since.is_object().then_some(kept.is_some());
                    if entry["recovered"].as_bool() != recovered {
                        return Err(format!("{topic} at {at}, since {since}: recovered should be {recovered:?}: {entry}"));
                    }
                    let last = kept.unwrap_or_else(|| before_replay(at));
                    (last, last)
                }
            };
            self.progress.insert(topic.to_owned(), Progress { last, optional, replaying: true, paced, ..Progress::default() });
        }
        Ok(())
    }

    /// Adds or removes a subscription with `presence`. Members of topics that are no longer watched are removed.
    fn watch(&mut self, pattern: &str, watches: bool) {
        if watches {
            self.members.clear();
            self.watched.insert(pattern.to_owned());
        } else {
            self.watched.remove(pattern);
        }
        let watched = &self.watched;
        self.members.retain(|(topic, _), _| is_watched(watched, topic));
    }

    /// PROTOCOL 3: joins and leaves of one member alternate. Only a watcher gets them, and not those of its own
    /// session.
    fn presence(&mut self, event: &Value) -> Result<(), String> {
        let topic = event["topic"].as_str().unwrap_or_default().to_owned();
        let session = event["member"]["session"].as_str().unwrap_or_default().to_owned();
        if !is_watched(&self.watched, &topic) || session == self.id {
            return Err(format!("not for this session: {event}"));
        }
        let joins = event["op"] == "join";
        if self.members.insert((topic, session), joins) == Some(joins) {
            return Err(format!("twice: {event}"));
        }
        Ok(())
    }

    fn gap(&mut self, event: &Value) -> Result<(), String> {
        let (topic, from, to) = (event["topic"].as_str().unwrap_or_default(), event["from"].as_u64(), event["to"].as_u64());
        let (Some(from), Some(to)) = (from, to) else { return Err(format!("no gap: {event}")) };
        let progress = self.progress.get_mut(topic).ok_or_else(|| format!("a gap of a topic without a subscription: {event}"))?;
        let after = progress.gaps.last().map_or(progress.last, |&(_, to)| to);
        if from <= after || to < from {
            return Err(format!("a gap from {from} to {to}, after {after}"));
        }
        let is_held = progress.paced || is_paced(&self.subscriptions, topic);
        if !self.session.has_small_buffers && !progress.replaying && !is_held {
            return Err(format!("a gap for a session that is not slow: {event}"));
        }
        progress.gaps.push((from, to));
        Ok(())
    }

    fn message(&mut self, event: &Value) -> Result<(), String> {
        let (topic, replay) = (event["topic"].as_str().unwrap_or_default(), event["replay"] == true);
        let offset = event["offset"].as_u64().ok_or("a message without offset")?;
        let expected = self.published.0.get(&(topic.to_owned(), offset));
        if expected.is_some_and(|&n| event["data"]["n"] != n) {
            return Err(format!("{topic} {offset} does not have the data {expected:?}"));
        }
        let without_echo = &self.session.without_echo;
        let is_own = |offset| without_echo.contains(&(topic.to_owned(), offset));
        let rule = (self.rules)(topic);
        let progress = self.progress.get_mut(topic).ok_or_else(|| format!("{topic} {offset} without a subscription"))?;
        if is_own(offset) {
            return Err(format!("{topic} {offset} is its own message, published with echo false"));
        }
        if offset <= progress.last {
            return Err(format!("{topic} {offset} after {}", progress.last));
        }
        let reads_on = rule.replays && self.session.has_small_buffers;
        if replay && !progress.replaying && !reads_on {
            return Err(format!("{topic} {offset} is replayed behind live messages"));
        }
        if let Some(gap) = progress.gaps.iter().find(|&&(_, to)| to >= offset) {
            return Err(format!("{topic} {offset} is in or before the gap {gap:?}"));
        }
        let is_in_gap = |offset: u64| progress.gaps.iter().any(|&(from, to)| (from..=to).contains(&offset));
        let paced = progress.paced || is_paced(&self.subscriptions, topic);
        let may_conflate = paced && (!replay || reads_on) || !replay && rule.conflates && self.session.has_small_buffers;
        let first = progress.last.max(progress.optional) + 1;
        let missing = (first..offset).find(|&offset| !may_conflate && !is_in_gap(offset) && !is_own(offset));
        if let Some(missing) = missing {
            return Err(format!("{topic} {missing} is missing before {offset}: {progress:?}"));
        }
        let replaying = progress.replaying && replay;
        let paced = is_paced(&self.subscriptions, topic);
        *progress = Progress { last: offset, optional: 0, gaps: Vec::new(), replaying, paced };
        Ok(())
    }
}

fn is_watched(watched: &BTreeSet<String>, topic: &str) -> bool {
    let topic = TopicName::parse(topic).unwrap();
    watched.iter().any(|pattern| Pattern::parse(pattern).unwrap().matches(&topic))
}

fn matching<'s>(subscriptions: &'s BTreeMap<String, Option<u64>>, topic: &str) -> impl Iterator<Item = Option<u64>> + use<'s> {
    let topic = TopicName::parse(topic).unwrap();
    subscriptions.iter().filter(move |(pattern, _)| Pattern::parse(pattern).unwrap().matches(&topic)).map(|(_, interval)| *interval)
}

/// Whether the smallest interval of the subscriptions that match `topic` is above 0.
fn is_paced(subscriptions: &BTreeMap<String, Option<u64>>, topic: &str) -> bool {
    matching(subscriptions, topic).all(|interval| interval.is_some())
}
