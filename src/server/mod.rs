//! The whole gateway: builds each part, and gives it only what it needs.

mod accept;
mod api;
mod connection;
mod granted;
mod lifecycle;
mod limits;
mod request;
mod response;
mod routes;
mod start_error;
mod streaming;
mod websocket;

pub use accept::{ProxyHeader, ProxyHeaderError, read_proxy_header};
pub use lifecycle::{Preflighted, Signals, Supervisor, preflight};
pub use start_error::StartError;

use std::io;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::auth::Auth;
use crate::clock::Clock;
use crate::cluster::{Cluster, GatewayId};
use crate::config::{Config, Limits, ListenAddress, Live, LogFormat, Sources};
use crate::feed::Feeds;
use crate::hub::Hub;
use crate::metrics::{Counter, Metrics};
use crate::session::{FailureLimit, Services};
use crate::shard::Shards;
use accept::{Acceptor, Bound, Listener, ListenerSettings, PassedSockets, SocketFile, bind_all};
use api::{Api, Directory, Surface, forwarded_commands};
use connection::{Accepting, Http, TlsInForce, read_certificate};
use lifecycle::{Handover, Notifier, Reload, SignalAction, drain, drain_time, run_key, summary, with_key};
use limits::{Accounts, Admission};
use routes::{ListenerKind, Routes};
use streaming::{EmulatedStreams, Streams};
use websocket::Upgrades;

/// A running gateway.
pub struct Running {
    /// The addresses of the main listener, with the ports that were chosen. There is at least one.
    pub addresses: Vec<ListenAddress>,
    summary: String,
    metrics: Arc<Metrics>,
    signals: Signals,
    notifier: Notifier,
    reload: Reload,
    admission: Arc<Admission>,
    shards: Arc<Shards>,
    /// The engine of a cluster, if the gateway is part of one.
    cluster: Option<Arc<Cluster>>,
    /// The tasks of the listeners, and the upkeep of the hub.
    tasks: Vec<JoinHandle<()>>,
    /// The store, if topics survive a restart.
    handover: Option<Handover>,
    /// Removes the files of Unix sockets when dropped.
    _socket_files: Vec<SocketFile>,
}

/// Starts everything that `config` asks for. A SIGHUP from `signals` reads `sources` again. The `supervisor` may have
/// passed sockets, and is notified of the gateway's state. If `sources` name no file, an admin key for this run is
/// made, which [`Running::summary`] has.
pub async fn start(config: Arc<Config>, sources: Sources, signals: Signals, supervisor: Supervisor) -> Result<Running, StartError> {
    let sessions_possible = bounded_sessions(&config);
    let certificate = read_certificate("server.tls", config.server.tls.as_ref())?;
    let admin_certificate = read_certificate("admin.tls", config.admin.tls.as_ref())?;
    let run_key = sources.file.is_none().then(run_key);
    let config = with_key(config, run_key.as_ref());
    let (clock, metrics) = (Clock::machine(), Arc::new(Metrics::new()));
    let auth = Arc::new(Auth::new(&config.auth, clock.clone())?);
    let live = Arc::new(Live::new(&config, &metrics));
    let Supervisor { sockets, notifier } = supervisor;
    let mut listening = listen(&config, sockets)?;
    let (addresses, admin_addresses) = (addresses_of(&listening.main), addresses_of(&listening.admin));
    let _socket_files = listening.main.iter_mut().chain(&mut listening.admin).filter_map(|bound| bound.file.take()).collect();
    let hub = Hub::new(Arc::clone(&live), Arc::clone(&metrics), clock.clone());
    let handover = Handover::restore(&config.store, &hub, &metrics, &clock)?;
    let cluster = match &config.cluster {
        Some(cluster) => Some(Cluster::start(cluster, &hub, &live, &metrics, &clock).await?),
        None => None,
    };
    let shards = Shards::start(config.server.shards, &hub, &live, &metrics, &clock).map_err(StartError::Shards)?;
    let admission = Admission::new(Arc::clone(&live), sessions_possible, hub.engine().cloned());
    let accounts = Accounts::new(&live, &metrics, &clock, &admission);
    let failures = Arc::clone(&accounts.failures) as Arc<dyn FailureLimit>;
    let services = Arc::new(Services { auth: Arc::clone(&auth), live: Arc::clone(&live), clock: clock.clone(), failures });
    let listeners = Listeners::new(&services, accounts, &hub, &metrics, &shards, &admission, cluster.as_ref());
    let [tls, admin_tls] = [certificate, admin_certificate].map(|certificate| Arc::new(TlsInForce::new(certificate)));
    let feeds = Feeds::start(&config.feed, Arc::clone(&hub), Arc::clone(&metrics), clock).map_err(StartError::Feeds)?;
    let mut tasks = listeners.accept(listening, &tls, &admin_tls).map_err(StartError::Accept)?;
    tasks.push(tokio::spawn({
        let hub = Arc::clone(&hub);
        async move { hub.run_upkeep().await }
    }));
    let summary = summary(&addresses, &admin_addresses, &config, run_key.as_ref().map(|key| key.key.as_str()));
    log_addresses(&config, &addresses, &admin_addresses);
    let reload = Reload { sources, run_key, live, auth, tls, admin_tls, feeds };
    Ok(Running { addresses, summary, metrics, signals, notifier, reload, admission, shards, cluster, tasks, handover, _socket_files })
}

