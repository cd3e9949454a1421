//! Parses the commands of the native dialect.
//!
//! The object is scanned first, with each member kept as raw text, so that a refusal has the `id` wherever it is. Then the members that the
//! `op` knows are parsed. Unknown members are ignored, so that newer clients can use older gateways. A publish allocates only the name of
//! its topic.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::command::{Command, Refusal, Request, RequestId, Since};
use crate::codes::ErrorCode;
use crate::dialect::bounds::{HISTORY_LIMIT_DEFAULT, HISTORY_LIMIT_MAX, INTERVAL_MS};
use crate::dialect::json::{self, Elements, Members, is_json_text, unescape};
use crate::metrics::CommandOp;
use crate::position::Offset;
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// The most characters of a client's text that a refusal repeats.
const SHOWN_MAX: usize = 64;

/// Parses one command. Duplicate keys of the envelope, members of the wrong type (also `null`), and values with more than 64 levels of
/// nesting are refused. The envelope is not counted as a level, so `data` may be any valid payload.
pub fn request(text: &[u8]) -> Result<Request<'_>, Refusal<'_>> {
    let mut envelope = Envelope::default();
    let collected = envelope.collect(text);
    let (id, op) = (envelope.id(), envelope.op());
    let (known_id, known_op) = (*id.as_ref().unwrap_or(&None), *op.as_ref().unwrap_or(&CommandOp::Other));
    let command = collected.and(id).and(op).and_then(|op| envelope.command(op));
    match command {
        Ok(command) => Ok(Request { id: known_id, command }),
        Err(Fault { code, message }) => Err(Refusal { id: known_id, op: known_op, code, message }),
    }
}

/// The members of one command as raw text.
#[derive(Default)]
struct Envelope<'a> {
    op: Option<&'a str>,
    id: Option<&'a str>,
    topic: Option<&'a str>,
    data: Option<&'a str>,
    echo: Option<&'a str>,
    topics: Option<&'a str>,
    last: Option<&'a str>,
    since: Option<&'a str>,
    interval_ms: Option<&'a str>,
    presence: Option<&'a str>,
    limit: Option<&'a str>,
    token: Option<&'a str>,
    /// Whether `id` came twice, so that no reply can have it.
    id_is_ambiguous: bool,
}

impl<'a> Envelope<'a> {
    /// Collects the members of the command `text`. A duplicate is reported at the end, so that the `id` is found even behind it.
    fn collect(&mut self, text: &'a [u8]) -> Result<(), Fault> {
        let text = std::str::from_utf8(text).map_err(|_| Fault::bad_request("the command is not UTF-8".to_owned()))?;
        let text = text.trim_start_matches([' ', '\t', '\n', '\r']);
        if !text.is_empty() && !text.starts_with('{') {
            let what = if is_json_text(text.as_bytes()) { kind(text) } else { "no JSON" };
            return Err(Fault::bad_request(format!("the command is {what}; it must be a JSON object")));
        }
        let mut duplicate = None;
        let mut unknown = HashSet::new();
        for member in Members::of(text)? {
            let (key, raw) = member?;
            let is_duplicate = match self.slot(&key) {
                Some(slot) => slot.replace(raw).is_some(),
                None => !unknown.insert(key.clone()),
            };
            if is_duplicate {
                self.id_is_ambiguous |= key == "id";
                duplicate.get_or_insert(key);
            }
        }
        match duplicate {
            Some(key) => Err(Fault::bad_request(format!("`{}` is given twice", shown(&key)))),
            None => Ok(()),
        }
    }

