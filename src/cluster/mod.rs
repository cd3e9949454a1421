//! Several gateways as one: topics whose messages a stream of NATS JetStream orders and keeps, and that every gateway follows.

mod api;
mod emulation;
mod follower;
mod link;
mod loading;
mod payload;
mod presence;
mod publisher;
mod read_back;
mod state;
mod streams;
mod waiters;

use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::config::{self, ClusterLogin, Live};
use crate::hub::{self, Handed, Hub, PresenceChange, Publication, PublishError};
use crate::metrics::{ClusterState, Metrics};
use crate::topic_name::TopicName;
pub use emulation::{Ear, Reached, Unreached};
use link::{Link, Parts};
use presence::Presence;
use publisher::Publisher;
use state::StreamState;
pub use streams::Unfit;
use streams::{fit_server, fit_stream};

/// How long a start waits for the servers before it goes on without them.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that a connection holds for its subscription: more than one window of flow control has.
const SUBSCRIPTION_CAPACITY: usize = 1 << 20;
/// Publications that are kept by the connection to publish on and not written to its socket. If the connection is lost, these are sent on
/// the next one, although they were answered `unavailable`. So there are few: with the one that waits to join them, 64.
const PUBLISH_CAPACITY: usize = 63;
/// What other gateways say of their members, in messages; what is lost behind it is asked for.
const PRESENCE_CAPACITY: usize = 4_096;
/// How long a gateway that ends may take to say so.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a connection is looked after; after two questions without an answer it is made anew.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// Why the cluster can't be joined.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A file can't be read.
    #[error("cluster.credentials can't be read: {0}")]
    Credentials(#[source] io::Error),
    /// The servers can't be reached.
    #[error("can't connect to {urls}: {source}; are these the NATS servers of cluster.urls, and is the login right?")]
    Connect {
        /// The servers.
        urls: String,
        /// Why.
        source: async_nats::ConnectError,
    },
    /// The servers or the streams on them don't serve.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Nobody answers.
    #[error("{urls} did not answer within {START_TIMEOUT:?}")]
    Silent {
        /// The servers.
        urls: String,
    },
}

/// Tries everything that a start needs of the servers: versions, bounds, streams. Missing streams are made.
pub async fn try_out(settings: &config::Cluster, config: &config::Config) -> Result<(), ClusterError> {
    let silent = || ClusterError::Silent { urls: settings.urls.join(", ") };
    tokio::time::timeout(START_TIMEOUT, async {
        let client = connect(settings, "check", options(settings, "check").await?).await?;
        fit_all(&client, settings, config).await?;
        Ok(())
    })
    .await
    .map_err(|_| silent())?
}

/// The gateway's part of the cluster.
pub struct Cluster {
    streams: Vec<Arc<StreamState>>,
    publisher: Arc<Publisher>,
    presence: Arc<Presence>,
    /// For requests that speak for sessions of other gateways.
    speaking: Client,
    live: Arc<Live>,
    /// What tells the others of the members here, until it has told them of the gateway's end.
    telling: Mutex<Option<JoinHandle<()>>>,
    /// All else that runs.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Cluster {
    /// Joins: every stream is followed on a connection of its own from now on. Servers that are away are waited for; those that answer and
    /// don't serve are an error.
    pub async fn start(
        settings: &config::Cluster,
        hub: &Arc<Hub>,
        live: &Arc<Live>,
        metrics: &Arc<Metrics>,
        clock: &Clock,
    ) -> Result<Arc<Self>, ClusterError> {
        match try_out(settings, &live.load()).await {
            Ok(()) => {}
            Err(ClusterError::Unfit(unfit)) if !unfit.may_pass() => return Err(unfit.into()),
            Err(error @ ClusterError::Credentials(_)) => return Err(error),
            Err(error) => tracing::warn!(%error, "the gateway starts without its cluster, and goes on trying"),
        }
        let streams: Vec<Arc<StreamState>> =
            settings.streams.iter().cloned().enumerate().map(|(index, stream)| StreamState::new(index, stream)).collect();
        let publisher = Publisher::new(live, metrics);
        let parts = Parts {
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
            tasks.push(tokio::spawn(Link::new(client, Arc::clone(state), parts.clone()).run()));
        }
        let options_of_publisher = options(settings, "publish").await?.client_capacity(PUBLISH_CAPACITY);
        let client = watched(settings, "publish", options_of_publisher, &publisher, Publisher::set_connected).await?;
        tasks.push(tokio::spawn({
            let publisher = Arc::clone(&publisher);
            async move {
                if let Err(error) = publisher.run(&client).await {
                    tracing::error!(%error, "nothing can be published to the cluster");
                }
            }
        }));
        let presence = Presence::new();
        let options_of_presence = options(settings, "presence").await?.subscription_capacity(PRESENCE_CAPACITY);
        let client = watched(settings, "presence", options_of_presence, &presence, Presence::set_connected).await?;
        let telling = tokio::spawn({
            let (presence, name) = (Arc::clone(&presence), settings.name.clone());
            let patterns = settings.streams.iter().map(|stream| stream.pattern.clone()).collect();
            let parts = presence::Parts { hub: Arc::clone(hub), live: Arc::clone(live), metrics: Arc::clone(metrics), patterns };
            async move {
                if let Err(error) = presence.run(client, &name, &parts).await {
                    tracing::error!(%error, "presence is this gateway's alone");
                }
            }
        });
        let options = options(settings, "emulation").await?.retry_on_initial_connect().subscription_capacity(emulation::REQUESTS_MAX);
        let speaking = connect(settings, "emulation", options).await?;
        let cluster = Arc::new(Self {
            streams,
            publisher,
            presence,
            speaking,
            live: Arc::clone(live),
            telling: Mutex::new(Some(telling)),
            tasks: Mutex::new(tasks),
        });
        let shown = Arc::clone(&cluster);
        metrics.before_each_reading(move |metrics| shown.show(metrics));
        hub.set_engine(Arc::clone(&cluster) as Arc<dyn hub::Engine>);
        Ok(cluster)
    }

