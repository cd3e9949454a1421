//! The whole gateway: builds each part and hands it only what it needs.

mod accept;
mod api;
mod connection;
mod lifecycle;
mod limits;
mod request;
mod response;
mod routes;
mod start_error;
mod websocket;

pub use lifecycle::{Preflighted, preflight};
pub use start_error::StartError;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::auth::Auth;
use crate::clock::Clock;
use crate::config::{Config, Live, Sources};
use crate::feed::Feeds;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::session::Surroundings;
use crate::shard::Shards;
use accept::Listener;
use api::{Api, Surface};
use connection::{Accepting, Http, TlsInForce, read_certificate};
use lifecycle::{Handover, Order, Reload, Signals, drain, run_key, summary, with_key};
use limits::{Accounts, Admission, PendingHandshakes};
use routes::Routes;
use websocket::Upgrades;

/// A running gateway.
pub struct Running {
    /// Where it listens, ports chosen.
    pub address: SocketAddr,
    /// Where the administrators' listener is, if it is one of its own.
    pub admin_address: Option<SocketAddr>,
    summary: String,
    signals: Signals,
    reload: Reload,
    admission: Arc<Admission>,
    shards: Arc<Shards>,
    /// The listeners, and what looks after the hub.
    tasks: Vec<JoinHandle<()>>,
    /// Where the topics go, if they are to outlive the process.
    handover: Option<Handover>,
}

/// Starts everything that `config` asks for; `sources` are read again on SIGHUP.
/// Where `sources` name no file, an admin key for this run is made; [`Running::summary`] tells it.
pub async fn start(config: Arc<Config>, sources: Sources) -> Result<Running, StartError> {
    let signals = Signals::new().map_err(StartError::Signals)?;
    let sessions_possible = bounded_sessions(&config);
    let certificate = read_certificate("server.tls", config.server.tls.as_ref())?;
    let admin_certificate = read_certificate("admin.tls", config.admin.tls.as_ref())?;
    let run_key = sources.file.is_none().then(run_key);
    let config = with_key(config, run_key.as_ref());
    let (clock, metrics) = (Clock::machine(), Arc::new(Metrics::new()));
    let auth = Arc::new(Auth::new(&config.auth, clock.clone())?);
    let live = Arc::new(Live::new(&config, &metrics));
    let main = listen("server.listen", config.server.listen)?;
    let admin = config.admin.listen.map(|address| listen("admin.listen", address)).transpose()?;
    let address = local_address("server.listen", config.server.listen, &main)?;
    let admin_address =
        admin.as_ref().zip(config.admin.listen).map(|(socket, wanted)| local_address("admin.listen", wanted, socket)).transpose()?;
    let hub = Hub::new(Arc::clone(&live), Arc::clone(&metrics), clock.clone());
    let handover = Handover::begin(&config.store, &hub, &metrics, &clock)?;
    let shards = Shards::start(config.server.shards, &hub, &live, &metrics, &clock).map_err(StartError::Shards)?;
    let admission = Admission::new(Arc::clone(&live), sessions_possible);
    let surroundings = Arc::new(Surroundings { auth: Arc::clone(&auth), live: Arc::clone(&live), clock: clock.clone() });
    let front = Front::new(&surroundings, &hub, &metrics, &shards, &admission);
    let [tls, admin_tls] = [certificate, admin_certificate].map(|certificate| Arc::new(TlsInForce::new(certificate)));
    let feeds = Feeds::start(&config.feed, Arc::clone(&hub), metrics, clock).map_err(StartError::Feeds)?;
    let mut tasks = front.accept(main, admin, &tls, &admin_tls).map_err(StartError::Accept)?;
    tasks.push(tokio::spawn({
        let hub = Arc::clone(&hub);
        async move { hub.keep_up().await }
    }));
    let summary = summary(address, admin_address, &config, run_key.as_ref().map(|key| key.key.as_str()));
    tell(address, admin_address);
    let reload = Reload { sources, run_key, live, auth, tls, admin_tls, feeds };
    Ok(Running { address, admin_address, summary, signals, reload, admission, shards, tasks, handover })
}

