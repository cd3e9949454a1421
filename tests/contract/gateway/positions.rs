//! Translates the offsets of a stream's topics to those of a gateway without an engine.
//!
//! The offset of a message in a stream is its *sequence*: its number among all messages of the stream. The tests number
//! the messages of a topic 1, 2, 3 …; such a number is an *ordinal*. The harness follows the stream over a connection
//! of its own ([`super::engine`]), so a sequence that names no message of its topic fails the test. Without an engine
//! nothing is translated.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::DEADLINE;

/// Members that hold positions.
const MEMBERS: [&str; 5] = ["offset", "prev", "since", "from", "to"];

/// How long the message of an ordinal is waited for. A test may name an ordinal that lies ahead on purpose.
const AHEAD_WAIT: Duration = Duration::from_millis(300);

/// The sequences of the messages in the streams of one server.
#[derive(Debug, Default)]
pub struct Log {
    sequences: Mutex<Sequences>,
    recorded: Condvar,
}

#[derive(Debug, Default)]
struct Sequences {
    /// The sequences of each topic's messages, in order.
    topics: HashMap<String, Vec<u64>>,
    /// The newest sequence of each stream, by the first token of the stream's topics.
    newest: HashMap<String, u64>,
    /// The sequence that a gateway has sent last for an ordinal of a topic. A client that resumes sends the same
    /// sequence, also where it names no message.
    sent: HashMap<(String, u64), u64>,
}

impl Log {
    /// Records a message of `stream` on `subject` with this sequence.
    pub fn record(&self, stream: &str, subject: &str, sequence: u64) {
        let mut sequences = self.lock();
        sequences.newest.insert(stream.to_owned(), sequence);
        sequences.topics.entry(subject.to_owned()).or_default().push(sequence);
        drop(sequences);
        self.recorded.notify_all();
    }

    /// Adds a stream that is followed, named by the first token of its topics.
    pub fn add_stream(&self, stream: &str) {
        self.lock().newest.insert(stream.to_owned(), 0);
    }

    fn lock(&self) -> MutexGuard<'_, Sequences> {
        self.sequences.lock().expect("nobody panics with this lock")
    }

    /// Waits until `fact` is found in what is recorded, for `limit` at most.
    fn wait<T>(&self, limit: Duration, fact: impl Fn(&Sequences) -> Option<T>) -> (MutexGuard<'_, Sequences>, Option<T>) {
        let (deadline, mut sequences) = (Instant::now() + limit, self.lock());
        loop {
            let (found, left) = (fact(&sequences), deadline.saturating_duration_since(Instant::now()));
            if found.is_some() || left.is_zero() {
                return (sequences, found);
            }
            (sequences, _) = self.recorded.wait_timeout(sequences, left).expect("nobody panics with this lock");
        }
    }

    /// Whether `topic` is one of a stream.
    fn covers(&self, topic: &str) -> bool {
        self.lock().newest.contains_key(stream_of(topic))
    }

    /// The number of messages that `topic` has up to `sequence`. Where `is_message`, `sequence` must be one of these
    /// messages.
    fn ordinal(&self, topic: &str, sequence: u64, is_message: bool) -> u64 {
        let (mut sequences, reached) =
            self.wait(DEADLINE, |sequences| (sequences.newest.get(stream_of(topic))? >= &sequence).then_some(()));
        let known = sequences.topics.get(topic).map(Vec::as_slice).unwrap_or_default();
        let ordinal = known.partition_point(|known| *known <= sequence) as u64;
        let is_known = known.binary_search(&sequence).is_ok();
        sequences.sent.insert((topic.to_owned(), ordinal), sequence);
        drop(sequences);
        assert!(reached.is_some(), "the gateway sent sequence {sequence} of {topic}, which the stream has not reached");
        assert!(is_known || !is_message, "{sequence} is no message of {topic}");
        ordinal
    }

    /// A sequence for the `ordinal`th message of `topic`; past the end of the stream if there is no such message.
    fn sequence(&self, topic: &str, ordinal: u64) -> u64 {
        let index = ordinal.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        let known = self.wait(AHEAD_WAIT, |sequences| {
            let sent = sequences.sent.get(&(topic.to_owned(), ordinal)).copied();
            sent.or_else(|| index.map_or(Some(0), |index| sequences.topics.get(topic)?.get(index).copied()))
        });
        known.1.unwrap_or(ordinal.saturating_add(1 << 40))
    }
}

