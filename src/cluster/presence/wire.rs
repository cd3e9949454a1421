//! The messages in which gateways exchange their members: JSON over core NATS.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::hub::PresenceChange;
use crate::session_id::{Member, MemberInfo, SessionId};
use crate::topic_name::TopicName;

/// Identifies a member of a gateway: its topic and its session. Lists of members are in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberKey {
    topic: TopicName,
    session: u64,
}

impl MemberKey {
    /// The key of the member in `change`.
    pub fn of(change: &PresenceChange) -> Self {
        Self { topic: change.topic.clone(), session: change.member.session.number() }
    }
}

/// A message to all other gateways. Each gateway numbers its changes.
#[derive(Debug)]
pub enum Announcement {
    /// The gateway runs.
    Heartbeat {
        /// The number of the last change that was announced.
        n: u64,
        /// The number of members after that change. `None`: there are newer changes.
        members: Option<u64>,
        /// The gateway's `cluster.name`.
        name: Box<str>,
    },
    /// Changes with consecutive numbers.
    Changes {
        /// The number before that of the first change.
        after: u64,
        /// The changes.
        changes: Vec<Arc<PresenceChange>>,
    },
    /// The gateway stops, and has no members any more.
    Leaving,
}

/// A request to one gateway for a part of its members.
#[derive(Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The part begins after this member. `None`: at the first.
    pub after: Option<MemberKey>,
}

/// A part of a gateway's members.
#[derive(Debug)]
pub struct Page {
    /// The part begins after this member, as the request said.
    pub after: Option<MemberKey>,
    /// The number of the newest change that the page includes.
    pub n: u64,
    /// The members, as joins, in the order of their keys.
    pub members: Vec<Arc<PresenceChange>>,
    /// Whether there are more members after the last.
    pub more: bool,
}

/// Why a message can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// The JSON has another form.
    #[error("not what gateways say: {0}")]
    Json(#[from] serde_json::Error),
    /// A text is no name of a topic or no id of a session.
    #[error("{0:?} is no topic or session")]
    Name(String),
}

/// A change. The keys are short because there are many.
#[derive(Serialize, Deserialize)]
struct JsonChange<'a> {
    #[serde(rename = "t", borrow)]
    topic: Cow<'a, str>,
    #[serde(rename = "s")]
    session: Cow<'a, str>,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
    #[serde(rename = "i", borrow, default, skip_serializing_if = "Option::is_none")]
    session_info: Option<&'a RawValue>,
    #[serde(rename = "j", borrow, default, skip_serializing_if = "Option::is_none")]
    topic_info: Option<&'a RawValue>,
    #[serde(rename = "l", default, skip_serializing_if = "std::ops::Not::not")]
    left: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message<'a> {
    Beat {
        n: u64,
        members: Option<u64>,
        #[serde(borrow)]
        name: Cow<'a, str>,
    },
    Changes {
        after: u64,
        #[serde(borrow)]
        changes: Vec<JsonChange<'a>>,
    },
    Bye {},
}

#[derive(Serialize, Deserialize)]
struct JsonMemberKey<'a> {
    #[serde(rename = "t", borrow)]
    topic: Cow<'a, str>,
    #[serde(rename = "s")]
    session: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct JsonPageRequest<'a> {
    #[serde(borrow)]
    after: Option<JsonMemberKey<'a>>,
}

#[derive(Deserialize)]
struct JsonPage<'a> {
    #[serde(borrow)]
    after: Option<JsonMemberKey<'a>>,
    n: u64,
    #[serde(borrow)]
    members: Vec<JsonChange<'a>>,
    more: bool,
}

impl Announcement {
    /// Reads an announcement.
    pub fn read(text: &[u8]) -> Result<Self, Malformed> {
        Ok(match serde_json::from_slice(text)? {
            Message::Beat { n, members, name } => Self::Heartbeat { n, members, name: name.into() },
            Message::Changes { after, changes } => Self::Changes { after, changes: read_changes(changes)? },
            Message::Bye {} => Self::Leaving,
        })
    }
}

