//! `/v1/topics`: topics, their histories and their members.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::StatusCode;

use super::metering::{HISTORY_BYTES_PER_UNIT, MEMBERS_PER_UNIT, TOPICS_PER_UNIT};
use crate::dialect::{HISTORY_LIMIT_DEFAULT, HISTORY_LIMIT_MAX, native};
use crate::hub::{Disabled, Hub, Message, TopicInfo};
use crate::position::Offset;
use crate::server::limits::HttpBytes;
use crate::server::request::{Caller, Query};
use crate::server::response::{Answer, Problem, json, json_bytes, json_of};
use crate::shard::Shards;
use crate::topic_name::{Pattern, TopicName};

/// The largest number of topics in one answer, and the default.
const TOPICS_LISTED_MAX: usize = 1_000;

/// The assumed size of a message beside its data, and of an answer beside its messages, in bytes.
const ENVELOPE_BYTES: usize = 128;
/// The assumed size of a member beside its user, in bytes.
const MEMBER_BYTES: usize = 64;

/// The requests about topics.
pub struct TopicsApi {
    hub: Arc<Hub>,
    shards: Arc<Shards>,
    /// Counts the answers with histories and members, from before they are built.
    bytes: Arc<HttpBytes>,
}

#[derive(serde::Serialize)]
struct Listed<'a> {
    topic: &'a str,
    /// The subscriptions by name.
    subscribers: usize,
    /// The subscriptions by patterns that match the topic, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    by_pattern: Option<usize>,
    offset: u64,
    epoch: &'a str,
    rule: &'a str,
}

impl TopicsApi {
    /// For the topics of `hub`, and the subscriptions of `shards`.
    pub fn new(hub: &Arc<Hub>, shards: &Arc<Shards>, bytes: &Arc<HttpBytes>) -> Self {
        Self { hub: Arc::clone(hub), shards: Arc::clone(shards), bytes: Arc::clone(bytes) }
    }

    /// `GET /v1/topics?match=&limit=&after=&by_pattern=`.
    pub async fn list(&self, caller: &Caller<'_>, query: &Query<'_>, charge: impl FnOnce(usize, usize)) -> Result<Answer, Problem> {
        caller.require("listing topics", |identity| identity.admin)?;
        let matching = query.text("match")?.map(|text| Pattern::parse(&text)).transpose()?;
        let limit = query.size("limit", 0)?.unwrap_or(TOPICS_LISTED_MAX).min(TOPICS_LISTED_MAX);
        let after = query.text("after")?;
        let counts_patterns = query.flag("by_pattern")?;
        let found = self.hub.topic_infos(matching.as_ref(), after.as_deref(), limit);
        charge(found.len(), TOPICS_PER_UNIT);
        let mut topics: Vec<Listed<'_>> = found.iter().map(Listed::from).collect();
        if counts_patterns {
            let names: Vec<TopicName> = found.iter().map(|info| info.topic.clone()).collect();
            let counts = self.shards.count_by_pattern(&names).await;
            topics.iter_mut().zip(counts).for_each(|(topic, count)| topic.by_pattern = Some(count));
        }
        Ok(json_of(&BTreeMap::from([("topics", topics)])))
    }

    /// `GET /v1/topics/{topic}`.
    pub fn one(&self, caller: &Caller<'_>, topic: &TopicName) -> Result<Answer, Problem> {
        caller.require("looking topics up", |identity| identity.admin)?;
        let info = self.hub.topic_info(topic).ok_or_else(|| Problem::not_found(format!("there is no topic {topic} now")))?;
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
        let since = query.number("since", 0..=u64::MAX)?.map(Offset::clamped);
        let limit = query.size("limit", 1)?.unwrap_or(HISTORY_LIMIT_DEFAULT).min(HISTORY_LIMIT_MAX);
        let page = self.hub.history(topic, since, if has_body { limit } else { 0 }).map_err(disabled)?;
        if !has_body {
            return Ok(json(Vec::new()));
        }
        let payloads: usize = page.messages.iter().map(|message| message.payload().len()).sum();
        charge(page.messages.iter().map(Message::bytes).sum(), HISTORY_BYTES_PER_UNIT);
        let about = payloads + (page.messages.len() + 1) * ENVELOPE_BYTES + topic.as_str().len();
        self.object(about, |members| native::history_members(members, 0, topic, &page))
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
        let members = self.hub.presence(topic).map_err(disabled)?;
        charge(members.len(), MEMBERS_PER_UNIT);
        if !has_body {
            return Ok(json(Vec::new()));
        }
        let users: usize = members.iter().map(|member| member.user.as_ref().map_or(0, |user| user.len())).sum();
        let about = users + members.len() * MEMBER_BYTES + ENVELOPE_BYTES + topic.as_str().len();
        self.object(about, |json| native::presence_members(json, topic, &members))
    }

    /// An object of `about` bytes. They are reserved before it is built, and released once it is written.
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
            by_pattern: None,
            offset: info.position.offset.0,
            epoch: info.position.epoch.as_str(),
            rule: &info.rule,
        }
    }
}

/// Callers that may subscribe may read history and presence, and so may every admin key.
fn may_read(caller: &Caller<'_>, topic: &TopicName) -> Result<(), Problem> {
    let pattern = Pattern::from(topic.clone());
    caller.require(&format!("reading {topic}"), |identity| identity.admin || identity.grants.may_subscribe(&pattern))
}

fn disabled(error: Disabled) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, error.code(), error.to_string())
}
