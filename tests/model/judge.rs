//! The model: what one connection may hear, given what was published and what it said.

use std::collections::{BTreeMap, BTreeSet};

use belfry::topic_name::{Pattern, TopicName};
use serde_json::Value;

use crate::session::{Entry, Offsets, Session};

/// What was published: by topic and offset the number in its data.
#[derive(Default)]
pub struct Published(BTreeMap<(String, u64), u64>);

impl Published {
    /// Notes a message with its offset.
    pub fn note(&mut self, topic: &str, offset: u64, n: u64) {
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

/// By topic, the sessions that are in it by name.
pub type Present = BTreeMap<String, BTreeSet<String>>;

/// PROTOCOL 4: a plain WebSocket that reads hears its topic's messages in order, from the first that it hears without a hole.
/// Those that it sent itself are not in `published`.
pub fn judge_raw(trace: &[Entry], topic: &str, published: &Published) -> Result<(), String> {
    let mut heard = Vec::new();
    for entry in trace {
        match entry {
            Entry::Heard(event, _) => heard.push(event["n"].as_u64().ok_or_else(|| format!("unexpected: {event}"))?),
            other => return Err(format!("unexpected: {other:?}")),
        }
    }
    let all: Vec<u64> = published.of(topic).collect();
    let heard: Vec<u64> = heard.into_iter().filter(|n| all.contains(n)).collect();
    if all.ends_with(&heard) { Ok(()) } else { Err(format!("a plain WebSocket heard {heard:?} of {all:?}")) }
}

/// What of a topic's rule the model needs.
#[derive(Clone, Copy)]
pub struct Rule {
    history: u64,
    last: u64,
    conflates: bool,
    /// A slow session reads on from history.
    replays: bool,
}

impl Rule {
    /// The rule of topics of this kind; see the gateway's configuration.
    pub fn of(kind: &str) -> Self {
        let (history, last) = match kind {
            "conflate" => (20, 1),
            "drop" => (30, 0),
            "cut" => (200, 0),
            "replay" => (40, 0),
            "aged" => (10, 3),
            _ => (0, 0),
        };
        Self { history, last, conflates: kind == "conflate", replays: kind == "replay" }
    }

    /// How many messages a history has after `offset` were published.
    fn kept(self, offset: u64) -> u64 {
        self.history.min(offset)
    }
}

/// What one connection has heard of one topic.
#[derive(Debug, Default)]
struct Seen {
    /// The last offset, or the one before the first that may come.
    last: u64,
    /// Up to here nothing need come.
    free: u64,
    /// Gaps told and not yet followed by a message.
    gaps: Vec<(u64, u64)>,
    /// No live message has come yet.
    replaying: bool,
    /// An interval has held since the last message.
    paced: bool,
}

/// Follows one connection.
pub struct Judge<'a, R> {
    topics: &'a [TopicName],
    published: &'a Published,
    session: &'a Session,
    rules: R,
    subscriptions: BTreeMap<String, Option<u64>>,
    seen: BTreeMap<String, Seen>,
    /// The subscriptions that watch who comes and goes.
    watched: BTreeSet<String>,
    /// By topic and session, whether the last that was told is a join.
    members: BTreeMap<(String, String), bool>,
    /// The session has asked for an interval: what is held for it counts against its outbox, so it may be closed however fast it reads.
    holds: bool,
    /// The session's own name.
    name: String,
}

impl<'a, R: Fn(&str) -> Rule> Judge<'a, R> {
    /// Nothing heard yet.
    pub fn new(topics: &'a [TopicName], published: &'a Published, session: &'a Session, rules: R) -> Self {
        let (subscriptions, seen, watched, members, holds, name) = Default::default();
        Self { topics, published, session, rules, subscriptions, seen, watched, members, holds, name }
    }