impl PageRequest {
    /// Reads a request.
    pub fn read(text: &[u8]) -> Result<Self, Malformed> {
        let JsonPageRequest { after } = serde_json::from_slice(text)?;
        Ok(Self { after: after.map(read_key).transpose()? })
    }
}

impl Page {
    /// Reads a page.
    pub fn read(text: &[u8]) -> Result<Self, Malformed> {
        let JsonPage { after, n, members, more } = serde_json::from_slice(text)?;
        Ok(Self { after: after.map(read_key).transpose()?, n, members: read_changes(members)?, more })
    }
}

/// Writes a heartbeat.
pub fn heartbeat(n: u64, members: Option<u64>, name: &str) -> Vec<u8> {
    to_json(&Message::Beat { n, members, name: name.into() })
}

/// Writes that the gateway leaves.
pub fn leaving() -> Vec<u8> {
    to_json(&Message::Bye {})
}

/// Writes a request for the members after `after`.
pub fn page_request(after: Option<&MemberKey>) -> Vec<u8> {
    to_json(&JsonPageRequest { after: after.map(write_key) })
}

/// Writes as many of `changes` as fit into `most` bytes, the first with the number `after + 1`. Returns the number of written changes. If the
/// first change alone is longer, it is written without the `info` of the tokens.
pub fn changes<'a>(after: u64, changes: impl IntoIterator<Item = &'a Arc<PresenceChange>>, most: usize) -> (Vec<u8>, usize) {
    packed(format!("{{\"changes\":{{\"after\":{after},\"changes\":["), "]}}", changes, most)
}

/// Writes a page of the members after `after`, which includes the changes up to `n`: as many of `members` as fit into `most` bytes. `more` is
/// given their number, and says whether there are more members after them.
pub fn page<'a>(
    after: Option<&MemberKey>,
    n: u64,
    members: impl IntoIterator<Item = &'a Arc<PresenceChange>>,
    most: usize,
    more: impl FnOnce(usize) -> bool,
) -> Vec<u8> {
    let after = serde_json::to_string(&after.map(write_key)).unwrap_or_else(|_| "null".to_owned());
    let (mut text, count) = packed(format!("{{\"after\":{after},\"n\":{n},\"members\":["), "],\"more\":", members, most);
    text.extend_from_slice(if more(count) { b"true}" } else { b"false}" });
    text
}

fn packed<'a>(before: String, behind: &str, changes: impl IntoIterator<Item = &'a Arc<PresenceChange>>, most: usize) -> (Vec<u8>, usize) {
    let (mut text, mut count) = (before.into_bytes(), 0);
    for change in changes {
        let mut one = to_json(&write_change(change, true));
        if text.len() + one.len() > most {
            if count > 0 {
                break;
            }
            one = to_json(&write_change(change, false));
        }
        if count > 0 {
            text.push(b',');
        }
        text.extend_from_slice(&one);
        count += 1;
    }
    text.extend_from_slice(behind.as_bytes());
    (text, count)
}

fn to_json(what: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(what).unwrap_or_default() // strings, numbers and JSON texts can be written
}

fn write_key(key: &MemberKey) -> JsonMemberKey<'_> {
    JsonMemberKey { topic: key.topic.as_str().into(), session: SessionId::from_number(key.session).to_string().into() }
}

fn read_key(key: JsonMemberKey<'_>) -> Result<MemberKey, Malformed> {
    Ok(MemberKey { topic: topic(&key.topic)?, session: session(&key.session)?.number() })
}

fn write_change(change: &PresenceChange, with_info: bool) -> JsonChange<'_> {
    let Member { session, user, info } = &change.member;
    let info = info.as_ref().filter(|_| with_info);
    JsonChange {
        topic: change.topic.as_str().into(),
        session: session.to_string().into(),
        user: user.as_deref().map(Cow::from),
        session_info: info.and_then(|info| info.session.as_deref()).and_then(as_json),
        topic_info: info.and_then(|info| info.topic.as_deref()).and_then(as_json),
        left: !change.joined,
    }
}

fn as_json(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}

fn read_changes(changes: Vec<JsonChange<'_>>) -> Result<Vec<Arc<PresenceChange>>, Malformed> {
    changes.into_iter().map(read_change).collect()
}

