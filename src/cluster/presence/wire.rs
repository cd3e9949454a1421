//! What gateways say to each other of their members: JSON over core NATS.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::hub::PresenceChange;
use crate::session_id::{Member, MemberInfo, SessionId};
use crate::topic_name::TopicName;

/// One life of a gateway: 64 random bits, shown as 16 hexadecimal digits. A gateway that starts anew is another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GatewayId(u64);

impl GatewayId {
    /// A name that nobody had before.
    pub fn random() -> Self {
        Self(rand::rng().random())
    }

    /// The name in a token of a subject.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A member's place in a gateway's list: its topic and its session. The list is in their order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat {
    topic: TopicName,
    session: u64,
}

impl Seat {
    /// The place of the member that `change` is about.
    pub fn of(change: &PresenceChange) -> Self {
        Self { topic: change.topic.clone(), session: change.member.session.number() }
    }
}

/// What a gateway tells all others. `n` counts its changes.
#[derive(Debug)]
pub enum Said {
    /// It lives, has told `n` changes, and has so many members, where it knows that of these changes alone.
    Beat {
        /// Changes that were told.
        n: u64,
        /// Members behind them.
        members: Option<u64>,
        /// What its operator calls it.
        name: Box<str>,
    },
    /// Changes, the first with the number `after + 1`.
    Changes {
        /// The number before the first.
        after: u64,
        /// The changes.
        changes: Vec<Arc<PresenceChange>>,
    },
    /// It ends, and has no members any more.
    Bye,
}

/// Asks one gateway for its members.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// The members behind this one; `None`: from the first on.
    pub after: Option<Seat>,
}

/// A part of a gateway's members.
#[derive(Debug)]
pub struct Page {
    /// Behind which member it begins, as was asked.
    pub after: Option<Seat>,
    /// The number of the newest change that it has in it.
    pub n: u64,
    /// The members, as joins, in the order of their seats.
    pub members: Vec<Arc<PresenceChange>>,
    /// Whether there are more behind the last.
    pub more: bool,
}

/// What can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is no such JSON.
    #[error("not what gateways say: {0}")]
    Json(#[from] serde_json::Error),
    /// A topic or a session is none.
    #[error("{0:?} is no topic or session")]
    Name(String),
}

/// A change as it is written; `t`, `s`, `u`: its topic, session and user; `i`, `j`: its tokens' words; `l`: it left.
#[derive(Serialize, Deserialize)]
struct WrittenChange<'a> {
    #[serde(borrow)]
    t: Cow<'a, str>,
    s: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    u: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    i: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    j: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    l: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Written<'a> {
    Beat {
        n: u64,
        members: Option<u64>,
        #[serde(borrow)]
        name: Cow<'a, str>,
    },
    Changes {
        after: u64,
        #[serde(borrow)]
        changes: Vec<WrittenChange<'a>>,
    },
    Bye {},
}

#[derive(Serialize, Deserialize)]
struct WrittenSeat<'a> {
    #[serde(borrow)]
    t: Cow<'a, str>,
    s: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct WrittenAsked<'a> {
    #[serde(borrow)]
    after: Option<WrittenSeat<'a>>,
}

#[derive(Deserialize)]
struct WrittenPage<'a> {
    #[serde(borrow)]
    after: Option<WrittenSeat<'a>>,
    n: u64,
    #[serde(borrow)]
    members: Vec<WrittenChange<'a>>,
    more: bool,
}

impl Said {
    /// Reads what a gateway said.
    pub fn read(text: &[u8]) -> Result<Self, Unreadable> {
        Ok(match serde_json::from_slice(text)? {
            Written::Beat { n, members, name } => Self::Beat { n, members, name: name.into() },
            Written::Changes { after, changes } => Self::Changes { after, changes: read_changes(changes)? },
            Written::Bye {} => Self::Bye,
        })
    }
}

