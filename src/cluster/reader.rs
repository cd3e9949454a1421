//! The task that reads one stream: it has a connection of its own, makes one consumer after the other, and applies
//! their messages to the hub.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, Message, StatusCode, Subscriber};
use futures_util::StreamExt;
use rand::Rng;
use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::api::{self, ApiError};
use super::follower::{Broken, Follower, Next, Received, Start};
use super::headers;
use super::loading::{Loading, timestamp};
use super::publisher::Publisher;
use super::setup::{SetupError, check_server, prepare_stream, update_stream};
use super::state::StreamState;
use crate::clock::Clock;
use crate::config::{Live, Stream};
use crate::hub::{Hub, StreamLife, StreamMessage};
use crate::metrics::{ClusterLoad, Counter, ForeignSkipped, Metrics};
use crate::position::{Epoch, Offset};
use crate::topic_name::TopicName;

/// The longest time without a message or a heartbeat. After it, two heartbeats were missed and the consumer is lost.
const SILENCE_MAX: Duration = Duration::from_millis(1_300);
/// The longest time without an epoch message. After it, the stream may be another one: the consumer of a stream that
/// was emptied brings only heartbeats.
const EPOCH_SILENCE_MAX: Duration = Duration::from_secs(6);
/// The epoch is published again this long after the last epoch message, plus a random part of `EPOCH_JITTER`, so that
/// one of the gateways comes first.
const EPOCH_INTERVAL: Duration = Duration::from_secs(1);
const EPOCH_JITTER: Duration = Duration::from_millis(200);
/// The time between two checks of the times above.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// The shortest and the longest pause between two consumers.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// How often a new epoch is tried. It fails whenever another gateway comes first.
const EPOCH_ATTEMPTS_MAX: usize = 20;

/// What a reader works with.
#[derive(Clone)]
pub struct Context {
    pub hub: Arc<Hub>,
    pub live: Arc<Live>,
    pub metrics: Arc<Metrics>,
    /// The publisher, which learns how far the stream was read.
    pub publisher: Arc<Publisher>,
    pub clock: Clock,
}

pub struct StreamReader {
    client: Client,
    state: Arc<StreamState>,
    context: Context,
    follower: Follower,
    /// The epoch and the cursor of the hub's topics.
    life: Option<Arc<StreamLife>>,
    /// The number of messages of a topic that the stream keeps.
    retain: u64,
    load_reason: ClusterLoad,
    /// The settings last sent to the servers, and their generation of the configuration.
    wanted: Stream,
    generation: u32,
}

/// Why a consumer was given up.
#[derive(Debug, thiserror::Error)]
enum ConsumerLost {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("the connection can't be used: {0}")]
    Client(String),
    #[error("nothing was received from the consumer for {SILENCE_MAX:?}")]
    Silent,
    #[error("no message has named the stream's epoch for {EPOCH_SILENCE_MAX:?}")]
    EpochSilent,
    #[error("the server has ended the consumer: {0}")]
    Ended(String),
    #[error("the stream's epoch could not be written")]
    NoEpoch,
}

/// What the reply subject of a message, `$JS.ACK.…`, says about its delivery.
struct Delivery {
    sequence: u64,
    consumer_sequence: u64,
    nanoseconds: u64,
    pending: u64,
}

impl Delivery {
    fn of(message: &Message) -> Option<Self> {
        let tokens: Vec<&str> = message.reply.as_ref()?.as_str().split('.').collect();
        // The newer form has two more tokens before the stream (the domain and the account's hash), and one more at the
        // end.
        let first = if tokens.len() == 9 { 5 } else { 7 };
        let number = |index: usize| tokens.get(first + index)?.parse().ok();
        Some(Self { sequence: number(0)?, consumer_sequence: number(1)?, nanoseconds: number(2)?, pending: number(3)? })
    }
}