impl Running {
    /// The addresses, in a few lines for the terminal. They include the admin key of a run without a file, so they must
    /// not be logged.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// Adds to `log_suppressed_total`, at each scrape, the number that `take_suppressed` returns: lines that could not
    /// be written since the last scrape.
    pub fn count_suppressed(&self, take_suppressed: impl Fn() -> u64 + Send + Sync + 'static) {
        self.metrics.before_each_reading(move |metrics| metrics.count(Counter::LogSuppressed, take_suppressed()));
    }

    /// Runs until SIGTERM or SIGINT has drained the gateway. A second signal ends the drain at once. SIGHUP reloads the
    /// configuration.
    pub async fn run_until_drained(mut self) {
        self.notifier.ready();
        let action = loop {
            let action = self.signals.next().await;
            if action != SignalAction::Reload {
                break action;
            }
            self.notifier.reloading();
            // The process can be ended while a file of the configuration blocks the reload.
            tokio::select! {
                () = self.reload.run() => self.notifier.ready(),
                action = self.signals.next_end() => break action,
            }
        };
        self.notifier.stopping();
        let over = drain_time(action, self.reload.live.load().server.drain);
        drain(&mut self.signals, &self.admission, &self.shards, over).await;
        self.reload.feeds.stop();
        if let Some(cluster) = &self.cluster {
            cluster.leave().await;
        }
        self.tasks.iter().for_each(JoinHandle::abort);
        if let Some(handover) = &self.handover {
            handover.save();
        }
        self.shards.stop();
    }
}

/// Raises the limit of open files, and logs if it is below `limits.sessions`. Returns how many sessions are possible.
fn bounded_sessions(config: &Config) -> usize {
    let possible = accept::raise_open_files();
    if config.limits.sessions > possible {
        let lowered = "limits.sessions is more than the limit of open files allows; raise that limit (ulimit -Hn) for more";
        let sessions = config.limits.sessions;
        // The default may exceed the machine's limit without a mistake of the operator.
        if sessions == Limits::default().sessions {
            tracing::info!(sessions, lowered_to = possible, "{lowered}");
        } else {
            tracing::warn!(sessions, lowered_to = possible, "{lowered}");
        }
    }
    possible
}

/// The bound sockets of both listeners.
struct Listening {
    main: Vec<Bound>,
    /// Empty if `main` serves the administrators too.
    admin: Vec<Bound>,
}

fn listen(config: &Config, mut passed: PassedSockets) -> Result<Listening, StartError> {
    let main = ListenerSettings { key: "server.listen", listen: &config.server.listen, unix_mode: config.server.unix_mode };
    let admin = ListenerSettings { key: "admin.listen", listen: &config.admin.listen, unix_mode: config.admin.unix_mode };
    let [main, admin] = bind_all([main, admin], &mut passed)?;
    for name in passed.left() {
        tracing::warn!(name, "a socket was passed on that nothing uses; \"systemd\" in server.listen listens on it");
    }
    Ok(Listening { main, admin })
}

