//! One stream's task: a connection of its own, consumers on it one after the other, and what they bring to the hub.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, Message, StatusCode, Subscriber};
use futures_util::StreamExt;
use rand::Rng;
use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::api::{self, AskError};
use super::follower::{Begin, Broken, Follower, Heard, Next};
use super::loading::{Loading, timestamp};
use super::payload;
use super::publisher::Publisher;
use super::state::StreamState;
use super::streams::{Unfit, fit_server, fit_stream, keep};
use crate::clock::Clock;
use crate::config::{Live, Stream};
use crate::hub::{Hub, StreamLife, StreamMessage};
use crate::metrics::{ClusterLoad, ForeignSkipped, Metrics};
use crate::position::{Epoch, Offset};
use crate::topic_name::TopicName;

/// Longer than this without a message or a heartbeat, and the consumer is lost: two heartbeats were missed.
const SILENCE_MAX: Duration = Duration::from_millis(1_300);
/// Longer than this without a message that names the life, and the stream may be another one: a consumer of one that was emptied is silent
/// but for its heartbeats.
const LIFE_SILENCE_MAX: Duration = Duration::from_secs(6);
/// A life that was not named for so long is named again, plus a random part of `TICK_SPREAD`: one gateway comes first.
const TICK: Duration = Duration::from_secs(1);
const TICK_SPREAD: Duration = Duration::from_millis(200);
/// Between two looks at these.
const LOOK: Duration = Duration::from_millis(100);
/// Between two consumers.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// Times that a life is named before a consumer is given up: of several gateways one comes first.
const NAMINGS_MAX: usize = 20;

/// What a link works with.
#[derive(Clone)]
pub struct Parts {
    /// Topics.
    pub hub: Arc<Hub>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Hears how far the stream was read.
    pub publisher: Arc<Publisher>,
    /// The time.
    pub clock: Clock,
}

/// One stream's connection and what is known of the stream.
pub struct Link {
    client: Client,
    state: Arc<StreamState>,
    parts: Parts,
    follower: Follower,
    /// The life that the hub's topics are in.
    life: Option<Arc<StreamLife>>,
    /// How many messages of a topic the stream keeps.
    retain: u64,
    load_reason: ClusterLoad,
    /// The stream as it is to be kept, and the configuration's generation that this is of.
    kept: Stream,
    generation: u64,
}

/// Why a consumer was given up.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error(transparent)]
    Unasked(#[from] AskError),
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error("the connection can't be used: {0}")]
    Client(String),
    #[error("nothing was heard of the consumer for {SILENCE_MAX:?}")]
    Silent,
    #[error("nothing named the stream's life for {LIFE_SILENCE_MAX:?}")]
    LifeSilent,
    #[error("the server has ended the consumer: {0}")]
    Ended(String),
    #[error("the stream's life could not be named")]
    Unnamed,
}

/// What a message's reply subject says of it: `$JS.ACK.…`.
struct Numbers {
    sequence: u64,
    consumer_sequence: u64,
    nanoseconds: u64,
    pending: u64,
}

impl Numbers {
    fn of(message: &Message) -> Option<Self> {
        let tokens: Vec<&str> = message.reply.as_ref()?.as_str().split('.').collect();
        // The newer form has the domain and the account's hash before the stream, and a token more behind.
        let first = if tokens.len() == 9 { 5 } else { 7 };
        let number = |index: usize| tokens.get(first + index)?.parse().ok();
        Some(Self { sequence: number(0)?, consumer_sequence: number(1)?, nanoseconds: number(2)?, pending: number(3)? })
    }
}

impl Link {
    /// Nothing is known of the stream yet.
    pub fn new(client: Client, state: Arc<StreamState>, parts: Parts) -> Self {
        parts.hub.follow_stream(&state.settings.pattern);
        let (kept, retain, generation) = (state.settings.clone(), state.settings.retain, parts.live.generation());
        let (follower, load_reason) = (Follower::default(), ClusterLoad::Start);
        Self { client, state, parts, follower, life: None, retain, load_reason, kept, generation }
    }

