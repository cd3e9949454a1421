//! `/v1/topics`: which topics there are, their histories and who is there.

use std::sync::Arc;

use hyper::StatusCode;

use crate::dialect::json_write;
use crate::hub::{Disabled, Hub, TopicInfo};
use crate::position::Offset;
use crate::server::limits::HttpBytes;
use crate::server::request::{Caller, Query, QueryError};
use crate::server::response::{Answer, Problem, json, json_bytes, json_of};
use crate::topic_name::{Pattern, TopicName};

/// Topics in one answer, where the query doesn't say; also the most.
const TOPICS_LISTED_MAX: usize = 1_000;
/// Messages of a history in one answer, where the query doesn't say.
const HISTORY_LISTED: usize = 100;
/// The most messages of a history in one answer.
const HISTORY_LISTED_MAX: usize = 1_000;

/// What one work unit pays for beyond the first (PROTOCOL section 7).
const TOPICS_PER_UNIT: usize = 1_000;
const HISTORY_BYTES_PER_UNIT: usize = 64 << 10;
const MEMBERS_PER_UNIT: usize = 1_000;

/// What a message of a history has beside its data, in bytes, and what an answer has beside its messages.
const ENVELOPE_BYTES: usize = 128;
/// What a member has, in bytes, beside its user.
const MEMBER_BYTES: usize = 64;

/// Looks topics up.
pub struct TopicsApi {
    hub: Arc<Hub>,
    /// The answers of histories and members are in it before they are built.
    bytes: Arc<HttpBytes>,
}

#[derive(serde::Serialize)]
struct Listed<'a> {
    topic: &'a str,
    subscribers: usize,
    offset: u64,
    epoch: &'a str,
    rule: &'a str,
}

#[derive(serde::Serialize)]
struct List<'a> {
    topics: Vec<Listed<'a>>,
}

impl TopicsApi {
    /// Looks up the topics of `hub`.
    pub fn new(hub: &Arc<Hub>, bytes: &Arc<HttpBytes>) -> Self {
        Self { hub: Arc::clone(hub), bytes: Arc::clone(bytes) }
    }

    /// `GET /v1/topics?match=&limit=&after=`.
    pub fn list(&self, caller: &Caller<'_>, query: &Query<'_>, charge: impl FnOnce(usize, usize)) -> Result<Answer, Problem> {
        caller.require("listing topics", |identity| identity.admin)?;
        let bad = |error: QueryError| Problem::bad_request(error.to_string());
        let matching = query.text("match").map_err(bad)?.map(|text| Pattern::parse(&text)).transpose();
        let matching = matching.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.code(), error.to_string()))?;
        let limit = query.number("limit").map_err(bad)?.unwrap_or(TOPICS_LISTED_MAX).min(TOPICS_LISTED_MAX);
        let after = query.text("after").map_err(bad)?;
        let found = self.hub.topics(matching.as_ref(), after.as_deref(), limit);
        charge(found.len(), TOPICS_PER_UNIT);
        Ok(json_of(&List { topics: found.iter().map(Listed::from).collect() }))
    }

    /// `GET /v1/topics/{topic}`.
    pub fn one(&self, caller: &Caller<'_>, topic: &TopicName) -> Result<Answer, Problem> {
        caller.require("looking topics up", |identity| identity.admin)?;
        let info = self.hub.topic(topic).ok_or_else(|| Problem::not_found(format!("there is no topic {topic} now")))?;
        Ok(json_of(&Listed::from(&info)))
    }

    /// `GET /v1/topics/{topic}/history?since=&limit=`.
    pub fn history(
        &self,
        caller: &Caller<'_>,
        topic: &TopicName,
        query: &Query<'_>,
        has_body: bool,
        charge: impl FnOnce(usize, usize),
    ) -> Result<Answer, Problem> {
        may_read(caller, topic)?;
        let bad = |error: QueryError| Problem::bad_request(error.to_string());
        let since = query.number("since").map_err(bad)?.map(Offset);
        let limit = query.number("limit").map_err(bad)?.unwrap_or(HISTORY_LISTED).min(HISTORY_LISTED_MAX);
        let page = self.hub.history(topic, since, if has_body { limit } else { 0 }).map_err(off)?;
        if !has_body {
            return Ok(json(Vec::new()));
        }
        let payloads = page.messages.iter().map(|message| message.payload().len()).sum();
        charge(payloads, HISTORY_BYTES_PER_UNIT);
        let about = payloads + (page.messages.len() + 1) * ENVELOPE_BYTES + topic.as_str().len();
        self.object(about, |members| json_write::history_members(members, 0, topic, &page))
    }

    /// `GET /v1/topics/{topic}/presence`.
    pub fn presence(
        &self,
        caller: &Caller<'_>,
        topic: &TopicName,
        has_body: bool,
        charge: impl FnOnce(usize, usize),
    ) -> Result<Answer, Problem> {
        may_read(caller, topic)?;
        let members = self.hub.presence(topic).map_err(off)?;
        charge(members.len(), MEMBERS_PER_UNIT);
        if !has_body {
            return Ok(json(Vec::new()));
        }
        let users: usize = members.iter().map(|member| member.user.as_ref().map_or(0, |user| user.len())).sum();
        let about = users + members.len() * MEMBER_BYTES + ENVELOPE_BYTES + topic.as_str().len();
        self.object(about, |json| json_write::presence_members(json, topic, &members))
    }

    /// An object of about so many bytes, which are in the account from before it is built until it is written.
    fn object(&self, about: usize, write_members: impl FnOnce(&mut Vec<u8>)) -> Result<Answer, Problem> {
        let mut reservation = self.bytes.reserve(about)?;
        let mut text = Vec::with_capacity(about);
        text.push(b'{');
        write_members(&mut text);
        text.push(b'}');
        if text.capacity() > about {
            reservation.grow(text.capacity() - about)?;
        }
        Ok(json_bytes(reservation.into_holding(text.into())))
    }
}

impl<'a> From<&'a TopicInfo> for Listed<'a> {
    fn from(info: &'a TopicInfo) -> Self {
        Self {
            topic: info.topic.as_str(),
            subscribers: info.subscribers,
            offset: info.position.offset.0,
            epoch: info.position.epoch.as_str(),
            rule: &info.rule,
        }
    }
}

/// A history or a presence is read by whoever may subscribe, and by every admin.
fn may_read(caller: &Caller<'_>, topic: &TopicName) -> Result<(), Problem> {
    let pattern = Pattern::from(topic.clone());
    caller.require(&format!("reading {topic}"), |identity| identity.admin || identity.grants.may_subscribe(&pattern))
}

fn off(off: Disabled) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, off.code(), off.to_string())
}