impl StreamReader {
    /// A reader that does not know the stream yet.
    pub fn new(client: Client, state: Arc<StreamState>, context: Context) -> Self {
        context.hub.follow_stream(&state.settings.pattern);
        let (wanted, retain, generation) = (state.settings.clone(), state.settings.retain, context.live.generation());
        let (follower, load_reason) = (Follower::default(), ClusterLoad::Start);
        Self { client, state, context, follower, life: None, retain, load_reason, wanted, generation }
    }

    /// Follows the stream for as long as the future is polled.
    pub async fn run(mut self) {
        let (least, most) = BACK_OFF;
        let mut pause = least;
        loop {
            let began = Instant::now();
            let Err(lost) = self.follow().await;
            if matches!(lost, ConsumerLost::Broken(Broken::PushedOut)) {
                self.load_reason = ClusterLoad::Hole;
            }
            self.state.lose_consumer();
            self.context.publisher.stream_lost(&self.state);
            let stream = &self.state.settings.name;
            tracing::warn!(stream, cursor = self.follower.cursor(), reason = %lost, "the stream is not followed for now");
            pause = if began.elapsed() > most { least } else { (pause * 2).min(most) };
            tokio::time::sleep(pause).await;
        }
    }

    /// Reads with one consumer until that is lost.
    async fn follow(&mut self) -> Result<std::convert::Infallible, ConsumerLost> {
        let (start, mut loading) = self.find_start().await?;
        if loading.is_some() && self.life.is_none() {
            self.state.set_loading();
        }
        let mut subscriber = self.consume(start).await?;
        if let (None, Some(life)) = (&loading, &self.life) {
            self.context.metrics.count(Counter::ClusterResumes, 1);
            self.state.set_live(life.epoch());
        }
        let mut check = tokio::time::interval(CHECK_INTERVAL);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last_message, mut epoch_seen, mut epoch_published) = (Instant::now(), Instant::now(), Instant::now());
        let mut epoch_interval = EPOCH_INTERVAL + jitter();
        loop {
            tokio::select! {
                message = subscriber.next() => {
                    let message = message.ok_or_else(|| ConsumerLost::Client("the subscription ended".to_owned()))?;
                    let began = Instant::now();
                    if message.status.is_some() {
                        self.answer_status(&message).await?;
                    } else if self.receive(&message, &mut loading).await? || began.elapsed() > EPOCH_INTERVAL {
                        epoch_seen = Instant::now(); // after a long wait for room, epoch messages are still queued
                    }
                    last_message = Instant::now(); // what arrived while this message was applied is still queued
                }
                _ = check.tick() => {
                    if self.follow_settings().await {
                        last_message = Instant::now();
                    }
                    if last_message.elapsed() > SILENCE_MAX {
                        return Err(ConsumerLost::Silent);
                    }
                    if epoch_seen.elapsed() > EPOCH_SILENCE_MAX {
                        return Err(ConsumerLost::EpochSilent);
                    }
                    if epoch_seen.elapsed() > epoch_interval && epoch_published.elapsed() > epoch_interval {
                        (epoch_published, epoch_interval) = (Instant::now(), EPOCH_INTERVAL + jitter());
                        if let Some((epoch, expected)) = self.follower.epoch() {
                            self.publish_epoch(epoch, expected).await?;
                        }
                    }
                }
            }
        }
    }

    /// Applies a changed configuration of the stream to the servers. Returns whether the servers were asked for
    /// something. If they fail, the next reload or an operator has to change the stream.
    async fn follow_settings(&mut self) -> bool {
        let generation = self.context.live.generation();
        if generation == self.generation {
            return false;
        }
        self.generation = generation;
        let config = self.context.live.load();
        let streams = config.cluster.as_ref().map(|cluster| &cluster.streams[..]).unwrap_or_default();
        let Some(wanted) = streams.iter().find(|stream| stream.name == self.wanted.name && **stream != self.wanted) else { return false };
        let (stream, max_bytes, max_age) = (&wanted.name, wanted.max_bytes, wanted.max_age);
        match update_stream(&self.client, wanted, config.limits.message_bytes).await {
            Ok(()) => tracing::info!(stream, max_bytes, ?max_age, "the stream is kept as configured"),
            Err(error) => tracing::warn!(stream, max_bytes, ?max_age, %error, "the servers keep the stream as it was"),
        }
        self.wanted = wanted.clone();
        true
    }

    /// Asks the leader where to start, and gives the stream an epoch if it needs one. Returns the number of the first
    /// message, and a load if the stream has to be read as a whole.
    async fn find_start(&mut self) -> Result<(u64, Option<Loading>), ConsumerLost> {
        let config = self.context.live.load();
        let message_bytes = config.limits.message_bytes;
        check_server(&self.client, message_bytes)?;
        let history = self.state.settings.longest_history(&config.rules);
        self.retain = prepare_stream(&self.client, &self.wanted, message_bytes, history).await?;
        for _ in 0..EPOCH_ATTEMPTS_MAX {
            match self.follower.start(api::stream_info(&self.client, &self.state.settings, self.follower.recognizable()).await?) {
                Start::NameEpoch { expected } => {
                    if self.life.is_some() {
                        self.load_reason = ClusterLoad::Epoch;
                    }
                    self.publish_epoch(Epoch::random(), expected).await?;
                    self.client.flush().await.map_err(|error| ConsumerLost::Client(error.to_string()))?;
                    tokio::time::sleep(CHECK_INTERVAL).await;
                }
                Start::Load { epoch, start, unproven } => {
                    if self.life.as_ref().is_some_and(|life| life.epoch() != epoch) {
                        self.load_reason = ClusterLoad::Epoch;
                    } else if unproven.is_some() {
                        self.load_reason = ClusterLoad::Hole;
                    }
                    return Ok((start, Some(Loading::new(epoch, start, unproven))));
                }
                Start::Resume { start } => return Ok((start, None)),
            }
        }
        Err(ConsumerLost::NoEpoch)
    }

    /// Publishes an epoch message on condition that the newest one has the number `expected`. Without the condition, an
    /// old epoch could come into a stream that was emptied, and old positions would name new messages.
    async fn publish_epoch(&self, epoch: Epoch, expected: u64) -> Result<(), ConsumerLost> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string());
        let published =
            self.client.publish_with_headers(self.state.settings.epoch_subject(), headers, epoch.as_str().to_owned().into()).await;
        published.map_err(|error| ConsumerLost::Client(error.to_string()))
    }

    /// Makes a consumer from the number `start` on. It delivers to the literal name of an inbox, because a wildcard
    /// would not make it active.
    async fn consume(&self, start: u64) -> Result<Subscriber, ConsumerLost> {
        let inbox = self.client.new_inbox();
        let subscriber = self.client.subscribe(inbox.clone()).await.map_err(|error| ConsumerLost::Client(error.to_string()))?;
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
        api::request(&self.client, &format!("CONSUMER.CREATE.{name}"), &body).await?;
        Ok(subscriber)
    }

    /// Answers a heartbeat or a request of flow control.
    async fn answer_status(&self, message: &Message) -> Result<(), ConsumerLost> {
        if message.status != Some(StatusCode::IDLE_HEARTBEAT) {
            return Err(ConsumerLost::Ended(message.description.clone().unwrap_or_default()));
        }
        let header = |name: &str| message.headers.as_ref().and_then(|headers| headers.get(name)).map(|value| value.as_str().to_owned());
        let reply = message.reply.as_ref().map(|reply| reply.as_str().to_owned());
        if let Some(subject) = reply.or_else(|| header("Nats-Consumer-Stalled")) {
            self.client.publish(subject, Vec::new().into()).await.map_err(|error| ConsumerLost::Client(error.to_string()))?;
        }
        match header("Nats-Last-Consumer").and_then(|sequence| sequence.parse().ok()) {
            Some(sequence) => Ok(self.follower.heartbeat(sequence)?),
            None => Ok(()),
        }
    }

    /// Handles a message of the stream. Returns whether it is an epoch message.
    async fn receive(&mut self, message: &Message, loading: &mut Option<Loading>) -> Result<bool, ConsumerLost> {
        let Some(delivery) = Delivery::of(message) else { return Err(ConsumerLost::Ended("a message has no numbers".to_owned())) };
        let names_epoch = message.subject.as_str() == self.state.settings.epoch_subject();
        let received = Received {
            sequence: delivery.sequence,
            consumer_sequence: delivery.consumer_sequence,
            stored_at: delivery.nanoseconds,
            epoch: names_epoch.then(|| api::parse_epoch(&message.payload)),
        };
        let mut next = self.follower.receive(received)?;
        if let Some(loading) = loading {
            loading.note_number(delivery.sequence);
        }
        let stream = &self.state.settings.name;
        self.context.metrics.cluster_received(stream, delivery.pending);
        if names_epoch {
            self.state.note_epoch();
        } else {
            self.apply(message, &delivery, loading).await;
        }
        // During a load the cursor and the publishers stay at the last message that is in the topics.
        if loading.is_none() {
            self.life.iter().for_each(|life| life.advance(Offset(delivery.sequence)));
            self.context.publisher.read_to(&self.state, delivery.sequence);
        }
        if next == Next::AskEnd {
            let (_, last) = api::first_and_last(&self.client, &self.state.settings).await?;
            next = self.follower.set_end(last);
        }
        if next == Next::Loaded {
            self.replace_topics(loading).await?;
        }
        Ok(names_epoch)
    }

    async fn apply(&self, message: &Message, delivery: &Delivery, loading: &mut Option<Loading>) {
        let Context { hub, live, metrics, clock, .. } = &self.context;
        let skipped = match TopicName::parse(message.subject.as_str()) {
            Err(_) => Some(ForeignSkipped::Name),
            Ok(_) if message.payload.len() > live.load().limits.message_bytes => Some(ForeignSkipped::Size),
            Ok(name) => {
                let extra = headers::extra(message.headers.as_ref());
                let streamed = StreamMessage {
                    offset: Offset(delivery.sequence),
                    published_at: timestamp(delivery.nanoseconds),
                    kind: headers::kind(message.headers.as_ref(), &message.payload),
                    except: headers::except(message.headers.as_ref()),
                    extra: extra.as_ref(),
                    payload: &message.payload,
                };
                match (loading, &self.life) {
                    (Some(loading), _) => loading.append(name, &streamed, live, clock),
                    (None, Some(life)) => hub.apply(&name, life, streamed).await,
                    (None, None) => {}
                }
                None
            }
        };
        if let Some(reason) = skipped {
            metrics.count(reason, 1);
        }
    }

    /// Replaces the logs of the stream's topics with those that were loaded.
    async fn replace_topics(&mut self, loading: &mut Option<Loading>) -> Result<(), ConsumerLost> {
        let (first, _) = api::first_and_last(&self.client, &self.state.settings).await?;
        let Some(loaded) = loading.take() else { return Ok(()) };
        let (life, logs) = loaded.finish(first, self.follower.cursor(), self.retain);
        self.follower.finish_load();
        let (stream, topics) = (&self.state.settings.name, logs.len());
        self.context.hub.begin_stream(&self.state.settings.pattern, &life, logs).await;
        self.context.metrics.count(self.load_reason, 1);
        // This comes before anything is published in the new epoch, whose numbers may be lower than those of the epoch
        // before.
        self.context.publisher.read_to(&self.state, self.follower.cursor());
        self.state.set_live(life.epoch());
        tracing::info!(stream, epoch = %life.epoch(), cursor = self.follower.cursor(), topics, "the stream is followed");
        self.life = Some(life);
        Ok(())
    }
}

fn jitter() -> Duration {
    rand::rng().random_range(Duration::ZERO..EPOCH_JITTER)
}
