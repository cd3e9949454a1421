//! The cluster: several gateways that serve the same topics. NATS JetStream orders and stores the messages of these topics in streams, which
//! every gateway reads.

mod api;
mod follower;
mod forwarding;
mod gateway_id;
mod headers;
mod loading;
mod presence;
mod publisher;
mod reader;
mod setup;
mod state;
#[cfg(test)]
mod stream_model;

use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::config::{self, ClusterLogin, Live};
use crate::hub::{self, EngineAttempt, Hub, PresenceChange, Publication, PublishError};
use crate::metrics::{ClusterState, Gauge, Metrics};
use crate::session_id::Forwarded;
use crate::topic_name::TopicName;
pub use forwarding::{CommandHandler, ForwardError};
pub use gateway_id::GatewayId;
use presence::Presence;
use publisher::Publisher;
use reader::StreamReader;
pub use setup::SetupError;
use setup::{check_server, prepare_stream};
use state::StreamState;

/// How long the start waits for the servers before it continues without them.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// The most messages that a connection queues for a subscription. A window of flow control has fewer.
const SUBSCRIPTION_CAPACITY: usize = 1 << 20;
/// The most messages that the publisher's connection queues for its socket. After a lost connection, the NATS client sends these on the next
/// one, although they were answered `unavailable`. So there are few: 64, with the one that waits for room in this queue.
const PUBLISH_CAPACITY: usize = 63;
/// The most messages of other gateways about their members that are queued. Members in lost messages are asked for.
const PRESENCE_CAPACITY: usize = 4_096;
/// How long a gateway that stops may take to announce it to the others.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);
/// The time between two pings. After two pings without an answer the connection is made again.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// Why the gateway can't join the cluster.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each error says what it is")]
pub enum ClusterError {
    #[error("cluster.credentials can't be read: {0}")]
    Credentials(#[source] io::Error),
    #[error("can't connect to {urls}: {source}; are these the NATS servers of cluster.urls, and is the login right?")]
    Connect { urls: String, source: async_nats::ConnectError },
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("{urls} did not answer within {START_TIMEOUT:?}")]
    Timeout { urls: String },
}

/// Checks what the gateway needs of the servers: their version, their limits, their streams. Missing streams are made.
pub async fn check_servers(settings: &config::Cluster, config: &config::Config) -> Result<(), ClusterError> {
    let timeout_error = || ClusterError::Timeout { urls: settings.urls.join(", ") };
    tokio::time::timeout(START_TIMEOUT, async {
        let client = connect(settings, "check", options(settings, "check").await?).await?;
        prepare_streams(&client, settings, config).await?;
        Ok(())
    })
    .await
    .map_err(|_| timeout_error())?
}

/// The gateway's part of the cluster.
pub struct Cluster {
    streams: Vec<Arc<StreamState>>,
    publisher: Arc<Publisher>,
    presence: Arc<Presence>,
    /// The connection for commands of sessions at other gateways.
    forwarding: Client,
    live: Arc<Live>,
    /// The task that exchanges members with the other gateways. It ends after it has announced to them that this gateway stops.
    presence_task: Mutex<Option<JoinHandle<()>>>,
    /// All other tasks.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Cluster {
    /// Joins the cluster: reads every stream on a connection of its own from now on. Servers that can't be reached are tried again and again.
    /// Servers that the gateway can't work with are an error.
    pub async fn start(
        settings: &config::Cluster,
        hub: &Arc<Hub>,
        live: &Arc<Live>,
        metrics: &Arc<Metrics>,
        clock: &Clock,
    ) -> Result<Arc<Self>, ClusterError> {
        match check_servers(settings, &live.load()).await {
            Ok(()) => {}
            Err(ClusterError::Setup(error)) if !error.is_temporary() => return Err(error.into()),
            Err(error @ ClusterError::Credentials(_)) => return Err(error),
            Err(error) => tracing::warn!(%error, "the gateway starts without its cluster, and tries again"),
        }
        let streams: Vec<Arc<StreamState>> =
            settings.streams.iter().cloned().enumerate().map(|(index, stream)| StreamState::new(index, stream)).collect();
        let publisher = Publisher::new(live, metrics);
        let context = reader::Context {
            hub: Arc::clone(hub),
            live: Arc::clone(live),
            metrics: Arc::clone(metrics),
            publisher: Arc::clone(&publisher),
            clock: clock.clone(),
        };
        let mut tasks = Vec::new();
        for state in &streams {
            let options = options(settings, &state.settings.name).await?.retry_on_initial_connect();
            let client = connect(settings, &state.settings.name, options).await?;
            tasks.push(tokio::spawn(StreamReader::new(client, Arc::clone(state), context.clone()).run()));
        }
        tasks.push(start_publisher(settings, &publisher).await?);
        let presence = Presence::new();
        let patterns = settings.streams.iter().map(|stream| stream.pattern.clone()).collect();
        let context = presence::Context { hub: Arc::clone(hub), live: Arc::clone(live), metrics: Arc::clone(metrics), patterns };
        let presence_task = start_presence(settings, &presence, context).await?;
        let options = options(settings, "emulation").await?.retry_on_initial_connect().subscription_capacity(forwarding::REQUESTS_MAX);
        let forwarding = connect(settings, "emulation", options).await?;
        let (presence_task, tasks) = (Mutex::new(Some(presence_task)), Mutex::new(tasks));
        let cluster = Arc::new(Self { streams, publisher, presence, forwarding, live: Arc::clone(live), presence_task, tasks });
        let reported = Arc::clone(&cluster);
        metrics.before_each_reading(move |metrics| reported.update_metrics(metrics));
        hub.set_engine(Arc::clone(&cluster) as Arc<dyn hub::Engine>);
        Ok(cluster)
    }

