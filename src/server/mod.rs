//! The whole gateway: builds each part and hands it only what it needs.

mod accepted;
mod admission;
mod batch;
mod body;
mod credentials;
mod descriptors;
mod drain;
mod examine;
mod first_head;
mod forwarded;
mod guarded;
mod handshake;
mod head;
mod http;
mod listener;
mod origin;
mod page;
mod problem;
mod publishing;
mod query;
mod rate;
mod rejections;
mod reload;
mod routes;
mod sessions;
mod spare;
mod summary;
mod tcp;
#[cfg(test)]
mod testing;
mod tls;
mod topics;
mod upgrade;

pub use examine::{Examined, examine};

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use rand::Rng;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::auth::Auth;
use crate::clock::Clock;
use crate::config::{self, ApiKey, Config, GrantLists, Live, Sources};
use crate::feed::Feeds;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::session::Surroundings;
use crate::shard::Shards;
use crate::topic_name::Pattern;
use admission::Admission;
use drain::{Signals, Wish};
use http::Http;
use listener::Listener;
use publishing::Publishing;
use rate::Rates;
use rejections::Rejections;
use reload::Reload;
use routes::{Routes, Surface};
use sessions::Sessions;
use tcp::Accepting;
use tls::{TlsError, TlsInForce};
use topics::Topics;
use upgrade::Upgrades;

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
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can't be had.
    #[error("can't listen on {address} ({key}): {}", remedy(.source))]
    Listen {
        /// The key that names it.
        key: &'static str,
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No connection would be heard of.
    #[error("connections can't be waited for")]
    Accept(#[source] io::Error),
    /// The certificate can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A key can't be used.
    #[error(transparent)]
    Auth(#[from] config::Problem),
    /// A feed can't be started.
    #[error("{}", joined(.0))]
    Feeds(Vec<config::Problem>),
    /// The threads can't be had.
    #[error("the shards' threads could not be started")]
    Shards(#[source] io::Error),
    /// Signals can't be heard.
    #[error("signals can't be listened for")]
    Signals(#[source] io::Error),
}

fn remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the address is in use; stop what listens there, or choose another (port 0 picks a free one)".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; 0.0.0.0 means all that it has".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted; ports below 1024 need privileges, choose a higher one".to_owned(),
        _ => error.to_string(),
    }
}

fn joined(problems: &[config::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Starts everything that `config` asks for; `sources` are read again on SIGHUP.
/// Where `sources` name no file, an admin key for this run is made; [`Running::summary`] tells it.
pub async fn start(config: Arc<Config>, sources: Sources) -> Result<Running, StartError> {
    let signals = Signals::new().map_err(StartError::Signals)?;
    let sessions_possible = bounded_sessions(&config);
    let certificate = tls::read(config.server.tls.as_ref())?;
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
    let shards = Shards::start(config.server.shards, &hub, &live, &metrics, &clock).map_err(StartError::Shards)?;
    let admission = Admission::new(Arc::clone(&live), sessions_possible);
    let surroundings = Arc::new(Surroundings { auth: Arc::clone(&auth), live: Arc::clone(&live), clock: clock.clone() });
    let routes = Arc::new(routes(&surroundings, &hub, &metrics, &shards, &admission));
    let tls = Arc::new(TlsInForce::new(certificate));
    let feeds = Feeds::start(&config.feed, Arc::clone(&hub), metrics, clock).map_err(StartError::Feeds)?;
    let mut tasks = accept(main, admin, &routes, &tls).map_err(StartError::Accept)?;
    tasks.push(tokio::spawn({
        let hub = Arc::clone(&hub);
        async move { hub.keep_up().await }
    }));
    let summary = summary::summary(address, admin_address, &config, run_key.as_ref().map(|key| key.key.as_str()));
    tell(address, admin_address);
    let reload = Reload { sources, run_key, live, auth, tls, feeds };
    Ok(Running { address, admin_address, summary, signals, reload, admission, shards, tasks })
}

impl Running {
    /// Where everything is, in a few lines for the terminal. It tells the admin key of a run without a file, so it goes
    /// to the operator and not into a log.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// Until SIGTERM or SIGINT has drained it; a second one ends it at once. SIGHUP reloads meanwhile.
    pub async fn run_until_drained(mut self) {
        while self.signals.next().await == Wish::Reload {
            self.reload.run().await;
        }
        drain::drain(&mut self.signals, &self.admission, &self.shards, &self.reload.live).await;
        self.reload.feeds.stop();
        self.tasks.iter().for_each(JoinHandle::abort);
        self.shards.stop();
    }
}

/// Raises the limit of open files, and says where `limits.sessions` can't be had.
fn bounded_sessions(config: &Config) -> usize {
    let possible = descriptors::raise();
    if config.limits.sessions > possible {
        tracing::warn!(
            sessions = config.limits.sessions,
            lowered_to = possible,
            "limits.sessions is more than the limit of open files allows; raise that (ulimit -Hn) for more"
        );
    }
    possible
}

/// An admin key for one run, drawn anew each time.
fn run_key() -> ApiKey {
    const KEY_LEN: usize = 32;
    let key = rand::rng().sample_iter(rand::distr::Alphanumeric).take(KEY_LEN).map(char::from).collect();
    let everything = |texts: &[&str]| texts.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
    let grants = GrantLists { subscribe: everything(&[">", "$belfry.>"]), publish: everything(&[">"]) };
    ApiKey { name: "admin".to_owned(), key, grants, admin: true, commands_per_second: None }
}

fn with_key(config: Arc<Config>, key: Option<&ApiKey>) -> Arc<Config> {
    let Some(key) = key else { return config };
    let mut config = Config::clone(&config);
    config.auth.api_keys.push(key.clone());
    Arc::new(config)
}

fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    listener::bind(address).map_err(|source| StartError::Listen { key, address, source })
}

fn local_address(key: &'static str, address: SocketAddr, socket: &TcpListener) -> Result<SocketAddr, StartError> {
    socket.local_addr().map_err(|source| StartError::Listen { key, address, source })
}

fn routes(
    surroundings: &Arc<Surroundings>,
    hub: &Arc<Hub>,
    metrics: &Arc<Metrics>,
    shards: &Arc<Shards>,
    admission: &Arc<Admission>,
) -> Routes {
    let Surroundings { auth, live, clock } = &**surroundings;
    let rejections = Arc::new(Rejections::new(Arc::clone(metrics), clock.clone()));
    Routes {
        auth: Arc::clone(auth),
        live: Arc::clone(live),
        metrics: Arc::clone(metrics),
        admission: Arc::clone(admission),
        rejections,
        upgrades: Upgrades { surroundings: surroundings.clone(), shards: Arc::clone(shards), admission: Arc::clone(admission) },
        publishing: Publishing {
            hub: Arc::clone(hub),
            live: Arc::clone(live),
            metrics: Arc::clone(metrics),
            rates: Rates::new(clock.clone()),
        },
        topics: Topics { hub: Arc::clone(hub) },
        sessions: Sessions { shards: Arc::clone(shards) },
    }
}

/// Begins to accept, on the first shard's thread. The administrators' listener, where there is one, speaks plain HTTP.
fn accept(main: TcpListener, admin: Option<TcpListener>, routes: &Arc<Routes>, tls: &Arc<TlsInForce>) -> io::Result<Vec<JoinHandle<()>>> {
    let pending = Arc::new(AtomicUsize::new(0));
    let (front, first) = (Handle::current(), routes.upgrades.shards.first());
    let _first = first.enter();
    let begin = |socket, surface, tls| -> io::Result<JoinHandle<()>> {
        let listener = Listener {
            socket: Accepting::new(socket)?,
            http: Arc::new(Http { routes: Arc::clone(routes), surface }),
            tls,
            pending: Arc::clone(&pending),
            front: front.clone(),
        };
        Ok(first.spawn(listener.run()))
    };
    let surface = if admin.is_some() { Surface::Public } else { Surface::Whole };
    let main = begin(main, surface, Some(Arc::clone(tls)))?;
    let admin = admin.map(|socket| begin(socket, Surface::Admin, None)).transpose()?;
    Ok(std::iter::once(main).chain(admin).collect())
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

    /// PROTOCOL 8: without `--config` an admin key for this run is made; each run has another.
    #[test]
    fn a_runs_key_is_an_admins_and_new_each_time() {
        let (one, other) = (run_key(), run_key());
        assert!(one.admin && one.key.len() == 32 && one.key != other.key);
        let config = with_key(Arc::new(testing::config()), Some(&one));
        assert_eq!(config.auth.api_keys, [one]);
    }

    #[tokio::test]
    async fn an_address_in_use_says_what_to_do() {
        let first = listen("server.listen", ([127, 0, 0, 1], 0).into()).unwrap();
        let error = listen("server.listen", first.local_addr().unwrap()).err().unwrap().to_string();
        assert!(error.starts_with("can't listen on 127.0.0.1:") && error.contains("in use"), "{error}");
    }
}