    fn slot(&mut self, key: &str) -> Option<&mut Option<&'a str>> {
        Some(match key {
            "op" => &mut self.op,
            "id" => &mut self.id,
            "topic" => &mut self.topic,
            "data" => &mut self.data,
            "echo" => &mut self.echo,
            "topics" => &mut self.topics,
            "last" => &mut self.last,
            "since" => &mut self.since,
            "interval_ms" => &mut self.interval_ms,
            "presence" => &mut self.presence,
            "limit" => &mut self.limit,
            "token" => &mut self.token,
            _ => return None,
        })
    }

    fn id(&self) -> Result<Option<RequestId<'a>>, Fault> {
        match self.id {
            _ if self.id_is_ambiguous => Ok(None),
            None => Ok(None),
            Some(raw) if raw.starts_with('"') || is_integer(raw) => Ok(Some(RequestId(raw))),
            Some(raw) => Err(Fault::wrong("id", raw, "an integer or a string")),
        }
    }

    /// The operation; [`CommandOp::Other`] for one that this gateway doesn't know.
    fn op(&self) -> Result<CommandOp, Fault> {
        let op = text("op", self.op)?;
        Ok(CommandOp::ALL.into_iter().find(|known| known.as_str() == op).unwrap_or(CommandOp::Other))
    }

    fn unknown_op(&self) -> Fault {
        let op = self.op.unwrap_or_default();
        let ops = CommandOp::ALL.into_iter().filter(|known| *known != CommandOp::Other).map(CommandOp::as_str);
        let ops = ops.collect::<Vec<_>>().join(", ");
        Fault { code: ErrorCode::UnknownOp, message: format!("op {} is unknown; the ops are {ops}", shown(op)) }
    }

    fn command(&self, op: CommandOp) -> Result<Command<'a>, Fault> {
        Ok(match op {
            CommandOp::Subscribe => Command::Subscribe {
                topics: patterns(self.topics)?,
                last: self.last.map(|raw| integer("last", raw, 0)).transpose()?.map(size),
                since: self.since.map_or(Ok(Vec::new()), since)?,
                interval: self.interval_ms.map(interval).transpose()?,
                presence: boolean("presence", self.presence, false)?,
            },
            CommandOp::Unsubscribe => Command::Unsubscribe { topics: patterns(self.topics)? },
            CommandOp::Publish => Command::Publish {
                topic: topic(self.topic)?,
                data: self.data.ok_or_else(|| Fault::missing("data", "any JSON value"))?.as_bytes(),
                echo: boolean("echo", self.echo, true)?,
            },
            CommandOp::History => Command::History {
                topic: topic(self.topic)?,
                since: self.since.map(|raw| integer("since", raw, 0)).transpose()?.map(Offset::clamped),
                limit: match self.limit {
                    Some(raw) => size(integer("limit", raw, 1)?).min(HISTORY_LIMIT_MAX),
                    None => HISTORY_LIMIT_DEFAULT,
                },
            },
            CommandOp::Presence => Command::Presence { topic: topic(self.topic)? },
            CommandOp::Auth => Command::Auth { token: text("token", self.token)? },
            CommandOp::Subscriptions => Command::Subscriptions,
            CommandOp::Ping => Command::Ping,
            CommandOp::Other => return Err(self.unknown_op()),
        })
    }
}

/// The fault of a command, without its `id`.
struct Fault {
    code: ErrorCode,
    message: String,
}

impl Fault {
    fn bad_request(message: String) -> Self {
        Self { code: ErrorCode::BadRequest, message }
    }

    /// The fault of a member whose value is `raw` and should be `right`.
    fn wrong(member: &str, raw: &str, right: &str) -> Self {
        Self::bad_request(format!("`{member}` is {}; it must be {right}", kind(raw)))
    }

    fn outside(member: &str, raw: &str, right: &str) -> Self {
        Self::bad_request(format!("`{member}` is {}; it must be {right}", shown(raw)))
    }

    fn missing(member: &str, right: &str) -> Self {
        Self::bad_request(format!("`{member}` is missing; it must be {right}"))
    }
}

impl From<TopicNameError> for Fault {
    fn from(error: TopicNameError) -> Self {
        Self { code: error.code(), message: error.to_string() }
    }
}

impl From<json::Fault> for Fault {
    fn from(fault: json::Fault) -> Self {
        Self::bad_request(format!("the command can't be read as JSON: {fault}"))
    }
}

fn topic(raw: Option<&str>) -> Result<TopicName, Fault> {
    Ok(TopicName::parse(&text("topic", raw)?)?)
}

fn patterns(raw: Option<&str>) -> Result<Vec<Result<Pattern, TopicNameError>>, Fault> {
    const RIGHT: &str = "a list of one or more topics or patterns";
    let raw = raw.ok_or_else(|| Fault::missing("topics", RIGHT))?;
    if !raw.starts_with('[') {
        return Err(Fault::wrong("topics", raw, RIGHT));
    }
    let mut patterns = Vec::new();
    for (index, element) in Elements::of(raw)?.enumerate() {
        patterns.push(Pattern::parse(&text(&format!("topics[{index}]"), Some(element?))?));
    }
    if patterns.is_empty() { Err(Fault::bad_request(format!("`topics` is empty; it must be {RIGHT}"))) } else { Ok(patterns) }
}