    /// Follows the stream for as long as the future is polled.
    pub async fn run(mut self) {
        let (least, most) = BACK_OFF;
        let mut pause = least;
        loop {
            let began = Instant::now();
            let Err(lost) = self.follow().await;
            if matches!(lost, Lost::Broken(Broken::PushedOut)) {
                self.load_reason = ClusterLoad::Hole;
            }
            self.state.stand();
            self.parts.publisher.stand(&self.state);
            let stream = &self.state.settings.name;
            tracing::warn!(stream, cursor = self.follower.cursor(), reason = %lost, "the stream is not followed for now");
            pause = if began.elapsed() > most { least } else { (pause * 2).min(most) };
            tokio::time::sleep(pause).await;
        }
    }

    /// One consumer, until it is lost.
    async fn follow(&mut self) -> Result<std::convert::Infallible, Lost> {
        let begin = self.find_beginning().await?;
        let start = match begin {
            Begin::Resume { start } | Begin::Load { start, .. } => start,
            Begin::NameLife { .. } => return Err(Lost::Unnamed),
        };
        let mut loading = match begin {
            Begin::Load { epoch, start, doubt } => {
                if self.life.is_none() {
                    self.state.load();
                }
                Some(Loading::new(epoch, start, doubt))
            }
            _ => None,
        };
        let mut subscriber = self.consume(start).await?;
        if let (None, Some(life)) = (&loading, &self.life) {
            self.parts.metrics.cluster_resumed();
            self.state.live(life.epoch());
        }
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard_at, mut life_at, mut named_at) = (Instant::now(), Instant::now(), Instant::now());
        let mut patience = TICK + spread();
        loop {
            tokio::select! {
                message = subscriber.next() => {
                    let message = message.ok_or_else(|| Lost::Client("the subscription ended".to_owned()))?;
                    let began = Instant::now();
                    if message.status.is_some() {
                        self.answer_status(&message).await?;
                    } else if self.take(&message, &mut loading).await? || began.elapsed() > TICK {
                        life_at = Instant::now(); // or it waited for room, and what names the life waits behind it
                    }
                    heard_at = Instant::now(); // what came while this message was taken waits behind it
                }
                _ = look.tick() => {
                    if self.follow_settings().await {
                        heard_at = Instant::now();
                    }
                    if heard_at.elapsed() > SILENCE_MAX {
                        return Err(Lost::Silent);
                    }
                    if life_at.elapsed() > LIFE_SILENCE_MAX {
                        return Err(Lost::LifeSilent);
                    }
                    if life_at.elapsed() > patience && named_at.elapsed() > patience {
                        (named_at, patience) = (Instant::now(), TICK + spread());
                        self.name_life_again().await?;
                    }
                }
            }
        }
    }

    /// Takes over what a reload has changed; whether the servers were asked for something. Who can't be told now is told at the next reload,
    /// or by an operator.
    async fn follow_settings(&mut self) -> bool {
        let generation = self.parts.live.generation();
        if generation == self.generation {
            return false;
        }
        self.generation = generation;
        let config = self.parts.live.load();
        let streams = config.cluster.as_ref().map(|cluster| &cluster.streams[..]).unwrap_or_default();
        let Some(wanted) = streams.iter().find(|stream| stream.name == self.kept.name && **stream != self.kept) else { return false };
        let (stream, max_bytes, max_age) = (&wanted.name, wanted.max_bytes, wanted.max_age);
        match keep(&self.client, wanted, config.limits.message_bytes).await {
            Ok(()) => tracing::info!(stream, max_bytes, ?max_age, "the stream is kept as configured"),
            Err(error) => tracing::warn!(stream, max_bytes, ?max_age, %error, "the servers keep the stream as it was"),
        }
        self.kept = wanted.clone();
        true
    }

    /// Asks the leader until the stream has a life.
    async fn find_beginning(&mut self) -> Result<Begin, Lost> {
        let config = self.parts.live.load();
        let message_bytes = config.limits.message_bytes;
        fit_server(&self.client, message_bytes)?;
        let history = self.state.settings.longest_history(&config.rules);
        self.retain = fit_stream(&self.client, &self.kept, message_bytes, history).await?;
        for _ in 0..NAMINGS_MAX {
            match self.follower.begin(api::find(&self.client, &self.state.settings, self.follower.known_numbers()).await?) {
                Begin::NameLife { expected } => {
                    if self.life.is_some() {
                        self.load_reason = ClusterLoad::Epoch;
                    }
                    self.name_life(Epoch::random(), expected).await?;
                    self.client.flush().await.map_err(|error| Lost::Client(error.to_string()))?;
                    tokio::time::sleep(LOOK).await;
                }
                Begin::Load { epoch, start, doubt } => {
                    if self.life.as_ref().is_some_and(|life| life.epoch() != epoch) {
                        self.load_reason = ClusterLoad::Epoch;
                    } else if doubt.is_some() {
                        self.load_reason = ClusterLoad::Hole;
                    }
                    return Ok(Begin::Load { epoch, start, doubt });
                }
                resume @ Begin::Resume { .. } => return Ok(resume),
            }
        }
        Err(Lost::Unnamed)
    }

    async fn name_life_again(&self) -> Result<(), Lost> {
        match self.follower.tick() {
            Some((epoch, expected)) => self.name_life(epoch, expected).await,
            None => Ok(()),
        }
    }

    /// Names a life, if the newest message that names one has the number `expected`. A blind one could name an old life in a stream that
    /// was emptied, so that old positions named new messages.
    async fn name_life(&self, epoch: Epoch, expected: u64) -> Result<(), Lost> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string());
        let published =
            self.client.publish_with_headers(self.state.settings.life_subject(), headers, epoch.as_str().to_owned().into()).await;
        published.map_err(|error| Lost::Client(error.to_string()))
    }

    /// A consumer from `start` on. It is made for an inbox by its literal name: a wildcard would not make it active.
    async fn consume(&self, start: u64) -> Result<Subscriber, Lost> {
        let inbox = self.client.new_inbox();
        let subscriber = self.client.subscribe(inbox.clone()).await.map_err(|error| Lost::Client(error.to_string()))?;
        let name = &self.state.settings.name;
        let body = json!({
            "stream_name": name,
            "config": {
                "deliver_subject": inbox,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": start,
                "ack_policy": "none",
                "mem_storage": true,
                "num_replicas": 1,
                "max_deliver": 1,
                "flow_control": true,
                "idle_heartbeat": 500_000_000,
                "inactive_threshold": 5_000_000_000_u64,
            },
        });
        api::ask(&self.client, &format!("CONSUMER.CREATE.{name}"), &body).await?;
        Ok(subscriber)
    }

    /// Answers a heartbeat, or a question whether the gateway keeps up.
    async fn answer_status(&self, message: &Message) -> Result<(), Lost> {
        if message.status != Some(StatusCode::IDLE_HEARTBEAT) {
            return Err(Lost::Ended(message.description.clone().unwrap_or_default()));
        }
        let header = |name: &str| message.headers.as_ref().and_then(|headers| headers.get(name)).map(|value| value.as_str().to_owned());
        let reply = message.reply.as_ref().map(|reply| reply.as_str().to_owned());
        if let Some(subject) = reply.or_else(|| header("Nats-Consumer-Stalled")) {
            self.client.publish(subject, Vec::new().into()).await.map_err(|error| Lost::Client(error.to_string()))?;
        }
        match header("Nats-Last-Consumer").and_then(|sequence| sequence.parse().ok()) {
            Some(sequence) => Ok(self.follower.heartbeat(sequence)?),
            None => Ok(()),
        }
    }

    /// Takes a message; whether it names the life.
    async fn take(&mut self, message: &Message, loading: &mut Option<Loading>) -> Result<bool, Lost> {
        let Some(numbers) = Numbers::of(message) else { return Err(Lost::Ended("a message has no numbers".to_owned())) };
        let names_life = message.subject.as_str() == self.state.settings.life_subject();
        let heard = Heard {
            sequence: numbers.sequence,
            consumer_sequence: numbers.consumer_sequence,
            stored_at: numbers.nanoseconds,
            life: names_life.then(|| api::epoch_in(&message.payload)),
        };
        let mut next = self.follower.hear(heard)?;
        if let Some(loading) = loading {
            loading.hear(numbers.sequence);
        }
        let stream = &self.state.settings.name;
        self.parts.metrics.cluster_received(stream, numbers.pending);
        if names_life {
            self.state.hear_life();
        } else {
            self.apply(message, &numbers, loading).await;
        }
        // Loaded messages are not in the topics yet. Until they are, the life's cursor and the publishers stay at the last message that is.
        if loading.is_none() {
            self.life.iter().for_each(|life| life.advance(Offset(numbers.sequence)));
            self.parts.publisher.read_to(&self.state, numbers.sequence);
        }
        if next == Next::AskEnd {
            let (_, last) = api::ends(&self.client, &self.state.settings).await?;
            next = self.follower.note_end(last);
        }
        if next == Next::Loaded {
            self.put_in_force(loading).await?;
        }
        Ok(names_life)
    }

    async fn apply(&self, message: &Message, numbers: &Numbers, loading: &mut Option<Loading>) {
        let Parts { hub, live, metrics, clock, .. } = &self.parts;
        let skipped = match TopicName::parse(message.subject.as_str()) {
            Err(_) => Some(ForeignSkipped::Name),
            Ok(_) if message.payload.len() > live.load().limits.message_bytes => Some(ForeignSkipped::Size),
            Ok(name) => {
                let extra = payload::extra(message.headers.as_ref());
                let streamed = StreamMessage {
                    offset: Offset(numbers.sequence),
                    published_at: timestamp(numbers.nanoseconds),
                    kind: payload::kind(message.headers.as_ref(), &message.payload),
                    except: payload::except(message.headers.as_ref()),
                    extra: extra.as_ref(),
                    payload: &message.payload,
                };
                match (loading, &self.life) {
                    (Some(loading), _) => loading.take(name, &streamed, live, clock),
                    (None, Some(life)) => hub.apply(&name, life, streamed).await,
                    (None, None) => {}
                }
                None
            }
        };
        if let Some(reason) = skipped {
            metrics.cluster_skipped(reason);
        }
    }

    /// The stream is read to its end: the loaded logs replace those of the topics.
    async fn put_in_force(&mut self, loading: &mut Option<Loading>) -> Result<(), Lost> {
        let (first, _) = api::ends(&self.client, &self.state.settings).await?;
        let Some(loaded) = loading.take() else { return Ok(()) };
        let (life, logs) = loaded.end(first, self.follower.cursor(), self.retain);
        self.follower.loaded();
        let (stream, topics) = (&self.state.settings.name, logs.len());
        self.parts.hub.begin_stream(&self.state.settings.pattern, &life, logs).await;
        self.parts.metrics.cluster_loaded(self.load_reason);
        // Before anything is published in this life: its numbers may be lower than those of the life before.
        self.parts.publisher.read_to(&self.state, self.follower.cursor());
        self.state.live(life.epoch());
        tracing::info!(stream, epoch = %life.epoch(), cursor = self.follower.cursor(), topics, "the stream is followed");
        self.life = Some(life);
        Ok(())
    }
}

fn spread() -> Duration {
    rand::rng().random_range(Duration::ZERO..TICK_SPREAD)
}