    /// What is wrong with `trace`, if something is; and with who is there in its end, where that is known.
    pub fn hear_all(mut self, trace: &[Entry], present: Option<&Present>) -> Result<(), String> {
        let mut commands = BTreeMap::new();
        for (line, entry) in trace.iter().enumerate() {
            match entry {
                Entry::Said(command, newest) => {
                    self.holds |= command["interval_ms"].is_u64();
                    commands.insert(command["id"].as_u64().unwrap(), (command, newest));
                }
                Entry::Heard(event, newest) => {
                    let command = event["id"].as_u64().and_then(|id| commands.get(&id).copied());
                    self.hear(event, newest, command).map_err(|why| format!("line {}: {why}", line + 1))?;
                }
                Entry::Closed(code) => match (self.session.tight, code) {
                    (true, 4004 | 1006) => {}
                    (false, 4004) if self.holds => {}
                    _ => return Err(format!("closed with {code}")),
                },
            }
        }
        let wrong = |present: &Present| {
            let wrong = self
                .members
                .iter()
                .find(|((topic, session), joined)| present.get(topic).is_some_and(|members| members.contains(session) != **joined));
            wrong.map(|((topic, session), joined)| format!("{session} is in {topic}: {joined}, by what was told"))
        };
        present.and_then(wrong).map_or(Ok(()), Err)
    }

    fn hear(&mut self, event: &Value, newest: &Offsets, command: Option<(&Value, &Offsets)>) -> Result<(), String> {
        match event["op"].as_str().unwrap_or_default() {
            "message" => self.message(event),
            "gap" => self.gap(event),
            "subscribed" => {
                let (command, said_at) = command.ok_or("an answer to nothing")?;
                self.subscribed(event, command, said_at, newest)
            }
            "unsubscribed" => {
                for pattern in event["topics"].as_array().into_iter().flatten() {
                    self.subscriptions.remove(pattern.as_str().unwrap_or_default());
                    self.watch(pattern.as_str().unwrap_or_default(), false);
                }
                let subscriptions = &self.subscriptions;
                self.seen.retain(|topic, _| matching(subscriptions, topic).next().is_some());
                // An interval that is left holds from here on, even where the next subscribe ends it before a message comes.
                self.seen.iter_mut().for_each(|(topic, seen)| seen.paced |= is_paced(subscriptions, topic));
                Ok(())
            }
            "join" | "leave" => self.presence(event),
            "welcome" => {
                self.name = event["session"].as_str().unwrap_or_default().to_owned();
                Ok(())
            }
            "published" => Ok(()),
            "error" if event["code"] == "presence_off" && command.is_some_and(|(said, _)| said["presence"] == true) => Ok(()),
            "error" if event["code"] == "not_subscribed" && command.is_some_and(|(said, _)| said["topics"][0] == "nothing") => Ok(()),
            _ => Err(format!("unexpected: {event}")),
        }
    }

