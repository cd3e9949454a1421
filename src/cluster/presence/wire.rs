//! The messages in which gateways exchange their members: JSON over core NATS.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::hub::PresenceChange;
use crate::session_id::{Member, MemberInfo, SessionId};
use crate::topic_name::TopicName;

/// Identifies a member of a gateway: its topic and its session. Lists of members are in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemberKey {
    #[serde(rename = "t", with = "text")]
    topic: TopicName,
    #[serde(rename = "s", with = "text")]
    session: SessionId,
}

impl MemberKey {
    /// The key of the member in `change`.
    pub fn of(change: &PresenceChange) -> Self {
        Self { topic: change.topic.clone(), session: change.member.session }
    }
}

/// A message to all other gateways. Each gateway numbers its changes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Announcement {
    /// The gateway runs.
    #[serde(rename = "beat")]
    Heartbeat {
        /// The number of the last change that was announced.
        #[serde(rename = "n")]
        newest: u64,
        /// The number of members after that change. `None`: there are newer changes.
        members: Option<u64>,
        /// The gateway's `cluster.name`.
        name: Box<str>,
    },
    /// Changes with consecutive numbers, which [`changes`] writes.
    #[serde(skip_serializing)]
    Changes {
        /// The number before that of the first change.
        after: u64,
        /// The changes.
        #[serde(deserialize_with = "read_changes")]
        changes: Vec<Arc<PresenceChange>>,
    },
    /// The gateway stops, and has no members any more.
    #[serde(rename = "bye")]
    Leaving {},
}

/// A request to one gateway for a part of its members.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRequest {
    /// The part begins after this member. `None`: at the first.
    pub after: Option<MemberKey>,
}

/// A part of a gateway's members, which [`page`] writes.
#[derive(Debug, Deserialize)]
pub struct Page {
    /// The part begins after this member, as requested.
    pub after: Option<MemberKey>,
    /// The number of the newest change that the page includes.
    #[serde(rename = "n")]
    pub newest: u64,
    /// The members, as joins, in the order of their keys.
    #[serde(deserialize_with = "read_changes")]
    pub members: Vec<Arc<PresenceChange>>,
    /// Whether there are more members after the last.
    pub more: bool,
}

/// A change. The keys are short because there are many.
#[derive(Serialize, Deserialize)]
struct JsonChange<'a> {
    #[serde(rename = "t", with = "text")]
    topic: TopicName,
    #[serde(rename = "s", with = "text")]
    session: SessionId,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
    #[serde(rename = "i", borrow, default, skip_serializing_if = "Option::is_none")]
    session_info: Option<&'a RawValue>,
    #[serde(rename = "j", borrow, default, skip_serializing_if = "Option::is_none")]
    topic_info: Option<&'a RawValue>,
    #[serde(rename = "l", default, skip_serializing_if = "std::ops::Not::not")]
    left: bool,
}

/// Values that are written as text.
mod text {
    use std::borrow::Cow;
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Writes as many of `changes` as fit into `most` bytes, the first with the number `after + 1`. Returns the number of
/// written changes. If the first change alone is longer, it is written without the `info` of the tokens.
pub fn changes<'a>(after: u64, changes: impl IntoIterator<Item = &'a Arc<PresenceChange>>, most: usize) -> (Vec<u8>, usize) {
    packed(format!("{{\"changes\":{{\"after\":{after},\"changes\":["), "]}}", changes, most)
}

/// Writes a page of the members after `after`, which includes the changes up to `newest`: as many of `members` as fit into
/// `most` bytes. `more` is given their number, and says whether there are more members after them.
pub fn page<'a>(
    after: Option<&MemberKey>,
    newest: u64,
    members: impl IntoIterator<Item = &'a Arc<PresenceChange>>,
    most: usize,
    more: impl FnOnce(usize) -> bool,
) -> Vec<u8> {
    let after = serde_json::to_string(&after).unwrap_or_else(|_| "null".to_owned());
    let (mut text, count) = packed(format!("{{\"after\":{after},\"n\":{newest},\"members\":["), "],\"more\":", members, most);
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

/// Writes a message that [`changes`] and [`page`] do not write.
pub fn to_json(what: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(what).unwrap_or_default() // strings, numbers and JSON texts can be written
}

fn write_change(change: &PresenceChange, with_info: bool) -> JsonChange<'_> {
    let Member { session, user, info } = &change.member;
    let info = info.as_ref().filter(|_| with_info);
    JsonChange {
        topic: change.topic.clone(),
        session: *session,
        user: user.as_deref().map(Cow::from),
        session_info: info.and_then(|info| info.session.as_deref()).and_then(as_json),
        topic_info: info.and_then(|info| info.topic.as_deref()).and_then(as_json),
        left: !change.joined,
    }
}