fn addresses_of(sockets: &[Bound]) -> Vec<ListenAddress> {
    sockets.iter().map(|bound| bound.address.clone()).collect()
}

/// What the listeners share.
struct Listeners {
    routes: Arc<Routes>,
    accounts: Accounts,
    live: Arc<Live>,
    shards: Arc<Shards>,
}

impl Listeners {
    fn new(
        services: &Arc<Services>,
        accounts: Accounts,
        hub: &Arc<Hub>,
        metrics: &Arc<Metrics>,
        shards: &Arc<Shards>,
        admission: &Arc<Admission>,
        cluster: Option<&Arc<Cluster>>,
    ) -> Self {
        let live = &services.live;
        // Centrifugo's clients name this in `/emulation`, to address the gateway that has their session.
        let node: Arc<str> = GatewayId::random().to_string().into();
        if let Some(cluster) = cluster {
            cluster.serve_forwarded(&node, forwarded_commands(shards, &accounts.bytes));
        }
        let api = Api::new(services, hub, shards, metrics, admission, &accounts, Directory::new(&node, shards, cluster));
        let upgrades = Upgrades::new(services, admission, &accounts.failures, hub);
        let streams = Streams::new(services, admission, shards, &accounts, hub);
        let emulated = EmulatedStreams::new(services, admission, shards, &accounts, &node);
        let routes = Arc::new(Routes::new(live, &accounts.rejections, upgrades, streams, emulated, shards, api));
        Self { routes, accounts, live: Arc::clone(live), shards: Arc::clone(shards) }
    }

    /// Begins to accept, on the first shard's thread. The administrators' listener has no sessions.
    fn accept(&self, listening: Listening, tls: &Arc<TlsInForce>, admin_tls: &Arc<TlsInForce>) -> io::Result<Vec<JoinHandle<()>>> {
        let (http_runtime, first) = (Handle::current(), self.shards.first_runtime());
        let _first = first.enter();
        let without_tls = Arc::new(TlsInForce::new(None));
        let begin = |bound: Bound, surface, tls: &Arc<TlsInForce>| -> io::Result<JoinHandle<()>> {
            let listener = ListenerKind { surface, is_loopback: bound.ip().is_some_and(|ip| ip.to_canonical().is_loopback()) };
            let acceptor = Arc::new(Acceptor {
                tls: Arc::clone(if bound.ip().is_some() { tls } else { &without_tls }),
                http: Arc::new(Http::new(&self.routes, listener, &self.live, &self.accounts)),
                sessions: (surface != Surface::Admin).then(|| Arc::clone(&self.shards)),
                live: Arc::clone(&self.live),
                rejections: Arc::clone(&self.accounts.rejections),
                pending: Arc::clone(&self.accounts.pending),
                http_runtime: http_runtime.clone(),
            });
            Ok(first.spawn(Listener { socket: Accepting::new(bound.socket)?, acceptor }.run()))
        };
        let Listening { main, admin } = listening;
        let surface = if admin.is_empty() { Surface::Whole } else { Surface::Public };
        let main = main.into_iter().map(|bound| begin(bound, surface, tls));
        main.chain(admin.into_iter().map(|bound| begin(bound, Surface::Admin, admin_tls))).collect()
    }
}

/// Logs the addresses as fields, for programs; a person reads them in [`Running::summary`].
fn log_addresses(config: &Config, addresses: &[ListenAddress], admin_addresses: &[ListenAddress]) {
    if config.log.format == LogFormat::Json {
        addresses.iter().for_each(|address| tracing::info!(%address, "listening"));
        admin_addresses.iter().for_each(|address| tracing::info!(%address, "listening for administrators"));
    }
    if admin_addresses.is_empty() && addresses.iter().any(ListenAddress::is_open) {
        tracing::warn!("/metrics and the /v1 reads are on an address that others can reach; admin.listen puts them on one of their own");
    }
}
