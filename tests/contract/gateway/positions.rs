//! Offsets of a stream's topics as a gateway without an engine would give them: a topic's messages are 1, 2, 3 … in the order of the stream.
//!
//! The order is not the gateway's word. The harness follows the stream by itself ([`super::engine`]), so an offset that names no message
//! of its topic fails the test. Without an engine nothing is looked at and nothing is changed.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::DEADLINE;

/// Members that hold positions.
const MEMBERS: [&str; 5] = ["offset", "prev", "since", "from", "to"];

/// How long a number that no message has yet is waited for: it may be one that lies ahead on purpose.
const AHEAD: Duration = Duration::from_millis(300);

/// The messages that the streams of one server have had.
#[derive(Debug, Default)]
pub struct Log {
    read: Mutex<Read>,
    heard: Condvar,
}

#[derive(Debug, Default)]
struct Read {
    /// The numbers of each topic's messages.
    topics: HashMap<String, Vec<u64>>,
    /// Up to where each stream was read, by the first token of its topics.
    up_to: HashMap<String, u64>,
    /// What a gateway has told last for an ordinal of a topic: who comes back says that, be it a message's own number or not.
    told: HashMap<(String, u64), u64>,
}

impl Log {
    /// The stream `stream` has a message on `subject` with that number.
    pub fn hear(&self, stream: &str, subject: &str, number: u64) {
        let mut read = self.lock();
        read.up_to.insert(stream.to_owned(), number);
        read.topics.entry(subject.to_owned()).or_default().push(number);
        drop(read);
        self.heard.notify_all();
    }

    /// The streams that are followed; a topic's stream is named by its first token.
    pub fn follows(&self, stream: &str) {
        self.lock().up_to.insert(stream.to_owned(), 0);
    }

    fn lock(&self) -> MutexGuard<'_, Read> {
        self.read.lock().expect("nobody panics with this lock")
    }

    /// What was read once that has `found` something, or after `limit`.
    fn wait<T>(&self, limit: Duration, found: impl Fn(&Read) -> Option<T>) -> (MutexGuard<'_, Read>, Option<T>) {
        let (deadline, mut read) = (Instant::now() + limit, self.lock());
        loop {
            let (found, left) = (found(&read), deadline.saturating_duration_since(Instant::now()));
            if found.is_some() || left.is_zero() {
                return (read, found);
            }
            (read, _) = self.heard.wait_timeout(read, left).expect("nobody panics with this lock");
        }
    }

    fn has(&self, topic: &str) -> bool {
        self.lock().up_to.contains_key(stream_of(topic))
    }

    /// How many messages `topic` has up to `number`, which must be one of theirs if it is a message's `own`.
    fn ordinal(&self, topic: &str, number: u64, own: bool) -> u64 {
        let (mut read, came) = self.wait(DEADLINE, |read| (read.up_to.get(stream_of(topic))? >= &number).then_some(()));
        let numbers = read.topics.get(topic).map(Vec::as_slice).unwrap_or_default();
        let ordinal = numbers.partition_point(|known| *known <= number) as u64;
        let is_one = numbers.binary_search(&number).is_ok();
        read.told.insert((topic.to_owned(), ordinal), number);
        drop(read);
        assert!(came.is_some(), "the gateway tells of {number} on {topic}, and the stream has not come so far");
        assert!(is_one || !own, "{number} is no message of {topic}");
        ordinal
    }

    /// A number that stands where the `ordinal`th message of `topic` does; behind the stream's end if there is none.
    fn number(&self, topic: &str, ordinal: u64) -> u64 {
        let index = ordinal.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        let known = self.wait(AHEAD, |read| {
            let told = read.told.get(&(topic.to_owned(), ordinal)).copied();
            told.or_else(|| index.map_or(Some(0), |index| read.topics.get(topic)?.get(index).copied()))
        });
        known.1.unwrap_or((1 << 40) + ordinal)
    }
}

fn stream_of(topic: &str) -> &str {
    topic.split('.').next().unwrap_or_default()
}

/// The positions that one client hears and says.
#[derive(Debug, Clone, Default)]
pub struct Positions {
    log: Option<Arc<Log>>,
    /// The topic that a command was about, by its `id`: Centrifugo's replies do not name it.
    asked: HashMap<String, String>,
}

impl Positions {
    /// Those of the topics that `log` follows.
    pub fn of(log: Arc<Log>) -> Self {
        Self { log: Some(log), asked: HashMap::new() }
    }