fn as_json(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}

fn read_changes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Arc<PresenceChange>>, D::Error> {
    Ok(Vec::<JsonChange<'de>>::deserialize(deserializer)?.into_iter().map(|change| Arc::new(read_change(change))).collect())
}

fn read_change(JsonChange { topic, session, user, session_info, topic_info, left }: JsonChange<'_>) -> PresenceChange {
    let info = MemberInfo::of(session_info.map(RawValue::get), topic_info.map(RawValue::get));
    PresenceChange { topic, member: Member { session, user: user.as_deref().map(Into::into), info }, joined: !left }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(session: u64, user: Option<&str>, info: Option<&str>, joined: bool) -> Arc<PresenceChange> {
        let member = Member { session: SessionId::from_number(session), user: user.map(Into::into), info: MemberInfo::of(info, None) };
        Arc::new(PresenceChange { topic: TopicName::parse("chat.群").unwrap(), member, joined })
    }

    /// A gateway reads the changes that another has written.
    #[test]
    fn changes_round_trip() {
        let sent =
            [change(1, None, None, true), change(2, Some("o\"'\u{1}"), Some("{\"a\" :1.50}"), true), change(3, Some(""), None, false)];
        let (text, count) = changes(7, &sent, 1 << 20);
        let Announcement::Changes { after, changes } = serde_json::from_slice(&text).unwrap() else { panic!("no changes") };
        assert_eq!((after, count, &changes[..]), (7, 3, &sent[..]));
        let page_text = page(Some(&MemberKey::of(&sent[0])), 9, &sent[1..2], 1 << 20, |count| count < 2);
        let Page { after, newest, members, more } = serde_json::from_slice(&page_text).unwrap();
        assert_eq!((after, newest, &members[..], more), (Some(MemberKey::of(&sent[0])), 9, &sent[1..2], true));
        let request = PageRequest { after: Some(MemberKey::of(&sent[1])) };
        assert_eq!(serde_json::from_slice::<PageRequest>(&to_json(&request)).unwrap(), request);
    }

    /// A message is no longer than the servers take. A member that alone is longer is written without the `info` of its
    /// tokens.
    #[test]
    fn messages_are_bounded() {
        let long = format!("\"{}\"", "x".repeat(3_000));
        let sent = [change(1, Some("a"), Some(&long), true), change(2, Some("b"), None, true)];
        let (text, count) = changes(0, &sent, 1_000);
        assert!(text.len() <= 1_000 && count == 2, "{count} in {}", text.len());
        let Announcement::Changes { changes, .. } = serde_json::from_slice(&text).unwrap() else { panic!("no changes") };
        assert_eq!((changes[0].member.info.as_ref(), changes[0].member.user.as_deref()), (None, Some("a")));
        let many: Vec<_> = (0..100).map(|number| change(number, None, None, true)).collect();
        let (text, count) = super::changes(0, &many, 1_000);
        assert!(text.len() <= 1_000 && (5..100).contains(&count), "{count} in {}", text.len());
    }

    /// The JSON is that of earlier versions, which may run at other gateways.
    #[test]
    fn messages_keep_their_form() {
        let text = |what: &Announcement| String::from_utf8(to_json(what)).unwrap();
        let heartbeat = Announcement::Heartbeat { newest: 3, members: None, name: "one".into() };
        assert_eq!(text(&heartbeat), r#"{"beat":{"n":3,"members":null,"name":"one"}}"#);
        assert_eq!(text(&Announcement::Leaving {}), r#"{"bye":{}}"#);
        let [left, joined] = [false, true].map(|joined| change(1, Some("ann"), Some("{}"), joined));
        let written = String::from_utf8(changes(7, [&left], 1_000).0).unwrap();
        let member = r#""t":"chat.群","s":"0000000000000001","u":"ann","i":{}"#;
        assert_eq!(written, format!(r#"{{"changes":{{"after":7,"changes":[{{{member},"l":true}}]}}}}"#));
        let written = String::from_utf8(page(Some(&MemberKey::of(&left)), 9, [&joined], 1_000, |_| true)).unwrap();
        let after = r#"{"t":"chat.群","s":"0000000000000001"}"#;
        assert_eq!(written, format!(r#"{{"after":{after},"n":9,"members":[{{{member}}}],"more":true}}"#));
        assert!(matches!(serde_json::from_str(&text(&Announcement::Leaving {})).unwrap(), Announcement::Leaving {}));
        assert!(
            matches!(serde_json::from_str(&text(&heartbeat)).unwrap(), Announcement::Heartbeat { newest: 3, members: None, name } if &*name == "one")
        );
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
            assert!(serde_json::from_str::<Announcement>(text).is_err(), "{text}");
        }
    }
}
