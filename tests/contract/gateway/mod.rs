//! The gateway under test: the program in a process of its own, reached over loopback sockets.

mod engine;
mod http;
mod metrics;
mod positions;
mod session;
mod setup;
mod stream;
mod tls;
mod token;

pub use http::{Reply, read_reply, read_reply_head, request_over, unix_socket};
pub use metrics::Samples;
pub use session::{Session, binary, close, ping, pong, text};
pub use setup::Setup;
pub use stream::{ServerSent, Stream};
pub use tls::Certificate;
pub use token::{SECRET, expiring, signed, token, without_exp};

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::{Value, json};
use tempfile::TempDir;

use engine::Nats;
use positions::{Positions, first_topic, topic_in, topics_in};

/// The time after which a test that waits for a fact fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The base configuration's key with `admin = true`.
pub const ADMIN: (&str, &str) = ("Authorization", "Bearer admin-key");

/// The base configuration's key that may subscribe and publish to `quotes.>` and `private.>`.
pub const FEED: (&str, &str) = ("Authorization", "Bearer feed-key");

/// The position of a message: the epoch of its topic and its offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub epoch: String,
    pub offset: u64,
}

impl Position {
    /// The position with this offset in the same epoch.
    pub fn at(&self, offset: u64) -> Self {
        Self { epoch: self.epoch.clone(), offset }
    }

    /// The position as `since` has it.
    pub fn json(&self) -> Value {
        json!({"epoch": self.epoch, "offset": self.offset})
    }
}

/// The event of a live message.
pub fn message(topic: &str, position: &Position, data: impl Into<Value>) -> Value {
    json!({"op": "message", "topic": topic, "epoch": position.epoch, "offset": position.offset, "data": data.into()})
}

/// The event of a replayed message.
pub fn replayed(topic: &str, position: &Position, data: impl Into<Value>) -> Value {
    let mut event = message(topic, position, data);
    event["replay"] = true.into();
    event
}

/// A running gateway. It is killed on drop.
pub struct Gateway {
    process: Child,
    address: SocketAddr,
    folder: TempDir,
    /// The NATS server of its topics, which lives as long as the gateway.
    engine: Option<Arc<Nats>>,
}

impl Gateway {
    /// Starts a gateway on the base configuration.
    pub fn start() -> Self {
        Setup::new().start()
    }

    /// Starts a gateway on the base configuration with these lines in `[limits]`.
    pub fn with_limits(lines: &str) -> Self {
        Setup::new().limits(lines).start()
    }