    fn subscribed(&mut self, event: &Value, command: &Value, said_at: &Offsets, newest: &Offsets) -> Result<(), String> {
        let before: BTreeSet<String> = self.seen.keys().cloned().collect();
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
                self.seen.entry(topic.to_owned()).and_modify(|seen| seen.paced |= paced);
                continue;
            }
            let rule = (self.rules)(topic);
            let last = command["last"].as_u64().unwrap_or(rule.last);
            let owed = |newest: u64| newest - last.min(rule.kept(newest));
            let own = event["topics"].as_array().into_iter().flatten().find(|entry| entry["topic"] == topic && entry["epoch"].is_string());
            let (last, free) = match (own, &command["since"][topic]) {
                (None, _) => {
                    let at = said_at.get(topic).copied().unwrap_or_default();
                    (owed(at), newest.get(topic).copied().unwrap_or_default())
                }
                (Some(entry), since) => {
                    let at = entry["offset"].as_u64().ok_or("an entry without its offset")?;
                    let kept = since["offset"].as_u64().filter(|&since| since <= at && at - since <= rule.kept(at));
                    let recovered = since.is_object().then_some(kept.is_some());
                    if entry["recovered"].as_bool() != recovered {
                        return Err(format!("{topic} at {at}, since {since}: recovered should be {recovered:?}: {entry}"));
                    }
                    let last = kept.unwrap_or_else(|| owed(at));
                    (last, last)
                }
            };
            self.seen.insert(topic.to_owned(), Seen { last, free, replaying: true, paced, ..Seen::default() });
        }
        Ok(())
    }

    /// A subscription begins or ceases to watch; what is watched no more is forgotten.
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

    /// PROTOCOL 3: joins and leaves of others take turns, and come to those alone who watch.
    fn presence(&mut self, event: &Value) -> Result<(), String> {
        let topic = event["topic"].as_str().unwrap_or_default().to_owned();
        let session = event["member"]["session"].as_str().unwrap_or_default().to_owned();
        if !is_watched(&self.watched, &topic) || session == self.name {
            return Err(format!("not to be told: {event}"));
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
        let seen = self.seen.get_mut(topic).ok_or_else(|| format!("a gap of a topic that it does not take: {event}"))?;
        let after = seen.gaps.last().map_or(seen.last, |&(_, to)| to);
        if from <= after || to < from {
            return Err(format!("a gap from {from} to {to}, after {after}"));
        }
        if !self.session.tight && !seen.replaying {
            return Err(format!("a gap for a session that is not slow: {event}"));
        }
        seen.gaps.push((from, to));
        Ok(())
    }

    fn message(&mut self, event: &Value) -> Result<(), String> {
        let (topic, replay) = (event["topic"].as_str().unwrap_or_default(), event["replay"] == true);
        let offset = event["offset"].as_u64().ok_or("a message without offset")?;
        let right = self.published.0.get(&(topic.to_owned(), offset));
        if right.is_some_and(|&n| event["data"]["n"] != n) {
            return Err(format!("{topic} {offset} has the data of another: {right:?}"));
        }
        let unheard = &self.session.unheard;
        let is_own = |offset| unheard.contains(&(topic.to_owned(), offset));
        let rule = (self.rules)(topic);
        let seen = self.seen.get_mut(topic).ok_or_else(|| format!("{topic} {offset} of a topic that it does not take"))?;
        if is_own(offset) {
            return Err(format!("{topic} {offset} is its own and without echo"));
        }
        if offset <= seen.last {
            return Err(format!("{topic} {offset} after {}", seen.last));
        }
        let reads_on = rule.replays && self.session.tight;
        if replay && !seen.replaying && !reads_on {
            return Err(format!("{topic} {offset} is replayed behind live ones"));
        }
        if let Some(gap) = seen.gaps.iter().find(|&&(_, to)| to >= offset) {
            return Err(format!("{topic} {offset} comes though the gap {gap:?} says that it does not"));
        }
        let is_told = |offset: u64| seen.gaps.iter().any(|&(from, to)| (from..=to).contains(&offset));
        let paced = seen.paced || is_paced(&self.subscriptions, topic);
        let loose = paced && (!replay || reads_on) || !replay && rule.conflates && self.session.tight;
        let missing = (seen.last.max(seen.free) + 1..offset).find(|&offset| !loose && !is_told(offset) && !is_own(offset));
        if let Some(missing) = missing {
            return Err(format!("{topic} {missing} is missing before {offset}: {seen:?}"));
        }
        let replaying = seen.replaying && replay;
        let paced = is_paced(&self.subscriptions, topic);
        *seen = Seen { last: offset, free: 0, gaps: Vec::new(), replaying, paced };
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

/// Whether the smallest interval of the subscriptions that take `topic` is above 0.
fn is_paced(subscriptions: &BTreeMap<String, Option<u64>>, topic: &str) -> bool {
    matching(subscriptions, topic).all(|interval| interval.is_some())
}