impl Asked {
    /// Reads a question.
    pub fn read(text: &[u8]) -> Result<Self, Unreadable> {
        let WrittenAsked { after } = serde_json::from_slice(text)?;
        Ok(Self { after: after.map(read_seat).transpose()? })
    }
}

impl Page {
    /// Reads an answer.
    pub fn read(text: &[u8]) -> Result<Self, Unreadable> {
        let WrittenPage { after, n, members, more } = serde_json::from_slice(text)?;
        Ok(Self { after: after.map(read_seat).transpose()?, n, members: read_changes(members)?, more })
    }
}

/// A sign of life.
pub fn beat(n: u64, members: Option<u64>, name: &str) -> Vec<u8> {
    written(&Written::Beat { n, members, name: name.into() })
}

/// A farewell.
pub fn bye() -> Vec<u8> {
    written(&Written::Bye {})
}

/// A question for the members behind `after`.
pub fn ask(after: Option<&Seat>) -> Vec<u8> {
    written(&WrittenAsked { after: after.map(write_seat) })
}

/// As many of `changes` as `most` bytes have room for, the first with the number `after + 1`; and how many these are. A first one that is
/// longer goes without what its tokens say beside the user.
pub fn changes<'a>(after: u64, changes: impl IntoIterator<Item = &'a Arc<PresenceChange>>, most: usize) -> (Vec<u8>, usize) {
    packed(format!("{{\"changes\":{{\"after\":{after},\"changes\":["), "]}}", changes, most)
}

/// A part of the members behind `after`, as they are after change `n`: as many of `members` as `most` bytes have room for, and how many
/// these are. `more` says whether there are more behind so many.
pub fn page<'a>(
    after: Option<&Seat>,
    n: u64,
    members: impl IntoIterator<Item = &'a Arc<PresenceChange>>,
    most: usize,
    more: impl FnOnce(usize) -> bool,
) -> Vec<u8> {
    let after = serde_json::to_string(&after.map(write_seat)).unwrap_or_else(|_| "null".to_owned());
    let (mut text, count) = packed(format!("{{\"after\":{after},\"n\":{n},\"members\":["), "],\"more\":", members, most);
    text.extend_from_slice(if more(count) { b"true}" } else { b"false}" });
    text
}

