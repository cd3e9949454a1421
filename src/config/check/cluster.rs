//! `[cluster]`, raw to typed.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::cluster::{Cluster, ClusterLogin, ClusterTls, Stream, StreamStorage};
use crate::config::rules::Rules;
use crate::config::tree::{Entry, Raw, Section, refuse_unread};
use crate::topic_name::{Pattern, Scope};

/// The largest number of streams. Each has a connection, a task, and series of the metrics.
const STREAMS_MAX: usize = 64;
/// The default of `retain`: messages that a stream keeps of each topic. It also bounds how far a gateway may lag on the
/// busiest topic.
const RETAIN: u64 = 1_000;

/// Reads `[cluster]`; `None` if it names no server.
pub(super) fn cluster(section: &Section<'_>, rules: &Rules, raw: &Raw) -> Option<Cluster> {
    let urls = section.list("urls", |entry| entry.parsed(url));
    let login = login(section, raw);
    let tls = section.table("tls", |section| tls(section, raw));
    let name = section.parsed("name", String::new(), gateway_name);
    let (publish_inflight, wait) = (section.integer("publish_inflight", 4_096, 1..=1_000_000), ("100ms", "1h"));
    let publish_timeout = section.duration("publish_timeout", Duration::from_secs(5), wait);
    let grace = section.duration("grace", Duration::from_secs(30), ("0s", "1d"));
    let presence_timeout = section.duration("presence_timeout", Duration::from_secs(5), ("2s", "1h"));
    let members_bytes = section.integer("members_bytes", 256 << 20, 1 << 20..=1 << 40);
    let mut streams: Vec<Stream> = Vec::new();
    for stream in section.tables("streams", |section| stream(section, rules)).into_iter().flatten() {
        if let Some(other) = streams.iter().find(|other| Scope::from(other.pattern.clone()).overlaps(&stream.pattern)) {
            let (one, two) = (&other.pattern, &stream.pattern);
            section.add_problem(format_args!(
                "streams: {one} of {} and {two} of {} share topics; a topic is in one stream",
                other.name, stream.name
            ));
        }
        if streams.iter().any(|other| other.name == stream.name) {
            section.add_problem(format_args!("streams: the name {:?} is used twice; use each name once", stream.name));
        }
        streams.push(stream);
    }
    if streams.len() > STREAMS_MAX {
        section.add_problem(format_args!("streams has {} entries, the most is {STREAMS_MAX}; put patterns together", streams.len()));
    }
    if urls.is_empty() && !streams.is_empty() {
        section.add_problem("urls is missing; write the servers that have the streams, as in [\"nats://10.0.0.1:4222\"]");
    }
    let settings = Cluster { urls, login, tls, name, publish_inflight, publish_timeout, grace, presence_timeout, members_bytes, streams };
    (!settings.urls.is_empty()).then_some(settings)
}

fn url(text: &str) -> Result<String, &'static str> {
    const RIGHT: &str = "is not a server; write it as in \"nats://10.0.0.1:4222\", or with tls:// in front, without name and password";
    let address = text.strip_prefix("nats://").or_else(|| text.strip_prefix("tls://")).ok_or(RIGHT)?;
    let plain = !address.is_empty() && !address.contains(|character: char| character.is_whitespace() || "@/?#".contains(character));
    if plain { Ok(text.to_owned()) } else { Err(RIGHT) }
}

/// Reads a gateway's name, which becomes part of NATS subjects.
fn gateway_name(text: &str) -> Result<String, &'static str> {
    is_token(text, 0..=64).then(|| text.to_owned()).ok_or("is not a name; write up to 64 letters, digits, - and _")
}