impl Running {
    /// Where everything is, in a few lines for the terminal. It tells the admin key of a run without a file, so it goes
    /// to the operator and not into a log.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// Until SIGTERM or SIGINT has drained it; a second one ends it at once. SIGHUP reloads meanwhile.
    pub async fn run_until_drained(mut self) {
        while self.signals.next().await == Order::Reload {
            self.reload.run().await;
        }
        drain(&mut self.signals, &self.admission, &self.shards, &self.reload.live).await;
        self.reload.feeds.stop();
        self.tasks.iter().for_each(JoinHandle::abort);
        if let Some(handover) = &self.handover {
            handover.leave();
        }
        self.shards.stop();
    }
}

/// Raises the limit of open files, and says where `limits.sessions` can't be had.
fn bounded_sessions(config: &Config) -> usize {
    let possible = accept::raise_open_files();
    if config.limits.sessions > possible {
        tracing::warn!(
            sessions = config.limits.sessions,
            lowered_to = possible,
            "limits.sessions is more than the limit of open files allows; raise that (ulimit -Hn) for more"
        );
    }
    possible
}

fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    accept::bind(address).map_err(|source| StartError::Listen { key, address, source })
}

fn local_address(key: &'static str, address: SocketAddr, socket: &TcpListener) -> Result<SocketAddr, StartError> {
    socket.local_addr().map_err(|source| StartError::Listen { key, address, source })
}

/// What both listeners hand their connections to.
struct Front {
    routes: Arc<Routes>,
    accounts: Accounts,
    live: Arc<Live>,
    shards: Arc<Shards>,
}

impl Front {
    fn new(
        surroundings: &Arc<Surroundings>,
        hub: &Arc<Hub>,
        metrics: &Arc<Metrics>,
        shards: &Arc<Shards>,
        admission: &Arc<Admission>,
    ) -> Self {
        let Surroundings { live, clock, .. } = &**surroundings;
        let accounts = Accounts::new(live, metrics, clock);
        let api = Api::new(surroundings, hub, shards, metrics, admission, &accounts);
        let upgrades = Upgrades::new(surroundings, shards, admission, &accounts.failures);
        let routes = Arc::new(Routes::new(live, &accounts.rejections, upgrades, api));
        Self { routes, accounts, live: Arc::clone(live), shards: Arc::clone(shards) }
    }

    /// Begins to accept, on the first shard's thread. The administrators' listener, where there is one, has no sessions.
    fn accept(
        &self,
        main: TcpListener,
        admin: Option<TcpListener>,
        tls: &Arc<TlsInForce>,
        admin_tls: &Arc<TlsInForce>,
    ) -> io::Result<Vec<JoinHandle<()>>> {
        let pending = PendingHandshakes::default();
        let (front, first) = (Handle::current(), self.shards.first());
        let _first = first.enter();
        let begin = |socket, surface, tls: &Arc<TlsInForce>| -> io::Result<JoinHandle<()>> {
            let listener = Listener {
                socket: Accepting::new(socket)?,
                http: Arc::new(Http::new(&self.routes, surface, &self.live, &self.accounts)),
                tls: Arc::clone(tls),
                sessions: (surface != Surface::Admin).then(|| Arc::clone(&self.shards)),
                live: Arc::clone(&self.live),
                rejections: Arc::clone(&self.accounts.rejections),
                pending: pending.clone(),
                front: front.clone(),
            };
            Ok(first.spawn(listener.run()))
        };
        let surface = if admin.is_some() { Surface::Public } else { Surface::Whole };
        let main = begin(main, surface, tls)?;
        let admin = admin.map(|socket| begin(socket, Surface::Admin, admin_tls)).transpose()?;
        Ok(std::iter::once(main).chain(admin).collect())
    }
}

fn tell(address: SocketAddr, admin_address: Option<SocketAddr>) {
    tracing::info!(%address, "listening");
    match admin_address {
        Some(address) => tracing::info!(%address, "listening for administrators"),
        None if !address.ip().is_loopback() => {
            tracing::warn!(
                "/metrics and the /v1 reads are on an address that others can reach; admin.listen puts them on one of their own"
            );
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_in_use_says_what_to_do() {
        let first = listen("server.listen", ([127, 0, 0, 1], 0).into()).unwrap();
        let error = listen("server.listen", first.local_addr().unwrap()).err().unwrap().to_string();
        assert!(error.starts_with("can't listen on 127.0.0.1:") && error.contains("in use"), "{error}");
    }
}