    /// Says `frame` to `session` of the gateway that clients know as `node`.
    pub async fn speak(&self, node: &str, session: &str, frame: &[u8]) -> Result<Reached, Unreached> {
        emulation::speak(&self.speaking, node, session, frame).await
    }

    /// From now on `ear` hears what other gateways pass on to the sessions of this one, `node`.
    pub fn listen(&self, node: &Arc<str>, ear: Ear) {
        let (client, node) = (self.speaking.clone(), Arc::clone(node));
        self.tasks.lock().push(tokio::spawn(async move {
            if let Err(error) = emulation::listen(&client, &node, &ear).await {
                tracing::error!(%error, "requests at other gateways can't speak for sessions of this one");
            }
        }));
    }

    /// Leaves, once no session is left: what was published is acknowledged or given up, and the other gateways know that this one has no
    /// members any more.
    pub async fn leave(&self) {
        let timeout = self.live.load().cluster.as_ref().map_or(Duration::ZERO, |cluster| cluster.publish_timeout);
        if tokio::time::timeout(timeout, self.publisher.emptied()).await.is_err() {
            tracing::warn!(publishes = self.publisher.inflight(), "publishes were left without their answer");
        }
        self.presence.end();
        let telling = self.telling.lock().take();
        if let Some(mut telling) = telling
            && tokio::time::timeout(LEAVE_TIMEOUT, &mut telling).await.is_err()
        {
            telling.abort();
        }
        self.tasks.lock().iter().for_each(JoinHandle::abort);
    }

    fn show(&self, metrics: &Metrics) {
        for state in &self.streams {
            metrics.set_cluster_stream(&state.settings.name, state.state(), state.life_heard().elapsed());
        }
        metrics.set_cluster_inflight(self.publisher.inflight());
        let kept = self.presence.kept();
        metrics.set_cluster_members(kept.peers, kept.members, kept.bytes);
    }

    fn state_of(&self, topic: &TopicName) -> Option<&Arc<StreamState>> {
        self.streams.iter().find(|state| state.settings.pattern.matches(topic))
    }
}

impl hub::Engine for Cluster {
    fn accepts(&self, topic: &TopicName) -> Option<bool> {
        Some(self.publisher.accepts(self.state_of(topic)?))
    }

    fn publish(&self, topic: &TopicName, publication: &Publication<'_>, publisher: &Waker) -> Option<Result<Handed, PublishError>> {
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
            match state.state_since() {
                (ClusterState::Live, _) => None,
                (ClusterState::Standing, since) if since.elapsed() <= grace => None,
                (ClusterState::Standing, since) => Some(format!("stream {name} was not followed for {} s", since.elapsed().as_secs())),
                (ClusterState::Cold | ClusterState::Loading, _) => Some(format!("stream {name} was not read yet")),
            }
        })
    }

    fn is_loading(&self) -> bool {
        self.streams.iter().any(|state| matches!(state.state(), ClusterState::Cold | ClusterState::Loading))
    }
}

async fn fit_all(client: &Client, settings: &config::Cluster, config: &config::Config) -> Result<(), Unfit> {
    let message_bytes = config.limits.message_bytes;
    fit_server(client, message_bytes)?;
    for stream in &settings.streams {
        fit_stream(client, stream, message_bytes, stream.longest_history(&config.rules)).await?;
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

/// A connection that tells `whom` when it comes and goes. Servers that are away are waited for.
async fn watched<T: Send + Sync + 'static>(
    settings: &config::Cluster,
    purpose: &str,
    options: ConnectOptions,
    whom: &Arc<T>,
    tell: fn(&T, bool),
) -> Result<Client, ClusterError> {
    let told = Arc::clone(whom);
    let options = options.retry_on_initial_connect().event_callback(move |event| {
        match event {
            Event::Connected => tell(&told, true),
            Event::Disconnected | Event::Closed => tell(&told, false),
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
