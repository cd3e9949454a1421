//! The commands of `/api/…`.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde::Serialize;

use super::failed::Failed;
use super::glob;
use super::replies::{self, CommandReply, ErrorText, Text};
use super::requests::{
    BatchRequest, BroadcastRequest, ChannelRequest, ChannelsRequest, DisconnectRequest, HistoryRequest, PublishRequest, Since, is_command,
    read,
};
use super::session_commands;
use crate::clock::Clock;
use crate::codes::ErrorCode;
use crate::config::{Config, Live};
use crate::dialect::centrifugo::ErrorReply;
use crate::dialect::{HISTORY_LIMIT_MAX, is_json_text};
use crate::hub::{Extra, HistoryPart, Hub, Message, PayloadKind, Publication, ReadFrom, Submitted};
use crate::metrics::{LimitKey, Metrics, PublishSource};
use crate::position::Offset;
use crate::server::api::idempotency::KEY_BYTES_MAX;
use crate::server::api::metering::{Allowance, HISTORY_BYTES_PER_UNIT, MEMBERS_PER_UNIT, Metering, TOPICS_PER_UNIT};
use crate::server::api::publishing::{Publishing, kind_of};
use crate::server::request::Caller;
use crate::server::response::{Answer, json_of};
use crate::shard::{AdminCommand, Shards, UserSessions};
use crate::topic_name::{Pattern, TopicName};

/// The methods with several messages, whose bodies may be as long as a batch.
pub const LONG_METHODS: [&str; 2] = ["batch", "broadcast"];

/// Topics that are examined before the task yields to others of its thread.
const TOPICS_AT_ONCE: usize = 1_000;
/// The largest number of topics in one answer.
const TOPICS_LISTED_MAX: usize = 10_000;

/// Centrifugo's HTTP API for publishers.
pub struct CentrifugoApi {
    hub: Arc<Hub>,
    shards: Arc<Shards>,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

/// One request: its caller, the bucket that pays for it, and the means to charge and to publish.
pub struct Call<'a> {
    pub caller: &'a Caller<'a>,
    pub allowance: &'a Allowance,
    pub metering: &'a Metering,
    pub publishing: &'a Publishing,
}

type CommandResult = Result<Text, Failed>;
type ReadCommand = fn(&[u8], &Config) -> Result<AdminCommand, Failed>;

/// The reply to a publish, once the message has its position.
async fn published(submitted: Result<Submitted, Failed>) -> CommandResult {
    let position = match submitted? {
        Submitted::Published(position) => position,
        Submitted::Awaited(receipt) => receipt.answer().await?,
    };
    Ok(replies::position(&position))
}

impl CentrifugoApi {
    /// An API that uses these parts of the gateway.
    pub fn new(hub: &Arc<Hub>, shards: &Arc<Shards>, live: &Arc<Live>, metrics: &Arc<Metrics>, clock: &Clock) -> Self {
        let (hub, shards, live, metrics) = (Arc::clone(hub), Arc::clone(shards), Arc::clone(live), Arc::clone(metrics));
        Self { hub, shards, live, metrics, clock: clock.clone() }
    }

    /// Whether `method` is a command.
    pub fn has(method: &str) -> bool {
        matches!(method, "publish" | "broadcast" | "batch" | "presence" | "presence_stats" | "history" | "channels" | "info")
            || matches!(method, "disconnect" | "unsubscribe" | "subscribe" | "refresh" | "history_remove")
    }

    /// Executes the command in `body`; `None` if `method` is not a command. With `by_status`, errors have an HTTP
    /// status of their own in place of 200.
    pub async fn answer(&self, method: &str, body: &[u8], by_status: bool, call: &Call<'_>) -> Option<Answer> {
        if !is_command(body) {
            return None;
        }
        let done = match method {
            "batch" => match read(body) {
                Ok(batched) => return Some(json_of(&self.batch(&batched, call).await)),
                Err(failed) => Err(failed),
            },
            _ => self.command(method, body, call).await,
        };
        let status = done.as_ref().err().filter(|_| by_status).map_or(StatusCode::OK, |failed| failed.status());
        let mut answer = json_of(&CommandReply::from(done));
        *answer.status_mut() = status;
        Some(answer)
    }