fn is_token(text: &str, length: RangeInclusive<usize>) -> bool {
    length.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn login(section: &Section<'_>, raw: &Raw) -> ClusterLogin {
    let file = section.path("credentials").and_then(|entry| readable(&entry, raw));
    let user = section.entry("user").and_then(|entry| entry.text()).filter(|user| !user.is_empty());
    let password = section.entry("password").and_then(|entry| entry.text()).filter(|password| !password.is_empty());
    match (file, user, password) {
        (None, None, None) => ClusterLogin::None,
        (Some(file), None, None) => ClusterLogin::Credentials(file),
        (None, Some(user), Some(password)) => ClusterLogin::Password { user: user.to_owned(), password: password.to_owned() },
        (Some(_), ..) => {
            section.add_problem("credentials and user or password are set; write one way to log in");
            ClusterLogin::None
        }
        (None, ..) => {
            section.add_problem("user and password belong together; write both, or credentials = \"file.creds\"");
            ClusterLogin::None
        }
    }
}

fn tls(section: &Section<'_>, raw: &Raw) -> ClusterTls {
    let file = |key| section.path(key).and_then(|entry| readable(&entry, raw));
    let (ca, cert, key) = (file("ca"), file("cert"), file("key"));
    if cert.is_some() != key.is_some() {
        section.add_problem("cert and key belong together; write both for a gateway that shows a certificate, or none");
    }
    ClusterTls { ca, identity: cert.zip(key) }
}

fn readable(entry: &Entry<'_>, raw: &Raw) -> Option<PathBuf> {
    let text = entry.text().filter(|text| !text.is_empty())?;
    let file = raw.resolve(text, entry.origin());
    if let Err(error) = std::fs::File::open(&file) {
        refuse_unread(entry, &file, &error);
    }
    Some(file)
}

fn stream(section: &Section<'_>, rules: &Rules) -> Option<Stream> {
    let name = |text: &str| is_token(text, 1..=64).then(|| text.to_owned()).ok_or("is not a stream's name; write letters, digits, - and _");
    let name = section
        .required("name", section.entry("name"), "write the stream's name at the servers, as in \"QUOTES\"")
        .and_then(|(_, entry)| entry.parsed(name));
    let entry = section.required("match", section.entry("match"), "write the match of the rule whose topics it has, as in \"quotes.>\"");
    let pattern = entry.and_then(|(_, entry)| {
        let pattern = entry.parsed(|text| Pattern::parse(text).map_err(|error| format!("is not a pattern: {error}")))?;
        let rule = rules.iter().find(|rule| rule.pattern.as_ref().is_some_and(|scope| scope.as_str() == pattern.as_str()));
        if let Err(reason) = subject(&pattern) {
            entry.refuse(reason);
        } else if rule.is_none() {
            entry.refuse("is the match of no [[topics]] rule; write one that is, so that the stream knows its history");
        }
        Some((pattern, rule.map_or(Duration::from_secs(3600), |rule| rule.history_ttl)))
    });
    let history = pattern.as_ref().map_or(0, |(pattern, _)| rules.longest_history(pattern) as u64);
    let retain = section.integer("retain", RETAIN.max(history + 1), 1..=10_000_001);
    if retain <= history {
        section.add_problem(format_args!("retain = {retain} is not more than the history of its rules; write {} or more", history + 1));
    }
    let replicas = section.integer("replicas", 3, 1..=5);
    let storage = section.choice("storage", StreamStorage::File, &[("file", StreamStorage::File), ("memory", StreamStorage::Memory)]);
    let max_bytes = section.parsed("max_bytes", 0, bytes);
    let (pattern, max_age) = pattern?;
    Some(Stream { name: name?, pattern, replicas, storage, retain, max_bytes, max_age })
}

/// Checks that a pattern can be a stream's subject. A wildcard at the start would include the servers' own subjects,
/// and NATS has no namespaces.
fn subject(pattern: &Pattern) -> Result<(), &'static str> {
    match pattern.tokens().next() {
        Some("*" | ">") => Err("begins with a wildcard, and would take the servers' own subjects; write a first token, as in \"quotes.>\""),
        Some(first) if first.starts_with('$') => Err("begins with $, as only the servers' and the gateways' own subjects do"),
        Some(first) if first.ends_with(":*") || first.ends_with(":>") => Err("begins with a prefix, which NATS does not know"),
        _ => Ok(()),
    }
}

fn bytes(text: &str) -> Result<u64, &'static str> {
    const RIGHT: &str = "is not a number of bytes; write one in quotes with KiB, MiB or GiB, as in \"4GiB\"";
    let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(RIGHT),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or(RIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!((bytes("4GiB"), bytes("64KiB")), (Ok(4 << 30), Ok(64 << 10)));
        assert!(["", "4", "4GB", "GiB", "-1MiB", "99999999999999GiB"].into_iter().all(|text| bytes(text).is_err()));
    }
}