fn packed<'a>(before: String, behind: &str, changes: impl IntoIterator<Item = &'a Arc<PresenceChange>>, most: usize) -> (Vec<u8>, usize) {
    let (mut text, mut count) = (before.into_bytes(), 0);
    for change in changes {
        let mut one = written(&write_change(change, true));
        if text.len() + one.len() > most {
            if count > 0 {
                break;
            }
            one = written(&write_change(change, false));
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

fn written(what: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(what).unwrap_or_default() // strings, numbers and JSON texts can be written
}

fn write_seat(seat: &Seat) -> WrittenSeat<'_> {
    WrittenSeat { t: seat.topic.as_str().into(), s: SessionId::from_number(seat.session).to_string().into() }
}

fn read_seat(WrittenSeat { t, s }: WrittenSeat<'_>) -> Result<Seat, Unreadable> {
    Ok(Seat { topic: topic(&t)?, session: session(&s)?.number() })
}

fn write_change(change: &PresenceChange, with_info: bool) -> WrittenChange<'_> {
    let Member { session, user, info } = &change.member;
    let info = info.as_ref().filter(|_| with_info);
    WrittenChange {
        t: change.topic.as_str().into(),
        s: session.to_string().into(),
        u: user.as_deref().map(Cow::from),
        i: info.and_then(|info| info.session.as_deref()).and_then(as_json),
        j: info.and_then(|info| info.topic.as_deref()).and_then(as_json),
        l: !change.joined,
    }
}

fn as_json(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}

fn read_changes(changes: Vec<WrittenChange<'_>>) -> Result<Vec<Arc<PresenceChange>>, Unreadable> {
    changes.into_iter().map(read_change).collect()
}

fn read_change(change: WrittenChange<'_>) -> Result<Arc<PresenceChange>, Unreadable> {
    let text = |text: Option<&RawValue>| text.map(|text| text.get().into());
    let info = (change.i.is_some() || change.j.is_some()).then(|| Arc::new(MemberInfo { session: text(change.i), topic: text(change.j) }));
    let member = Member { session: session(&change.s)?, user: change.u.map(|user| user.as_ref().into()), info };
    Ok(Arc::new(PresenceChange { topic: topic(&change.t)?, member, joined: !change.l }))
}

fn topic(text: &str) -> Result<TopicName, Unreadable> {
    TopicName::parse(text).map_err(|_| Unreadable::Name(text.to_owned()))
}

fn session(text: &str) -> Result<SessionId, Unreadable> {
    text.parse().map_err(|_| Unreadable::Name(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(session: u64, user: Option<&str>, info: Option<&str>, joined: bool) -> Arc<PresenceChange> {
        let info = info.map(|info| Arc::new(MemberInfo { session: Some(info.into()), topic: None }));
        let member = Member { session: SessionId::from_number(session), user: user.map(Into::into), info };
        Arc::new(PresenceChange { topic: TopicName::parse("chat.群").unwrap(), member, joined })
    }

    /// What a gateway tells of a member is what another reads, byte for byte.
    #[test]
    fn changes_come_as_they_were_told() {
        let told =
            [change(1, None, None, true), change(2, Some("o\"'\u{1}"), Some("{\"a\" :1.50}"), true), change(3, Some(""), None, false)];
        let (text, count) = changes(7, &told, 1 << 20);
        let Said::Changes { after, changes } = Said::read(&text).unwrap() else { panic!("no changes") };
        assert_eq!((after, count, &changes[..]), (7, 3, &told[..]));
        let page_text = page(Some(&Seat::of(&told[0])), 9, &told[1..2], 1 << 20, |count| count < 2);
        let Page { after, n, members, more } = Page::read(&page_text).unwrap();
        assert_eq!((after, n, &members[..], more), (Some(Seat::of(&told[0])), 9, &told[1..2], true));
        assert_eq!(Asked::read(&ask(Some(&Seat::of(&told[1])))).unwrap().after, Some(Seat::of(&told[1])));
        assert!(matches!(Said::read(&beat(3, None, "one")).unwrap(), Said::Beat { n: 3, members: None, name } if &*name == "one"));
        assert!(matches!(Said::read(&bye()).unwrap(), Said::Bye));
    }

    /// A message is no longer than the servers take; a member that alone is longer goes without what its tokens say.
    #[test]
    fn messages_are_bounded() {
        let long = format!("\"{}\"", "x".repeat(3_000));
        let told = [change(1, Some("a"), Some(&long), true), change(2, Some("b"), None, true)];
        let (text, count) = changes(0, &told, 1_000);
        assert!(text.len() <= 1_000 && count == 2, "{count} in {}", text.len());
        let Said::Changes { changes, .. } = Said::read(&text).unwrap() else { panic!("no changes") };
        assert_eq!((changes[0].member.info.as_ref(), changes[0].member.user.as_deref()), (None, Some("a")));
        let many: Vec<_> = (0..100).map(|number| change(number, None, None, true)).collect();
        let (text, count) = super::changes(0, &many, 1_000);
        assert!(text.len() <= 1_000 && (5..100).contains(&count), "{count} in {}", text.len());
    }

    #[test]
    fn what_no_gateway_says_is_refused() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"changes":{"after":0,"changes":[{"t":"a..b","s":"0000000000000001"}]}}"#,
            r#"{"changes":{"after":0,"changes":[{"t":"a","s":"1"}]}}"#,
            r#"{"beat":{"n":-1,"members":null,"name":""}}"#,
        ] {
            assert!(Said::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