    async fn batch(&self, batched: &BatchRequest<'_>, call: &Call<'_>) -> BTreeMap<&'static str, Vec<BTreeMap<String, Text>>> {
        let mut replies = Vec::with_capacity(batched.commands.len());
        for (index, command) in batched.commands.iter().enumerate() {
            let outcome = match command.iter().next().filter(|_| command.len() == 1) {
                Some(_) if index > 0 && !call.take_unit() => Err(ErrorCode::RateLimited.into()),
                Some((name, text)) if name != "batch" => {
                    self.command(name, text.get().as_bytes(), call).await.map(|result| (name.to_string(), result))
                }
                _ => Err(Failed::BAD_REQUEST),
            };
            let (name, text) = outcome.unwrap_or_else(|failed| ("error".to_owned(), replies::text(&ErrorText::from(failed))));
            replies.push(BTreeMap::from([(name, text)]));
        }
        BTreeMap::from([("replies", replies)])
    }

    /// Executes one command. The future is boxed, because that of a batch would enlarge the futures of all commands.
    fn command<'a>(
        &'a self,
        method: &'a str,
        json: &'a [u8],
        call: &'a Call<'_>,
    ) -> Pin<Box<dyn Future<Output = CommandResult> + Send + 'a>> {
        Box::pin(async move {
            match method {
                "publish" => self.publish(&read::<ChannelRequest<'_>>(json)?.channel, &read(json)?, call).await,
                "broadcast" => self.broadcast(json, call).await,
                "presence" => self.presence(json, call, replies::presence),
                "presence_stats" => self.presence(json, call, |members| {
                    // All anonymous members count as one user.
                    let users: HashSet<Option<&str>> = members.iter().map(|member| member.user.as_deref()).collect();
                    replies::text(&BTreeMap::from([("num_clients", members.len()), ("num_users", users.len())]))
                }),
                "history" => self.history(json, call),
                "channels" => self.channels(&read(json)?, call).await,
                "info" => self.info(call),
                "disconnect" => self.disconnect(json, call).await,
                "unsubscribe" => self.in_sessions(json, session_commands::unsubscribe, call).await,
                "subscribe" => self.in_sessions(json, session_commands::subscribe, call).await,
                "refresh" => self.in_sessions(json, session_commands::refresh, call).await,
                "history_remove" => self.remove_history(json, call),
                _ => Err(Failed(ErrorReply::METHOD_NOT_FOUND)),
            }
            .inspect_err(|Failed(error)| tracing::debug!(method, code = error.code, "a command of /api is refused"))
        })
    }

    async fn publish(&self, channel: &str, asked: &PublishRequest<'_>, call: &Call<'_>) -> CommandResult {
        published(self.submit(channel, asked, call).await).await
    }

    async fn submit(&self, channel: &str, asked: &PublishRequest<'_>, call: &Call<'_>) -> Result<Submitted, Failed> {
        let topic = TopicName::parse(channel)?;
        // Options that are not supported are refused, because the publisher relies on them.
        if asked.skip_history || asked.delta || asked.version > 0 || asked.idempotency_key.len() > KEY_BYTES_MAX {
            return Err(Failed::BAD_REQUEST);
        }
        let (payload, kind) = match asked.data {
            Some(data) if is_json_text(data.get().as_bytes()) => (data.get().as_bytes().into(), PayloadKind::Json),
            None if !asked.b64data.is_empty() => {
                let bytes = STANDARD.decode(&*asked.b64data).map_err(|_| Failed::BAD_REQUEST)?;
                let kind = kind_of(&bytes);
                (bytes.into(), kind)
            }
            _ => return Err(Failed::BAD_REQUEST),
        };
        let payload: std::borrow::Cow<'_, [u8]> = payload;
        let tags: Vec<(Box<str>, Box<str>)> = asked.tags.iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
        let bytes = payload.len() + tags.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        if bytes > self.live.load().limits.message_bytes {
            self.metrics.limit_hit(LimitKey::MessageBytes);
            return Err(ErrorCode::MessageTooLarge.into());
        }
        call.require(|identity| identity.grants.may_publish(&topic))?;
        let extra = (!tags.is_empty()).then(|| Arc::new(Extra { publisher: None, tags }));
        let plain = Publication::new(&payload, kind, PublishSource::Http);
        let publication = Publication { payer: Some(&call.allowance.payer), extra: extra.as_ref(), ..plain };
        let key = Some(&*asked.idempotency_key).filter(|key| !key.is_empty());
        Ok(call.publishing.submit(&topic, publication, key).await?)
    }

    async fn broadcast(&self, json: &[u8], call: &Call<'_>) -> CommandResult {
        let (all, content) = (read::<BroadcastRequest<'_>>(json)?, read(json)?);
        let mut submitted = Vec::with_capacity(all.channels.len());
        for (index, channel) in all.channels.iter().enumerate() {
            submitted.push(match index == 0 || call.take_unit() {
                true => self.submit(channel, &content, call).await,
                false => Err(ErrorCode::RateLimited.into()),
            });
        }
        let mut responses = Vec::with_capacity(submitted.len());
        for one in submitted {
            responses.push(CommandReply::from(published(one).await));
        }
        Ok(replies::text(&BTreeMap::from([("responses", responses)])))
    }

    fn presence(&self, json: &[u8], call: &Call<'_>, reply: impl FnOnce(&[crate::session_id::Member]) -> Text) -> CommandResult {
        let topic = call.readable(&read::<ChannelRequest<'_>>(json)?.channel)?;
        let members = self.hub.presence(&topic)?;
        call.metering.charge(call.allowance, members.len(), MEMBERS_PER_UNIT);
        Ok(reply(&members))
    }

    fn history(&self, json: &[u8], call: &Call<'_>) -> CommandResult {
        let topic = call.readable(&read::<ChannelRequest<'_>>(json)?.channel)?;
        let asked: HistoryRequest<'_> = read(json)?;
        let from = match (asked.reverse, asked.since.as_ref().map(|since| since.offset)) {
            (true, Some(0)) => return Err(Failed::BAD_REQUEST),
            (true, before) => ReadFrom::Before(Offset(before.unwrap_or(u64::MAX))),
            (false, after) => ReadFrom::After(Offset::clamped(after.unwrap_or(0))),
        };
        let limit = usize::try_from(asked.limit).unwrap_or(HISTORY_LIMIT_MAX).min(HISTORY_LIMIT_MAX);
        let HistoryPart { position, messages } = self.hub.history_part(&topic, from, limit, Some(&call.allowance.payer))??;
        // A read that is refused costs the same.
        let bytes = messages.iter().map(Message::bytes).sum();
        call.metering.charge(call.allowance, bytes, HISTORY_BYTES_PER_UNIT);
        let is_of_its_life = |since: &Since<'_>| since.epoch.is_empty() || since.epoch == position.epoch.as_str();
        if !asked.since.as_ref().is_none_or(is_of_its_life) {
            return Err(Failed(ErrorReply::UNRECOVERABLE_POSITION));
        }
        Ok(replies::history(&messages, &position))
    }

    /// Drops the history of a topic; its position stays.
    fn remove_history(&self, json: &[u8], call: &Call<'_>) -> CommandResult {
        call.require(|identity| identity.admin)?;
        let topic = TopicName::parse(&read::<ChannelRequest<'_>>(json)?.channel)?;
        self.hub.remove_history(&topic)?;
        Ok(replies::nothing())
    }

    /// The topics that have subscribers by name and match `pattern`; the first [`TOPICS_LISTED_MAX`].
    async fn channels(&self, asked: &ChannelsRequest<'_>, call: &Call<'_>) -> CommandResult {
        call.require(|identity| identity.admin)?;
        let mut found: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
        let mut after: Option<TopicName> = None;
        loop {
            let topics = self.hub.topic_infos(None, after.as_ref().map(TopicName::as_str), TOPICS_AT_ONCE);
            call.metering.charge(call.allowance, topics.len(), TOPICS_PER_UNIT);
            let taken = topics.iter().filter(|info| info.subscribers > 0 && glob::matches(&asked.pattern, info.topic.as_str()));
            found.extend(taken.map(|info| (info.topic.as_str().to_owned(), BTreeMap::from([("num_clients", info.subscribers)]))));
            match topics.last() {
                Some(last) if topics.len() == TOPICS_AT_ONCE && found.len() < TOPICS_LISTED_MAX => after = Some(last.topic.clone()),
                _ => return Ok(replies::text(&BTreeMap::from([("channels", found)]))),
            }
            tokio::task::yield_now().await;
        }
    }

    fn info(&self, call: &Call<'_>) -> CommandResult {
        #[derive(Serialize)]
        struct Node {
            uid: &'static str,
            name: &'static str,
            version: &'static str,
            num_clients: u64,
            num_users: u64,
            num_subs: u64,
            num_channels: u64,
            uptime: u64,
        }
        call.require(|identity| identity.admin)?;
        let totals = self.metrics.totals();
        let node = Node {
            uid: "belfry",
            name: "belfry",
            version: env!("CARGO_PKG_VERSION"),
            num_clients: totals.sessions,
            num_users: 0, // users are not counted
            num_subs: totals.subscriptions,
            num_channels: totals.topics,
            uptime: self.clock.moment().elapsed_at_start().as_secs(),
        };
        Ok(replies::text(&BTreeMap::from([("nodes", [node])])))
    }

    /// Closes one session of a user, or all of them.
    async fn disconnect(&self, json: &[u8], call: &Call<'_>) -> CommandResult {
        call.require(|identity| identity.admin)?;
        let sessions = session_commands::sessions(json)?;
        let DisconnectRequest { whitelist, disconnect } = read(json)?;
        if disconnect.is_some() {
            return Err(Failed::BAD_REQUEST);
        }
        let spared = whitelist.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(|_| Failed::BAD_REQUEST)?;
        self.shards.close_user(UserSessions { spared, ..sessions }).await;
        Ok(replies::nothing())
    }

    /// Executes a command in one session of a user, or in all of them.
    async fn in_sessions(&self, json: &[u8], read_command: ReadCommand, call: &Call<'_>) -> CommandResult {
        call.require(|identity| identity.admin)?;
        let (sessions, command) = (session_commands::sessions(json)?, read_command(json, &self.live.load())?);
        self.shards.execute(sessions, command).await;
        Ok(replies::nothing())
    }
}

impl Call<'_> {
    /// Takes a work unit for a further command of the request; `false` if the bucket is empty.
    fn take_unit(&self) -> bool {
        self.metering.take(self.allowance).is_ok()
    }

    fn require(&self, may: impl FnOnce(&crate::auth::Identity) -> bool) -> Result<(), Failed> {
        if self.caller.identity().is_some_and(may) { Ok(()) } else { Err(ErrorCode::NotAllowed.into()) }
    }

    /// The topic that `channel` names, if the caller may read its history and presence.
    fn readable(&self, channel: &str) -> Result<TopicName, Failed> {
        let topic = TopicName::parse(channel)?;
        let pattern = Pattern::from(topic.clone());
        self.require(|identity| identity.admin || identity.grants.may_subscribe(&pattern))?;
        Ok(topic)
    }
}
