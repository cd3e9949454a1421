//! The gateway from the hub to the sockets, without its HTTP server. Many cases share one gateway.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use belfry::auth::Auth;
use belfry::clock::Clock;
use belfry::config::{Config, Live, Sources};
use belfry::dialect::{Dialect, Encoding};
use belfry::hub::Hub;
use belfry::metrics::Metrics;
use belfry::session::{self, Opening, Purpose, Services};
use belfry::session_id::SessionId;
use belfry::shard::{Arrived, NewSession, Shards, Stream};
use socket2::SockRef;

/// The time after which a wait for a fact fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Limits are small, so that a few messages reach them. There are no pings, because a session with small buffers
/// answers late. `history_bytes` has room for the histories of one case, and evicts those of earlier cases.
const FILE: &str = r#"
[server]
shards = 2
[auth]
anonymous = { subscribe = [">"], publish = [">"] }
[limits]
outbox_bytes = 6000
inbox_bytes = 10000
history_bytes = 33554432
commands_per_second = 1000000
commands_burst = 1000000
frames_per_second = 1000000
frames_burst = 1000000
ping_interval = "1h"
[[topics]]
match = "*.conflate.>"
history = 20
last = 1
presence = true
on_slow = "conflate"
[[topics]]
match = "*.drop.>"
history = 30
presence = true
on_slow = "drop_oldest"
[[topics]]
match = "*.disconnect.>"
history = 200
on_slow = "disconnect"
[[topics]]
match = "*.replay.>"
history = 40
on_slow = "replay"
[[topics]]
match = "*.aged.>"
history = 10
last = 3
on_slow = "disconnect"
max_age = "10ms"
"#;

/// A hub and its shards.
pub struct Gateway {
    pub hub: Arc<Hub>,
    pub metrics: Arc<Metrics>,
    shards: Arc<Shards>,
    services: Arc<Services>,
    listener: TcpListener,
    runtime: tokio::runtime::Runtime,
    cases: u64,
    /// The configurations between which reloads alternate: that of the start, and one with other limits.
    configs: [Config; 2],
    reloads: AtomicUsize,
}

/// The counts of one rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Account {
    pub routed: f64,
    pub delivered: f64,
    pub conflated: f64,
    pub dropped: f64,
    pub in_outboxes: f64,
}

impl Gateway {
    /// Starts a gateway.
    pub fn start() -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), FILE).unwrap();
        let config = Config::load(&Sources { file: Some(file.path().to_owned()), ..Sources::default() }).unwrap();
        let (clock, metrics) = (Clock::machine(), Arc::new(Metrics::new()));
        let auth = Arc::new(Auth::new(&config.auth, clock.clone()).unwrap());
        let live = Arc::new(Live::new(&config, &metrics));
        let hub = Hub::new(Arc::clone(&live), Arc::clone(&metrics), clock.clone());
        let shards = Shards::start(config.server.shards, &hub, &live, &metrics, &clock).unwrap();
        let services = Arc::new(Services { auth, live, clock, failures: Arc::new(()) });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut other = (*config).clone();
        other.limits.outbox_bytes = 9_000;
        other.limits.inbox_bytes = 4_000;
        let configs = [(*config).clone(), other];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { hub, metrics, shards, services, listener, runtime, cases: 0, configs, reloads: AtomicUsize::new(0) }
    }

    /// The number of the next case, which is in the names of its topics.
    pub fn next_case(&mut self) -> u64 {
        while self.hub.upkeep() {}
        self.cases += 1;
        self.cases
    }

    /// Makes the other configuration take effect, as SIGHUP does.
    pub fn reload(&self) {
        let count = self.reloads.fetch_add(1, Ordering::Relaxed) + 1;
        self.services.live.replace(&self.configs[count % 2]);
        self.shards.wake();
    }

    /// The client's end of a new session. `small_buffers` makes the socket buffers of both ends as small as possible.
    pub fn connect(&self, small_buffers: bool, purpose: Purpose) -> TcpStream {
        let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        if small_buffers {
            client.set_recv_buffer_size(2048).unwrap();
        }
        client.connect(&self.listener.local_addr().unwrap().into()).unwrap();
        let (server, address) = self.listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        server.set_nodelay(true).unwrap();
        if small_buffers {
            SockRef::from(&server).set_send_buffer_size(2048).unwrap();
        }
        let id = SessionId::random();
        let (dialect, subscribes_at_once) = match purpose {
            Purpose::Raw { .. } => (Dialect::Raw, true),
            _ => (Dialect::Json, false),
        };
        let opening = Opening { id, purpose, identity: Ok(self.services.auth.anonymous()), agreement: None };
        let encoding = Encoding::websocket(dialect, None);
        let reader = session::open_websocket(opening, &self.services);
        let session = NewSession { id, address, encoding, reader, permit: Box::new(()), subscribes_at_once };
        let expected = self.runtime.block_on(self.shards.expect(session));
        self.runtime.block_on(expected.arrive(Arrived {
            stream: Stream::Plain(server),
            head: Vec::new(),
            already_read: bytes::Bytes::new(),
        }));
        client.into()
    }

    /// PROTOCOL 9: waits until no session is left and each rule's accounts close; gives the accounts.
    pub fn closed_accounts(&self) -> Result<BTreeMap<String, Account>, String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let text = self.metrics.render();
            let accounts = accounts(&text);
            let closed =
                |account: &Account| account.in_outboxes == 0.0 && account.routed == account.delivered + account.conflated + account.dropped;
            let at_rest = ["sessions", "subscriptions", "outbox_bytes", "slow_sessions"].map(|name| (name, sample(&text, name)));
            if accounts.values().all(closed) && at_rest.iter().all(|(_, value)| *value == 0.0) {
                return Ok(accounts);
            }
            if Instant::now() > deadline {
                return Err(format!("the accounts do not close: {at_rest:?} {accounts:#?}"));
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shards.stop();
    }
}

fn sample(text: &str, name: &str) -> f64 {
    let start = format!("belfry_{name} ");
    text.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap_or(0.0)
}

fn accounts(text: &str) -> BTreeMap<String, Account> {
    let mut accounts = BTreeMap::<String, Account>::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Some((_, rest)) = series.split_once("rule=\"") else { continue };
        let (Some((rule, _)), Ok(value)) = (rest.split_once('"'), value.parse::<f64>()) else { continue };
        let account = accounts.entry(rule.to_owned()).or_default();
        match series.split_once('{').map(|(metric, _)| metric) {
            Some("belfry_messages_routed_total") => account.routed += value,
            Some("belfry_deliveries_total") => account.delivered += value,
            Some("belfry_messages_conflated_total") => account.conflated += value,
            Some("belfry_messages_dropped_total") => account.dropped += value,
            Some("belfry_outbox_messages") => account.in_outboxes += value,
            _ => {}
        }
    }
    accounts
}