/// Parses the `since` of a subscribe. An invalid topic name refuses the command, because the gateway never sends one.
fn since(raw: &str) -> Result<Vec<Since<'_>>, Fault> {
    if !raw.starts_with('{') {
        return Err(Fault::wrong("since", raw, "an object of topics, each with `epoch` and `offset`"));
    }
    let mut topics = Vec::new();
    let mut seen = HashSet::new();
    for member in Members::of(raw)? {
        let (key, raw) = member?;
        let topic = TopicName::parse(&key).map_err(|error| Fault::bad_request(format!("`since`: {error}")))?;
        if !seen.insert(topic.clone()) {
            return Err(Fault::bad_request(format!("`since` names {topic} twice")));
        }
        topics.push(since_one(topic, raw)?);
    }
    Ok(topics)
}

fn since_one(topic: TopicName, raw: &str) -> Result<Since<'_>, Fault> {
    let name = |member: &str| format!("since.{topic}{member}");
    if !raw.starts_with('{') {
        return Err(Fault::wrong(&name(""), raw, "an object with `epoch` and `offset`"));
    }
    let (mut epoch, mut offset) = (None, None);
    for member in Members::of(raw)? {
        let (key, raw) = member?;
        let slot = match &*key {
            "epoch" => &mut epoch,
            "offset" => &mut offset,
            _ => continue,
        };
        if slot.replace(raw).is_some() {
            return Err(Fault::bad_request(format!("`{}.{key}` is given twice", name(""))));
        }
    }
    let epoch = text(&name(".epoch"), epoch)?;
    let offset = offset.ok_or_else(|| Fault::missing(&name(".offset"), "an integer of 0 or more"))?;
    let offset = Offset::clamped(integer(&name(".offset"), offset, 0)?);
    Ok(Since { topic, epoch, offset })
}

fn interval(raw: &str) -> Result<Duration, Fault> {
    let right = || format!("an integer from {} to {}", INTERVAL_MS.start(), INTERVAL_MS.end());
    integer_in(INTERVAL_MS, "interval_ms", raw, right).map(Duration::from_millis)
}

/// Parses an integer of at least `min`.
fn integer(member: &str, raw: &str, min: u64) -> Result<u64, Fault> {
    integer_in(min..=u64::MAX, member, raw, || format!("an integer of {min} or more"))
}

/// Parses an integer of `range`. An integer that a `u64` can't hold counts as the largest that it can. `right` describes the range.
fn integer_in(range: RangeInclusive<u64>, member: &str, raw: &str, right: impl FnOnce() -> String) -> Result<u64, Fault> {
    if !is_integer(raw) {
        return Err(Fault::wrong(member, raw, &right()));
    }
    let value = match raw.strip_prefix('-') {
        Some("0") => Some(0),
        Some(_) => None,
        None => Some(raw.parse().unwrap_or(u64::MAX)),
    };
    value.filter(|value| range.contains(value)).ok_or_else(|| Fault::outside(member, raw, &right()))
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn boolean(member: &str, raw: Option<&str>, default: bool) -> Result<bool, Fault> {
    match raw {
        None => Ok(default),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(raw) => Err(Fault::wrong(member, raw, "true or false")),
    }
}

fn text<'a>(member: &str, raw: Option<&'a str>) -> Result<Cow<'a, str>, Fault> {
    let raw = raw.ok_or_else(|| Fault::missing(member, "a string"))?;
    if !raw.starts_with('"') {
        return Err(Fault::wrong(member, raw, "a string"));
    }
    unescape(raw).ok_or_else(|| Fault::bad_request(format!("`{member}` holds half a surrogate pair, which is no character")))
}

/// Whether a raw value is a number without fraction or exponent.
fn is_integer(raw: &str) -> bool {
    raw.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit())
}

/// The type of a raw value, for an error.
fn kind(raw: &str) -> &'static str {
    match raw.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        Some(b'-' | b'0'..=b'9') if is_integer(raw) => "an integer",
        Some(b'-' | b'0'..=b'9') => "a number with a fraction or an exponent",
        _ => "no JSON",
    }
}

/// The beginning of a client's text, so that an error stays short.
fn shown(sent: &str) -> &str {
    sent.char_indices().nth(SHOWN_MAX).map_or(sent, |(end, _)| &sent[..end])
}

#[cfg(test)]
mod tests;
