//! Runs the steps of one case on the gateway, and checks the result.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::thread::Thread;

use belfry::hub::{Attempt, Hub, PayloadKind, Publication};
use belfry::metrics::PublishSource;
use belfry::session::Purpose;
use belfry::topic_name::{Pattern, TopicName};
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};

use crate::case::{Case, Step, TARGETS, TOPICS};
use crate::checker::{Checker, Members, Published, Rule, check_raw};
use crate::gateway::{Account, Gateway};
use crate::session::{Entry, Offsets, Session};

/// Runs `case`, and checks the events of each session and the accounts.
pub fn run(gateway: &mut Gateway, case: &Case) -> Result<(), TestCaseError> {
    let number = gateway.next_case();
    let before = gateway.closed_accounts().map_err(TestCaseError::fail)?;
    let mut run = Run::new(gateway, case, number);
    let outcome = run.run_steps(&case.steps).and_then(|()| run.finish());
    let outcome = outcome.and_then(|()| run.check());
    // A held message of an aged topic may come after the end of the case.
    let paced = case.steps.iter().any(|step| matches!(step, Step::Subscribe { interval: Some(_), .. }));
    let (received, is_exact) = (run.received(), run.has_read_all() && !paced);
    drop(run);
    outcome.map_err(TestCaseError::fail)?;
    let after = gateway.closed_accounts().map_err(TestCaseError::fail)?;
    let delivered = sum(&after, |account| account.delivered) - sum(&before, |account| account.delivered);
    let agrees = if is_exact { delivered == received } else { delivered >= received };
    if agrees { Ok(()) } else { Err(TestCaseError::fail(format!("{delivered} messages were delivered, {received} were received"))) }
}

fn sum(accounts: &BTreeMap<String, Account>, figure: impl Fn(&Account) -> f64) -> f64 {
    accounts.values().map(figure).sum()
}

/// A thread that waits for room in an inbox.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Publishes without a session, from any thread.
#[derive(Clone)]
struct Publisher {
    hub: Arc<Hub>,
    next: Arc<AtomicU64>,
    published: Arc<Mutex<Published>>,
}

impl Publisher {
    fn data(&self, bytes: usize) -> (u64, Value) {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        (n, json!({"n": n, "pad": "x".repeat(bytes)}))
    }

    fn publish(&self, topic: &TopicName, count: usize, bytes: usize) {
        let publisher = Waker::from(Arc::new(Parked(std::thread::current())));
        for _ in 0..count {
            let (n, data) = self.data(bytes);
            let payload = data.to_string();
            // A line of a batch is JSON. The body of a POST is any text.
            let kind = if n % 2 == 0 { PayloadKind::Json } else { PayloadKind::Text };
            let publication = Publication::new(payload.as_bytes(), kind, PublishSource::Http);
            let position = loop {
                match self.hub.try_publish(topic, &publication, &publisher).unwrap() {
                    Attempt::Published(position) => break position,
                    Attempt::NoRoom(outlet) => {
                        outlet.when_room(&publisher);
                        std::thread::park();
                    }
                    _ => panic!("this hub has no engine"),
                }
            };
            self.published.lock().unwrap().insert(topic.as_str(), position.offset.0, n);
        }
    }
}

struct Run<'a> {
    gateway: &'a Gateway,
    prefix: String,
    topics: Vec<TopicName>,
    publisher: Publisher,
    sessions: Vec<Session>,
    /// The raw session, and its topic.
    raw: Session,
    raw_topic: TopicName,
    /// The connections that were cut.
    ended: Vec<Session>,
    publishers: Vec<std::thread::JoinHandle<()>>,
    /// The members of each topic at the end, as the hub has them.
    members: Members,
}

impl<'a> Run<'a> {
    fn new(gateway: &'a Gateway, case: &Case, number: u64) -> Self {
        let prefix = format!("m{number}");
        let topics: Vec<TopicName> = TOPICS.iter().map(|topic| TopicName::parse(&format!("{prefix}.{topic}")).unwrap()).collect();
        let publisher = Publisher { hub: Arc::clone(&gateway.hub), next: Arc::default(), published: Arc::default() };
        let sessions = case.small_buffers.iter().map(|&small| Session::new(gateway.connect(small, native()), small)).collect();
        let raw_topic = topics[case.raw.0].clone();
        let purpose = Purpose::Raw { topic: raw_topic.clone(), last: case.raw.1, echo: true };
        let raw = Session::new(gateway.connect(false, purpose), false);
        Self {
            gateway,
            prefix,
            topics,
            publisher,
            sessions,
            raw,
            raw_topic,
            ended: Vec::new(),
            publishers: Vec::new(),
            members: Members::new(),
        }
    }

    /// Reads the newest offset of each existing topic.
    fn newest(&self) -> impl Fn() -> Offsets + use<> {
        let (hub, topics) = (Arc::clone(&self.gateway.hub), self.topics.clone());
        move || {
            let existing = topics.iter().filter_map(|topic| hub.topic_info(topic));
            existing.map(|info| (info.topic.as_str().to_owned(), info.position.offset.0)).collect()
        }
    }