    fn spawn(setup: &Setup, terminal: Option<OwnedFd>) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let (port_file, has_terminal) = (folder.path().join("port"), terminal.is_some());
        let mut command = program();
        command.arg("serve");
        if let Some(text) = setup.text() {
            fs::write(folder.path().join("belfry.toml"), text).expect("the temporary folder takes a file");
            command.arg("--config").arg(folder.path().join("belfry.toml"));
        }
        let log = fs::File::create(folder.path().join("log")).expect("the temporary folder takes a file");
        let output = log.try_clone().expect("a file can be opened twice");
        command.args(["--listen", "127.0.0.1:0", "--port-file"]).arg(&port_file).args(setup.arguments());
        command.envs(setup.environment().iter().cloned()).current_dir(folder.path());
        command.stdout(output);
        match terminal {
            Some(terminal) => command.stdin(terminal.try_clone().expect("a descriptor can be had twice")).stderr(terminal),
            None => command.stdin(Stdio::null()).stderr(log),
        };
        let process = command.spawn().expect("the program can be started");
        let mut gateway = Self { process, address: SocketAddr::from(([127, 0, 0, 1], 0)), folder, engine: setup.engine() };
        gateway.address = eventually("the gateway to write its port file and listen", || {
            let address: SocketAddr = fs::read_to_string(&port_file).ok()?.lines().next()?.parse().ok()?;
            TcpStream::connect(address).is_ok().then_some(address)
        });
        if gateway.engine.is_some() {
            within(engine::START_MAX, "the gateway to follow its streams", || gateway.follows(has_terminal).then_some(()));
            gateway.positions();
        }
        gateway
    }

    /// Whether the gateway follows every stream, by its log, which is there even if its listeners speak TLS alone. A
    /// gateway on a terminal has its log there, so `/readyz` answers the question.
    fn follows(&self, has_terminal: bool) -> bool {
        let log = self.log();
        let followed = log.lines().filter(|line| line.contains("the stream is followed"));
        let is_name = |field: &&str| field.starts_with("stream=") || field.starts_with("\"stream\":");
        let followed: BTreeSet<_> = followed.flat_map(|line| line.split([' ', ',', '{']).filter(is_name)).collect();
        if has_terminal { self.get("/readyz").status == 200 } else { followed.len() >= engine::STREAMS }
    }

    /// The address that the gateway listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The highest resident memory of the process so far.
    pub fn peak_memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("a process has a status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak.expect("the status has the peak") * 1024
    }

    /// All addresses that the gateway listens at, from its port file.
    pub fn listen_addresses(&self) -> Vec<String> {
        let lines = fs::read_to_string(self.folder.path().join("port")).expect("the port file is there");
        lines.lines().map(str::to_owned).collect()
    }

    /// The gateway's standard output and standard error so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Publishes `body` over HTTP without credentials; gives its position.
    pub fn publish(&self, topic: &str, body: impl AsRef<[u8]>) -> Position {
        self.publish_as(topic, body, &[])
    }

    /// Publishes `body` over HTTP with these header fields; gives its position.
    pub fn publish_as(&self, topic: &str, body: impl AsRef<[u8]>, headers: &[(&str, &str)]) -> Position {
        let reply = self.request("POST", &format!("/v1/topics/{topic}"), headers, body.as_ref());
        assert_eq!(reply.status, 200, "publishing to {topic} was refused: {reply:?}");
        let published = reply.json();
        Position {
            epoch: published["epoch"].as_str().expect("the reply has an epoch").to_owned(),
            offset: published["offset"].as_u64().expect("the reply has an offset"),
        }
    }

    /// Publishes each body; gives the position of the last.
    pub fn publish_all<const N: usize>(&self, topic: &str, bodies: [&str; N]) -> Position {
        let positions: Vec<_> = bodies.into_iter().map(|body| self.publish(topic, body)).collect();
        positions.into_iter().next_back().expect("there is a body to publish")
    }

    /// Publishes `count` JSON strings of `bytes` bytes in batches. Each string begins with its number, from 1.
    pub fn publish_many(&self, topic: &str, count: usize, bytes: usize) {
        let lines: Vec<String> = (1..=count).map(|n| json!({"topic": topic, "data": format!("{n:_<bytes$}")}).to_string()).collect();
        for batch in lines.chunks((4 << 20) / bytes.max(64)) {
            let reply = self.request("POST", "/v1/publish", &[], batch.join("\n").as_bytes());
            assert_eq!(reply.json(), json!({"published": batch.len(), "errors": []}), "the batch was refused: {reply:?}");
        }
    }

    /// A session of the native dialect that has read its welcome.
    pub fn session(&self) -> Session {
        self.session_at("/ws")
    }

    /// A session of the native dialect with this token or key in its URL; it has read its welcome.
    pub fn session_as(&self, token: &str) -> Session {
        self.session_at(&format!("/ws?token={token}"))
    }

    /// A session of the native dialect on this path and query that has read its welcome.
    pub fn session_at(&self, path: &str) -> Session {
        let mut session = self.dial(path);
        session.read_welcome();
        session
    }

    /// A WebSocket on this path that has read nothing behind the upgrade.
    pub fn dial(&self, path: &str) -> Session {
        self.dial_with(path, &[]).unwrap_or_else(|reply| panic!("the upgrade on {path} was refused: {reply:?}"))
    }

    /// A WebSocket on this path with further header fields, or the refusal of the upgrade.
    pub fn dial_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<Session, Reply> {
        Session::dial(self.address, path, headers, None).map(|session| session.with_positions(self.positions()))
    }

    /// The translation of the positions of the gateway's topics.
    pub fn positions(&self) -> Positions {
        self.engine.as_ref().map(|engine| engine.positions()).unwrap_or_default()
    }

    /// A stream on this path that has read its head.
    pub fn stream(&self, path: &str) -> Stream {
        self.stream_with(path, &[])
    }

    /// A stream on this path with further header fields; it has read its head.
    pub fn stream_with(&self, path: &str, headers: &[(&str, &str)]) -> Stream {
        let stream = self.stream_over(self.socket(), path, headers, "1.1");
        stream.unwrap_or_else(|reply| panic!("{path} was refused: {reply:?}"))
    }

    /// A stream on this path over `socket` by this version of HTTP, or the refusal.
    pub fn stream_over<S: Read + Write>(&self, socket: S, path: &str, headers: &[(&str, &str)], version: &str) -> Result<Stream<S>, Reply> {
        let (positions, topics) = (self.positions(), topics_in(path));
        let with_sequences = |(name, value): &(_, &str)| match *name {
            "Last-Event-ID" => (*name, positions.id_with_sequences(&topics, value)),
            _ => (*name, (*value).to_owned()),
        };
        let sent: Vec<(&str, String)> = headers.iter().map(with_sequences).collect();
        let sent: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Stream::open(socket, &positions.path_with_sequences(path), &sent, version).map(|stream| stream.with_positions(positions))
    }

    /// The refusal of an upgrade on this path.
    pub fn refusal(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        match self.dial_with(path, headers) {
            Ok(_) => panic!("the upgrade on {path} with {headers:?} should have been refused"),
            Err(reply) => reply,
        }
    }

    /// A session of the native dialect with the smallest receive buffer; it has read its welcome. Its outbox fills
    /// until the test reads.
    pub fn slow_session(&self) -> Session {
        let mut session = self.slow_session_at("/ws");
        session.read_welcome();
        session
    }

    /// A WebSocket on this path with the smallest receive buffer.
    pub fn slow_session_at(&self, path: &str) -> Session {
        Session::dial(self.address, path, &[], Some(4096)).expect("the upgrade is accepted").with_positions(self.positions())
    }

    /// A GET without credentials.
    pub fn get(&self, path: &str) -> Reply {
        self.request("GET", path, &[], b"")
    }

    /// A GET with the key [`ADMIN`].
    pub fn admin(&self, path: &str) -> Reply {
        self.request("GET", path, &[ADMIN], b"")
    }

    /// A POST without credentials.
    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        self.request("POST", path, &[], body.as_ref())
    }

    /// Sends one request on a connection of its own, and reads the reply.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let (mut positions, topic) = (self.positions(), topic_in(path));
        let sent = std::str::from_utf8(body).ok().filter(|_| topic.is_none()).map(|text| positions.with_sequences(text, None));
        let sent = sent.as_deref().map_or(body, str::as_bytes);
        let reply = http::request(self.address, method, &positions.path_with_sequences(path), headers, sent);
        let topic = topic.or_else(|| std::str::from_utf8(body).ok().and_then(first_topic));
        self.with_ordinals(reply, topic)
    }

    /// `reply` with ordinals. `topic` is that of positions without a topic beside them.
    pub fn with_ordinals(&self, mut reply: Reply, topic: Option<&str>) -> Reply {
        if self.engine.is_some() && reply.body.starts_with(b"{") {
            reply.body = self.positions().with_ordinals(&reply.text(), topic).into_bytes();
        }
        reply
    }

    /// A TCP connection to the gateway.
    pub fn socket(&self) -> TcpStream {
        http::socket(self.address)
    }

    /// A TCP connection to the gateway on which `bytes` have been sent.
    pub fn socket_with(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut socket = self.socket();
        socket.write_all(bytes.as_ref()).expect("the gateway reads");
        socket
    }

    /// All samples of `/metrics`.
    pub fn metrics(&self) -> Samples {
        Samples::parse(&self.get("/metrics").text())
    }

    /// Waits until a series has this value. `series` is `name` or `name{label="value"}`, without the prefix.
    pub fn expect_metric(&self, series: &str, value: f64) {
        metrics::expect(self, series, |now| now == value, &format!("to be {value}"));
    }

    /// Waits until `limit_hits_total` has counted the limit `key` at least once.
    pub fn expect_limit_hit(&self, key: &str) {
        metrics::expect(self, &format!("limit_hits_total{{limit=\"{key}\"}}"), |now| now >= 1.0, "to be counted");
    }

    /// PROTOCOL 9: at rest routed = delivered + conflated + dropped + in outboxes, for each rule. At least one message
    /// must have been routed.
    pub fn expect_accounts_closed(&self) {
        metrics::expect_accounts_closed(self);
    }

    /// Replaces the configuration by that of `setup` and sends SIGHUP.
    pub fn reload(&self, setup: &Setup) {
        self.reload_text(&setup.text().expect("a reload needs a file"));
    }

    /// Replaces the configuration by `text` and sends SIGHUP.
    pub fn reload_text(&self, text: &str) {
        let staged = self.folder.path().join("staged.toml");
        fs::write(&staged, text).expect("the temporary folder takes a file");
        fs::rename(staged, self.folder.path().join("belfry.toml")).expect("a file can be renamed");
        self.signal(Signal::HUP);
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits until the process has ended; gives its status.
    pub fn exit_status(&mut self) -> ExitStatus {
        let process = &mut self.process;
        eventually("the gateway to exit", || process.try_wait().expect("a child can be waited for"))
    }

    /// Lowers the process's limit of file descriptors, so that it can open no further one.
    pub fn forbid_new_descriptors(&self) {
        let open = fs::read_dir(format!("/proc/{}/fd", self.process.id())).expect("the descriptors of a child can be listed");
        let open: Vec<u64> = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        // The limit is on the number of a descriptor, and the kernel takes the lowest free number.
        let most = (0..).find(|number| !open.contains(number));
        prlimit(Some(self.id()), Resource::Nofile, Rlimit { current: most, maximum: most }).expect("a child's limits can be lowered");
    }

    fn id(&self) -> Pid {
        i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).expect("a child's id is one of a process")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).expect("a child can be signalled");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- the gateway's log:\n{}", self.log());
        }
    }
}

/// A command that runs the program without this process's variables of configuration.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_belfry"));
    std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("BELFRY")).for_each(|name| {
        command.env_remove(name);
    });
    command
}

/// Runs the program and waits for its end.
pub fn belfry(arguments: &[&str]) -> Output {
    program().args(arguments).stdin(Stdio::null()).output().expect("the program can be started")
}

/// Waits for a fact until [`DEADLINE`] has passed.
pub fn eventually<T>(what: &str, fact: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, what, fact)
}

/// Waits for a fact until `limit` has passed.
pub fn within<T>(limit: Duration, what: &str, fact: impl FnMut() -> Option<T>) -> T {
    found_within(limit, fact).unwrap_or_else(|| panic!("waited {limit:?} for {what}"))
}

/// A fact, if it is found before `limit` has passed. The pause between two attempts bounds the load.
pub fn found_within<T>(limit: Duration, mut fact: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let found = fact();
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Seconds since 1970.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}
