//! The gateway from the hub to the sockets, without HTTP before it: many cases share one.

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

/// How long a fact may take to come true, on the slowest of machines.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Small bounds, so that little traffic reaches them (an inbox is full with a few messages), and no pings, which these clients don't
/// answer: a long replay into little room in the kernel takes its time; a total of histories so small that a case's own last, and no
/// older one's.
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
match = "*.cut.>"
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

/// Hub, shards and what they share.
pub struct Gateway {
    pub hub: Arc<Hub>,
    pub metrics: Arc<Metrics>,
    shards: Arc<Shards>,
    services: Arc<Services>,
    listener: TcpListener,
    runtime: tokio::runtime::Runtime,
    cases: u64,
    /// What a reload puts in force, in turn: the configuration as it began, and one with other bounds.
    configs: [Config; 2],
    reloads: AtomicUsize,
}

/// One rule's figures: what was routed, and its ends.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Account {
    pub routed: f64,
    pub delivered: f64,
    pub conflated: f64,
    pub dropped: f64,
    pub waiting: f64,
}

impl Gateway {
    /// Starts one.
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

    /// A number for the next case, which its topics are named by.
    pub fn next_case(&mut self) -> u64 {
        while self.hub.upkeep() {}
        self.cases += 1;
        self.cases
    }

    /// Puts the other configuration in force, as SIGHUP does.
    pub fn reload(&self) {
        let count = self.reloads.fetch_add(1, Ordering::Relaxed) + 1;
        self.services.live.replace(&self.configs[count % 2]);
        self.shards.wake();
    }

    /// A session's far end. With `tight`, the kernel takes as little for it as it can on both sides.
    pub fn connect(&self, tight: bool, purpose: Purpose) -> TcpStream {
        let far = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        if tight {
            far.set_recv_buffer_size(2048).unwrap();
        }
        far.connect(&self.listener.local_addr().unwrap().into()).unwrap();
        let (near, address) = self.listener.accept().unwrap();
        near.set_nonblocking(true).unwrap();
        near.set_nodelay(true).unwrap();
        if tight {
            SockRef::from(&near).set_send_buffer_size(2048).unwrap();
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
            stream: Stream::Plain(near),
            head: Vec::new(),
            already_read: bytes::Bytes::new(),
        }));
        far.into()
    }

    /// PROTOCOL 9: waits until nothing waits any more and each rule's accounts close; gives them.
    pub fn closed_accounts(&self) -> Result<BTreeMap<String, Account>, String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let text = self.metrics.render();
            let accounts = accounts(&text);
            let closed =
                |account: &Account| account.waiting == 0.0 && account.routed == account.delivered + account.conflated + account.dropped;
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
            Some("belfry_outbox_messages") => account.waiting += value,
            _ => {}
        }
    }
    accounts
}