fn read_change(change: JsonChange<'_>) -> Result<Arc<PresenceChange>, Malformed> {
    let text = |text: Option<&RawValue>| text.map(|text| text.get().into());
    let JsonChange { session_info, topic_info, .. } = change;
    let has_info = session_info.is_some() || topic_info.is_some();
    let info = has_info.then(|| Arc::new(MemberInfo { session: text(session_info), topic: text(topic_info) }));
    let member = Member { session: session(&change.session)?, user: change.user.map(|user| user.as_ref().into()), info };
    Ok(Arc::new(PresenceChange { topic: topic(&change.topic)?, member, joined: !change.left }))
}

fn topic(text: &str) -> Result<TopicName, Malformed> {
    TopicName::parse(text).map_err(|_| Malformed::Name(text.to_owned()))
}

fn session(text: &str) -> Result<SessionId, Malformed> {
    text.parse().map_err(|_| Malformed::Name(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(session: u64, user: Option<&str>, info: Option<&str>, joined: bool) -> Arc<PresenceChange> {
        let info = info.map(|info| Arc::new(MemberInfo { session: Some(info.into()), topic: None }));
        let member = Member { session: SessionId::from_number(session), user: user.map(Into::into), info };
        Arc::new(PresenceChange { topic: TopicName::parse("chat.群").unwrap(), member, joined })
    }

    /// A gateway reads the changes of another exactly as they were written.
    #[test]
    fn changes_are_read_as_they_were_written() {
        let told =
            [change(1, None, None, true), change(2, Some("o\"'\u{1}"), Some("{\"a\" :1.50}"), true), change(3, Some(""), None, false)];
        let (text, count) = changes(7, &told, 1 << 20);
        let Announcement::Changes { after, changes } = Announcement::read(&text).unwrap() else { panic!("no changes") };
        assert_eq!((after, count, &changes[..]), (7, 3, &told[..]));
        let page_text = page(Some(&MemberKey::of(&told[0])), 9, &told[1..2], 1 << 20, |count| count < 2);
        let Page { after, n, members, more } = Page::read(&page_text).unwrap();
        assert_eq!((after, n, &members[..], more), (Some(MemberKey::of(&told[0])), 9, &told[1..2], true));
        assert_eq!(PageRequest::read(&page_request(Some(&MemberKey::of(&told[1])))).unwrap().after, Some(MemberKey::of(&told[1])));
        assert!(
            matches!(Announcement::read(&heartbeat(3, None, "one")).unwrap(), Announcement::Heartbeat { n: 3, members: None, name } if &*name == "one")
        );
        assert!(matches!(Announcement::read(&leaving()).unwrap(), Announcement::Leaving));
    }

    /// A message is no longer than the servers take. A member that alone is longer is written without the `info` of its tokens.
    #[test]
    fn messages_are_bounded() {
        let long = format!("\"{}\"", "x".repeat(3_000));
        let told = [change(1, Some("a"), Some(&long), true), change(2, Some("b"), None, true)];
        let (text, count) = changes(0, &told, 1_000);
        assert!(text.len() <= 1_000 && count == 2, "{count} in {}", text.len());
        let Announcement::Changes { changes, .. } = Announcement::read(&text).unwrap() else { panic!("no changes") };
        assert_eq!((changes[0].member.info.as_ref(), changes[0].member.user.as_deref()), (None, Some("a")));
        let many: Vec<_> = (0..100).map(|number| change(number, None, None, true)).collect();
        let (text, count) = super::changes(0, &many, 1_000);
        assert!(text.len() <= 1_000 && (5..100).contains(&count), "{count} in {}", text.len());
    }

    #[test]
    fn other_messages_are_refused() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"changes":{"after":0,"changes":[{"t":"a..b","s":"0000000000000001"}]}}"#,
            r#"{"changes":{"after":0,"changes":[{"t":"a","s":"1"}]}}"#,
            r#"{"beat":{"n":-1,"members":null,"name":""}}"#,
        ] {
            assert!(Announcement::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