fn stream_of(topic: &str) -> &str {
    topic.split('.').next().unwrap_or_default()
}

/// The translation of positions for one client.
#[derive(Debug, Clone, Default)]
pub struct Positions {
    log: Option<Arc<Log>>,
    /// The topic of each command, by its `id`: Centrifugo's replies do not name the topic.
    commands: HashMap<String, String>,
}

impl Positions {
    /// The positions of the topics that `log` follows.
    pub fn of(log: Arc<Log>) -> Self {
        Self { log: Some(log), commands: HashMap::new() }
    }

    /// The JSON that a gateway has sent, with ordinals. `topic` is that of positions without a topic beside them.
    pub fn with_ordinals(&self, text: &str, topic: Option<&str>) -> String {
        let Some(log) = &self.log else { return text.to_owned() };
        let lines = text.split('\n').map(|line| {
            let topic = topic.or_else(|| self.commands.get(&id_of(line)).map(String::as_str));
            let is_message = [r#""op":"message""#, r#""op":"published""#, r#""pub":{"#].iter().any(|member| line.contains(member));
            let mut offset = 0;
            rewritten(line, topic, |member, topic, number| match member {
                _ if !log.covers(topic) => Some(number),
                // PROTOCOL 13: the offset of the topic's message before, 0 if none is known. `prev` follows `offset`;
                // messages of other topics have no `prev`.
                "prev" => {
                    let prev = if number == 0 { 0 } else { log.ordinal(topic, number, true) };
                    assert!(prev == 0 || prev + 1 == offset, "{prev} is not just before {offset}: {line}");
                    None
                }
                // PROTOCOL 13: a gap names bounds, both included.
                "from" => Some(log.ordinal(topic, number.saturating_sub(1), false) + 1),
                "offset" if is_message => {
                    offset = log.ordinal(topic, number, true);
                    Some(offset)
                }
                _ => Some(log.ordinal(topic, number, false)),
            })
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The offset on the wire of the `ordinal`th message of `topic`, for a test that compares bytes.
    pub fn on_the_wire(&self, topic: &str, ordinal: u64) -> u64 {
        self.log.as_ref().map_or(ordinal, |log| log.sequence(topic, ordinal))
    }

    /// Asserts that one of two events is `answer`; gives the other. The answer comes first. With an engine it waits for
    /// the stream's acknowledgement (PROTOCOL 13), and may come second.
    #[track_caller]
    pub fn event_beside(&self, answer: &Value, events: [Value; 2]) -> Value {
        let [first, second] = events;
        let (answered, event) = if self.log.is_some() && first != *answer { (second, first) } else { (first, second) };
        assert_eq!(answered, *answer, "beside {event}");
        event
    }

    /// The JSON that a client sends, with sequences. `topic` is that of positions without a topic beside them.
    pub fn with_sequences(&mut self, text: &str, topic: Option<&str>) -> String {
        let Some(log) = &self.log else { return text.to_owned() };
        let lines = text.split('\n').map(|line| {
            if let Some(topic) = first_topic(line) {
                self.commands.insert(id_of(line), topic.to_owned());
            }
            rewritten(line, topic, |_, topic, number| Some(if log.covers(topic) { log.sequence(topic, number) } else { number }))
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The `id` of a stream of these topics, with ordinals.
    pub fn id_with_ordinals(&self, topics: &[String], id: &str) -> String {
        self.translated_id(topics, id, |log, topic, number| log.ordinal(topic, number, false))
    }

    /// The `id` of a stream of these topics, with sequences.
    pub fn id_with_sequences(&self, topics: &[String], id: &str) -> String {
        self.translated_id(topics, id, |log, topic, number| log.sequence(topic, number))
    }

    fn translated_id(&self, topics: &[String], id: &str, translate: impl Fn(&Log, &str, u64) -> u64) -> String {
        let Some(log) = &self.log else { return id.to_owned() };
        let parts = id.split(',').enumerate().map(|(index, part)| {
            let known = part.split_once(':').zip(topics.get(index).filter(|topic| log.covers(topic)));
            let position = known.and_then(|((epoch, number), topic)| Some((epoch, topic, number.parse().ok()?)));
            position.map_or_else(|| part.to_owned(), |(epoch, topic, number)| format!("{epoch}:{}", translate(log, topic, number)))
        });
        parts.collect::<Vec<_>>().join(",")
    }

    /// A path whose query has sequences.
    pub fn path_with_sequences(&self, path_and_query: &str) -> String {
        let Some((path, query)) = path_and_query.split_once('?').filter(|_| self.log.is_some()) else { return path_and_query.to_owned() };
        let topics = topics_in(path_and_query);
        let options = query.split('&').map(|option| match (option.split_once('='), topic_in(path), &self.log) {
            (Some(("last_event_id", id)), ..) => format!("last_event_id={}", self.id_with_sequences(&topics, &id.replace("%3A", ":"))),
            (Some(("since", number)), Some(topic), Some(log)) if log.covers(topic) => match number.parse() {
                Ok(number) => format!("since={}", log.sequence(topic, number)),
                Err(_) => option.to_owned(),
            },
            _ => option.to_owned(),
        });
        format!("{path}?{}", options.collect::<Vec<_>>().join("&"))
    }
}

fn id_of(line: &str) -> String {
    serde_json::from_str::<Value>(line).unwrap_or_default()["id"].to_string()
}

/// The topics that a stream's path names.
pub fn topics_in(path: &str) -> Vec<String> {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let topics = query.split('&').find_map(|option| option.strip_prefix("topics=")).unwrap_or_default();
    topics.split(',').map(|topic| topic.replace("%3E", ">")).collect()
}

/// The topic that a path of HTTP names.
pub fn topic_in(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/topics/")?.split(['/', '?']).next()
}

/// The first topic that a JSON text names.
pub fn first_topic(text: &str) -> Option<&str> {
    let starts = [r#""topic":""#, r#""channel":""#, r#""channels":[""#].map(|member| text.find(member).map(|at| at + member.len()));
    text.get(starts.into_iter().flatten().min()?..)?.split('"').next()
}

/// `text` with each position replaced by what `translate` returns for its member, its topic and its number. `None` removes
/// the member. Everything else stays byte for byte, payloads included.
fn rewritten(text: &str, topic: Option<&str>, mut translate: impl FnMut(&str, &str, u64) -> Option<u64>) -> String {
    let (mut written, mut rest) = (String::with_capacity(text.len()), text);
    let mut topic = first_topic(text).or(topic);
    while let Some(at) = rest.find('"') {
        let end = at + string_end(&rest[at..]);
        let name = rest[at..end].trim_matches('"');
        written.push_str(&rest[..end]);
        rest = &rest[end..];
        let Some(value) = rest.strip_prefix(':') else { continue };
        let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        match (name, topic, value[..digits].parse()) {
            ("data", ..) => {
                let end = 1 + value_end(value);
                written.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            ("topic" | "channel", ..) => topic = value.split('"').nth(1),
            (_, Some(topic), Ok(number)) if MEMBERS.contains(&name) => {
                match translate(name, topic, number) {
                    Some(number) => written.push_str(&format!(":{number}")),
                    None => written.truncate(written.len() - name.len() - r#","""#.len()),
                }
                rest = &value[digits..];
            }
            _ if value.starts_with('{') && name.contains('.') => topic = Some(name),
            _ => {}
        }
    }
    written + rest
}

/// The end of the string that `text` begins with.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// The end of the value that `text` begins with.
fn value_end(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(next) = text[at..].chars().next() {
        match next {
            '"' => at += string_end(&text[at..]) - 1,
            '{' | '[' => depth += 1,
            '}' | ']' | ',' if depth == 0 => return at,
            '}' | ']' => depth -= 1,
            _ => {}
        }
        at += next.len_utf8();
    }
    at
}