    /// What a gateway has sent, in JSON, as a gateway without an engine would have sent it. `topic` is that of positions that name none.
    pub fn heard(&self, text: &str, topic: Option<&str>) -> String {
        let Some(log) = &self.log else { return text.to_owned() };
        let lines = text.split('\n').map(|line| {
            let topic = topic.or_else(|| self.asked.get(&id_of(line)).map(String::as_str));
            let own = [r#""op":"message""#, r#""op":"published""#, r#""pub":{"#].iter().any(|member| line.contains(member));
            let mut offset = 0;
            rewritten(line, topic, |member, topic, number| match member {
                _ if !log.has(topic) => Some(number),
                // PROTOCOL 13: the topic's message before it, 0 if none is known. It stands behind the offset; others have none.
                "prev" => {
                    let prev = if number == 0 { 0 } else { log.ordinal(topic, number, true) };
                    assert!(prev == 0 || prev + 1 == offset, "{prev} is not just before {offset}: {line}");
                    None
                }
                // PROTOCOL 13: a gap names bounds, both included.
                "from" => Some(log.ordinal(topic, number.saturating_sub(1), false) + 1),
                "offset" if own => {
                    offset = log.ordinal(topic, number, true);
                    Some(offset)
                }
                _ => Some(log.ordinal(topic, number, false)),
            })
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The number on the wire of the `ordinal`th message of `topic`, for a test that compares bytes.
    pub fn on_the_wire(&self, topic: &str, ordinal: u64) -> u64 {
        self.log.as_ref().map_or(ordinal, |log| log.number(topic, ordinal))
    }

    /// The event that came with `answer`: behind it; an engine's answer comes with its acknowledgement (PROTOCOL 13), so there before it too.
    #[track_caller]
    pub fn beside(&self, answer: &Value, came: [Value; 2]) -> Value {
        let [first, second] = came;
        let (answered, event) = if self.log.is_some() && first != *answer { (second, first) } else { (first, second) };
        assert_eq!(answered, *answer, "beside {event}");
        event
    }

    /// What a client says, in JSON, as one says it to a gateway with an engine.
    pub fn said(&mut self, text: &str, topic: Option<&str>) -> String {
        let Some(log) = &self.log else { return text.to_owned() };
        let lines = text.split('\n').map(|line| {
            if let Some(topic) = first_topic(line) {
                self.asked.insert(id_of(line), topic.to_owned());
            }
            rewritten(line, topic, |_, topic, number| Some(if log.has(topic) { log.number(topic, number) } else { number }))
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The `id` of a stream of these topics, as [`Positions::heard`].
    pub fn heard_id(&self, topics: &[String], id: &str) -> String {
        self.id(topics, id, |log, topic, number| log.ordinal(topic, number, false))
    }

    /// The `id` of a stream of these topics, as [`Positions::said`].
    pub fn said_id(&self, topics: &[String], id: &str) -> String {
        self.id(topics, id, |log, topic, number| log.number(topic, number))
    }

    fn id(&self, topics: &[String], id: &str, place: impl Fn(&Log, &str, u64) -> u64) -> String {
        let Some(log) = &self.log else { return id.to_owned() };
        let places = id.split(',').enumerate().map(|(index, part)| {
            let known = part.split_once(':').zip(topics.get(index).filter(|topic| log.has(topic)));
            let read = known.and_then(|((epoch, number), topic)| Some((epoch, topic, number.parse().ok()?)));
            read.map_or_else(|| part.to_owned(), |(epoch, topic, number)| format!("{epoch}:{}", place(log, topic, number)))
        });
        places.collect::<Vec<_>>().join(",")
    }

    /// A path with its query, as [`Positions::said`].
    pub fn said_path(&self, path: &str) -> String {
        let Some((place, query)) = path.split_once('?').filter(|_| self.log.is_some()) else { return path.to_owned() };
        let topics = topics_in(path);
        let options = query.split('&').map(|option| match (option.split_once('='), topic_in(place), &self.log) {
            (Some(("last_event_id", id)), ..) => format!("last_event_id={}", self.said_id(&topics, &id.replace("%3A", ":"))),
            (Some(("since", number)), Some(topic), Some(log)) if log.has(topic) => match number.parse() {
                Ok(number) => format!("since={}", log.number(topic, number)),
                Err(_) => option.to_owned(),
            },
            _ => option.to_owned(),
        });
        format!("{place}?{}", options.collect::<Vec<_>>().join("&"))
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

/// The topic that a JSON text names first.
pub fn first_topic(text: &str) -> Option<&str> {
    let starts = [r#""topic":""#, r#""channel":""#, r#""channels":[""#].map(|member| text.find(member).map(|at| at + member.len()));
    text.get(starts.into_iter().flatten().min()?..)?.split('"').next()
}

/// `text` with what `place` makes of each number that is a position: its member, its topic and the number go in, the number that stands
/// there now comes out, or nothing for a member that is left out. All else stays as it was, byte for byte; payloads are not looked into.
fn rewritten(text: &str, topic: Option<&str>, mut place: impl FnMut(&str, &str, u64) -> Option<u64>) -> String {
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
                match place(name, topic, number) {
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

/// Where the string ends that `text` begins with.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// Where the value ends that `text` begins with.
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