    fn run_steps(&mut self, steps: &[Step]) -> Result<(), String> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let newest = self.newest();
        match *step {
            Step::Publish { topic, count, bytes } => self.publisher.publish(&self.topics[topic], count, bytes),
            Step::PublishConcurrently { topic, count, bytes } => {
                let (publisher, topic) = (self.publisher.clone(), self.topics[topic].clone());
                self.publishers.push(std::thread::spawn(move || publisher.publish(&topic, count, bytes)));
            }
            Step::SessionPublish { session, topic, echo } => return self.session_publish(session, topic, echo),
            Step::Subscribe { session, ref targets, last, interval, presence } => {
                let targets: Vec<String> = targets.iter().map(|&target| format!("{}.{}", self.prefix, TARGETS[target])).collect();
                let mut command = json!({"op": "subscribe", "topics": targets});
                last.into_iter().for_each(|last| command["last"] = last.into());
                interval.into_iter().for_each(|interval| command["interval_ms"] = interval.into());
                if presence {
                    command["presence"] = true.into();
                }
                let session = &mut self.sessions[session];
                session.send_command(command, newest());
                session.subscriptions.extend(targets);
            }
            Step::Unsubscribe { session, target } => {
                let target = format!("{}.{}", self.prefix, TARGETS[target]);
                let session = &mut self.sessions[session];
                if session.subscriptions.remove(&target) {
                    session.send_command(json!({"op": "unsubscribe", "topics": [target]}), Offsets::new());
                }
            }
            Step::Resubscribe { session, topic, count, bytes } => self.resubscribe(session, topic, count, bytes),
            Step::Read { session } => self.sessions[session].read_on(&newest),
            Step::RawPublish => {
                let (_, data) = self.publisher.data(20);
                self.raw.send(&data);
            }
            Step::Reload => self.gateway.reload(),
            Step::Barrier { session } => return self.sessions[session].barrier(&newest),
            Step::Reconnect { session, back } => self.reconnect(session, back),
        }
        Ok(())
    }

    fn resubscribe(&mut self, session: usize, topic: usize, count: usize, bytes: usize) {
        let (publisher, topic, newest) = (self.publisher.clone(), self.topics[topic].clone(), self.newest());
        let session = &mut self.sessions[session];
        let command = |op: &str| json!({"op": op, "topics": [topic.as_str()]});
        if session.subscriptions.insert(topic.as_str().to_owned()) {
            session.send_command(command("subscribe"), newest());
        }
        self.publishers.push(std::thread::spawn({
            let topic = topic.clone();
            move || publisher.publish(&topic, count, bytes)
        }));
        session.send_command(command("unsubscribe"), Offsets::new());
        session.send_command(command("subscribe"), newest());
    }

    fn session_publish(&mut self, session: usize, topic: usize, echo: bool) -> Result<(), String> {
        let (newest, (n, data)) = (self.newest(), self.publisher.data(20));
        let topic = self.topics[topic].as_str().to_owned();
        let session = &mut self.sessions[session];
        if !session.open {
            return Ok(());
        }
        let id = session.send_command(json!({"op": "publish", "topic": topic, "data": data, "echo": echo}), Offsets::new());
        session.read_until("the answer to a publish", &newest, |session| session.has_answer(id))?;
        if let Some(offset) = session.answer(id).and_then(|answer| answer["offset"].as_u64()) {
            self.publisher.published.lock().unwrap().insert(&topic, offset, n);
            if !echo {
                session.without_echo.insert((topic, offset));
            }
        }
        Ok(())
    }

    /// Cuts a connection and resumes on another from the client's positions.
    fn reconnect(&mut self, index: usize, back: u64) {
        let newest = self.newest();
        let (small, subscriptions) = (self.sessions[index].has_small_buffers, self.sessions[index].subscriptions.clone());
        let mut session = Session::new(self.gateway.connect(small, native()), small);
        let known = self.sessions[index].positions.iter();
        let since: BTreeMap<String, Value> = known
            .filter(|(topic, _)| covers(&subscriptions, topic))
            .map(|(topic, (epoch, offset))| (topic.clone(), json!({"epoch": epoch, "offset": offset.saturating_sub(back)})))
            .collect();
        session.positions = self.sessions[index].positions.clone();
        if !subscriptions.is_empty() {
            session.send_command(json!({"op": "subscribe", "topics": subscriptions, "since": since}), newest());
            session.subscriptions = subscriptions;
        }
        let mut old = std::mem::replace(&mut self.sessions[index], session);
        old.cut();
        self.ended.push(old);
    }

    /// Waits for the publishers, publishes once more to each topic, and waits until each session has these messages.
    fn finish(&mut self) -> Result<(), String> {
        let newest = self.newest();
        self.publishers.drain(..).for_each(|publisher| publisher.join().unwrap());
        // A message of the raw session is published once it is read, and has no answer.
        self.raw.await_pong(&newest)?;
        self.sessions.iter_mut().try_for_each(|session| session.barrier(&newest))?;
        self.topics.iter().for_each(|topic| self.publisher.publish(topic, 1, 0));
        let last = newest();
        for session in &mut self.sessions {
            let behind = |session: &Session| {
                // A later message of the raw session may come too.
                // A held message may become too old, and is dropped then.
                let expected = last.iter().filter(|(topic, _)| !topic.contains(".aged."));
                let covered = expected.filter(|(topic, _)| covers(&session.subscriptions, topic));
                let behind = covered.filter(|(topic, last)| session.positions.get(*topic).is_none_or(|(_, offset)| offset < *last));
                behind.map(|(topic, last)| format!("{topic} {last}")).collect::<Vec<_>>()
            };
            let outcome = session.read_until("each topic's newest message", &newest, |session| behind(session).is_empty());
            outcome
                .and_then(|()| session.barrier(&newest))
                .map_err(|why| format!("{why}: {:?}\n{}", behind(session), trace_of(session)))?;
        }
        self.await_raw_newest()?;
        let before = self.hub_members();
        self.sessions.iter_mut().try_for_each(|session| session.barrier(&newest))?;
        // A session that was cut leaves when its shard notices. Watchers may not have the events of changes meanwhile.
        let after = self.hub_members();
        self.members = before.into_iter().filter(|(topic, members)| after[topic] == *members).collect();
        Ok(())
    }

    /// The members of each topic, as the hub has them.
    fn hub_members(&self) -> Members {
        let members = |topic: &TopicName| self.gateway.hub.presence(topic).ok().into_iter().flatten();
        let members = |topic: &TopicName| members(topic).map(|member| member.session.to_string()).collect();
        self.topics.iter().map(|topic| (topic.as_str().to_owned(), members(topic))).collect()
    }

    /// Waits until the raw session has the newest message of its topic.
    fn await_raw_newest(&mut self) -> Result<(), String> {
        let newest = self.newest();
        let last = newest()[self.raw_topic.as_str()];
        // The newest message may be that of a session that was closed before it read the answer. Its number is unknown.
        let Some(n) = self.publisher.published.lock().unwrap().number(self.raw_topic.as_str(), last) else { return Ok(()) };
        let has_newest =
            |session: &Session| session.trace.iter().any(|entry| matches!(entry, Entry::Received(event, _) if event["n"] == n));
        let outcome = self.raw.read_until("the newest message", &newest, has_newest);
        let outcome =
            outcome.and_then(|()| if has_newest(&self.raw) { Ok(()) } else { Err("closed before its newest message".to_owned()) });
        outcome.map_err(|why| format!("the raw session on {}: {why}\n{}", self.raw_topic, trace_of(&self.raw)))
    }

    fn check(&self) -> Result<(), String> {
        let published = self.publisher.published.lock().unwrap();
        let rules = |topic: &str| Rule::of(topic.split('.').nth(1).unwrap_or_default());
        for session in self.ended.iter().chain(&self.sessions) {
            let members = session.open.then_some(&self.members);
            let outcome = Checker::new(&self.topics, &published, session, rules).check(&session.trace, members);
            outcome.map_err(|why| format!("{why}\n{}", trace_of(session)))?;
        }
        check_raw(&self.raw.trace, self.raw_topic.as_str(), &published).map_err(|why| format!("{why}\n{}", trace_of(&self.raw)))
    }

    /// The number of messages that all connections have received.
    fn received(&self) -> f64 {
        let entries = self.ended.iter().chain(&self.sessions).chain([&self.raw]).flat_map(|session| &session.trace);
        entries.filter(|entry| matches!(entry, Entry::Received(event, _) if event["op"] == "message" || event["n"].is_u64())).count() as f64
    }

    /// Whether every connection has read everything that was written to it.
    fn has_read_all(&self) -> bool {
        self.ended.is_empty() && self.sessions.iter().chain([&self.raw]).all(|session| session.open)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.publishers.drain(..).for_each(|publisher| publisher.join().unwrap());
    }
}

fn native() -> Purpose {
    Purpose::Native { topics: Vec::new(), last: None }
}

fn covers(subscriptions: &std::collections::BTreeSet<String>, topic: &str) -> bool {
    let topic = TopicName::parse(topic).unwrap();
    subscriptions.iter().any(|pattern| Pattern::parse(pattern).unwrap().matches(&topic))
}

/// The trace of a connection, for an error.
fn trace_of(session: &Session) -> String {
    let trace: Vec<String> = session.trace.iter().map(brief).collect();
    format!("small buffers: {}; trace:\n{}", session.has_small_buffers, trace.join("\n"))
}

/// An entry without its padding.
fn brief(entry: &Entry) -> String {
    match entry {
        Entry::Sent(command, _) => format!("> {command}"),
        Entry::Received(event, _) if event["op"] == "message" => {
            format!(
                "< {} {}{} n={}",
                event["topic"],
                event["offset"],
                if event["replay"] == true { " replay" } else { "" },
                event["data"]["n"]
            )
        }
        Entry::Received(event, _) => format!("< {event}"),
        Entry::Closed(code) => format!("closed {code}"),
    }
}