    /// Forwards `frame` to `session` of the gateway that clients know as `node`.
    pub async fn forward(&self, node: &str, session: &str, frame: &[u8]) -> Result<Forwarded, ForwardError> {
        forwarding::forward(&self.forwarding, node, session, frame).await
    }

    /// From now on `handler` gets the frames that other gateways forward to sessions of this one, `node`.
    pub fn serve_forwarded(&self, node: &Arc<str>, handler: CommandHandler) {
        let (client, node) = (self.forwarding.clone(), Arc::clone(node));
        self.tasks.lock().push(tokio::spawn(async move {
            if let Err(error) = forwarding::serve(&client, &node, &handler).await {
                tracing::error!(%error, "requests to /emulation at other gateways do not reach sessions of this gateway");
            }
        }));
    }

    /// Leaves the cluster after the last session: waits for the acknowledgements of publications, and announces to the other gateways that this one
    /// has no members any more.
    pub async fn leave(&self) {
        let timeout = self.live.load().cluster.as_ref().map_or(Duration::ZERO, |cluster| cluster.publish_timeout);
        if tokio::time::timeout(timeout, self.publisher.all_answered()).await.is_err() {
            tracing::warn!(publishes = self.publisher.inflight(), "publishes had no answer at the end");
        }
        self.presence.end();
        let presence_task = self.presence_task.lock().take();
        if let Some(mut presence_task) = presence_task
            && tokio::time::timeout(LEAVE_TIMEOUT, &mut presence_task).await.is_err()
        {
            presence_task.abort();
        }
        self.tasks.lock().iter().for_each(JoinHandle::abort);
    }

    fn update_metrics(&self, metrics: &Metrics) {
        for state in &self.streams {
            metrics.set_cluster_stream(&state.settings.name, state.state(), state.epoch_seen().elapsed());
        }
        metrics.set(Gauge::ClusterInflight, self.publisher.inflight());
        let totals = self.presence.totals();
        metrics.set(Gauge::ClusterPeers, totals.peers);
        metrics.set(Gauge::ClusterMembers, totals.members);
        metrics.set(Gauge::ClusterMembersBytes, totals.bytes);
    }

    fn state_of(&self, topic: &TopicName) -> Option<&Arc<StreamState>> {
        self.streams.iter().find(|state| state.settings.pattern.matches(topic))
    }
}

impl hub::Engine for Cluster {
    fn accepts(&self, topic: &TopicName) -> Option<bool> {
        Some(self.publisher.accepts(self.state_of(topic)?))
    }

    fn publish(&self, topic: &TopicName, publication: &Publication<'_>, publisher: &Waker) -> Option<Result<EngineAttempt, PublishError>> {
        Some(self.publisher.publish(self.state_of(topic)?, topic, publication, publisher))
    }

    fn when_room(&self, publisher: &Waker) {
        self.publisher.when_room(publisher);
    }

    fn forget(&self, publisher: &Waker) {
        self.publisher.forget(publisher);
    }

    fn presence(&self, change: &Arc<PresenceChange>) {
        if self.state_of(&change.topic).is_some() {
            self.presence.change(change);
        }
    }

    fn unready(&self) -> Option<String> {
        let grace = self.live.load().cluster.as_ref().map_or(Duration::ZERO, |cluster| cluster.grace);
        self.streams.iter().find_map(|state| {
            let name = &state.settings.name;
            match state.state_and_start() {
                (ClusterState::Live, _) => None,
                (ClusterState::Stalled, since) if since.elapsed() <= grace => None,
                (ClusterState::Stalled, since) => Some(format!("stream {name} was not followed for {} s", since.elapsed().as_secs())),
                (ClusterState::Cold | ClusterState::Loading, _) => Some(format!("stream {name} was not read yet")),
            }
        })
    }

    fn is_loading(&self) -> bool {
        self.streams.iter().any(|state| matches!(state.state(), ClusterState::Cold | ClusterState::Loading))
    }
}

async fn start_publisher(settings: &config::Cluster, publisher: &Arc<Publisher>) -> Result<JoinHandle<()>, ClusterError> {
    let options = options(settings, "publish").await?.client_capacity(PUBLISH_CAPACITY);
    let client = connect_and_report(settings, "publish", options, publisher, Publisher::set_connected).await?;
    let publisher = Arc::clone(publisher);
    Ok(tokio::spawn(async move {
        if let Err(error) = publisher.run(&client).await {
            tracing::error!(%error, "nothing can be published to the cluster");
        }
    }))
}

async fn start_presence(
    settings: &config::Cluster,
    presence: &Arc<Presence>,
    context: presence::Context,
) -> Result<JoinHandle<()>, ClusterError> {
    let options = options(settings, "presence").await?.subscription_capacity(PRESENCE_CAPACITY);
    let client = connect_and_report(settings, "presence", options, presence, Presence::set_connected).await?;
    let (presence, name) = (Arc::clone(presence), settings.name.clone());
    Ok(tokio::spawn(async move {
        if let Err(error) = presence.run(client, &name, &context).await {
            tracing::error!(%error, "presence has only members of this gateway");
        }
    }))
}

async fn prepare_streams(client: &Client, settings: &config::Cluster, config: &config::Config) -> Result<(), SetupError> {
    let message_bytes = config.limits.message_bytes;
    check_server(client, message_bytes)?;
    for stream in &settings.streams {
        prepare_stream(client, stream, message_bytes, stream.longest_history(&config.rules)).await?;
    }
    Ok(())
}

async fn options(settings: &config::Cluster, purpose: &str) -> Result<ConnectOptions, ClusterError> {
    let options = ConnectOptions::new()
        .name(format!("belfry {} {purpose}", settings.name))
        .ping_interval(PING_INTERVAL)
        .connection_timeout(Duration::from_secs(2))
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .reconnect_delay_callback(|attempts| Duration::from_millis(200 * u64::try_from(attempts).unwrap_or(10).min(10)));
    let options = match &settings.login {
        ClusterLogin::None => options,
        ClusterLogin::Credentials(file) => options.credentials_file(file).await.map_err(ClusterError::Credentials)?,
        ClusterLogin::Password { user, password } => options.user_and_password(user.clone(), password.clone()),
    };
    let options = match &settings.tls.ca {
        Some(file) => options.add_root_certificates(file.clone()),
        None => options,
    };
    Ok(match &settings.tls.identity {
        Some((cert, key)) => options.add_client_certificate(cert.clone(), key.clone()),
        None => options,
    })
}

/// A connection that calls `report` when it is made and when it is lost. Servers that can't be reached are tried again and again.
async fn connect_and_report<T: Send + Sync + 'static>(
    settings: &config::Cluster,
    purpose: &str,
    options: ConnectOptions,
    observer: &Arc<T>,
    report: fn(&T, bool),
) -> Result<Client, ClusterError> {
    let observer = Arc::clone(observer);
    let options = options.retry_on_initial_connect().event_callback(move |event| {
        match event {
            Event::Connected => report(&observer, true),
            Event::Disconnected | Event::Closed => report(&observer, false),
            _ => {}
        }
        std::future::ready(())
    });
    connect(settings, purpose, options).await
}

async fn connect(settings: &config::Cluster, purpose: &str, options: ConnectOptions) -> Result<Client, ClusterError> {
    let connected = options.connect(settings.urls.clone()).await;
    let client = connected.map_err(|source| ClusterError::Connect { urls: settings.urls.join(", "), source })?;
    tracing::debug!(purpose, "a connection to the cluster");
    Ok(client)
}
