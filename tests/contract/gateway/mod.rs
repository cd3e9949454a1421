//! The gateway under test: the real program in a process of its own, spoken to over loopback sockets.

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
pub use token::{SECRET, expiring, forever, signed, token};

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

/// How long a test waits for a fact before it fails.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// The key of the base configuration that may administer.
pub const ADMIN: (&str, &str) = ("Authorization", "Bearer admin-key");

/// The key of the base configuration that may read and write `quotes.>` and `private.>`.
pub const FEED: (&str, &str) = ("Authorization", "Bearer feed-key");

/// Where a message lies: the epoch of its topic and its offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub epoch: String,
    pub offset: u64,
}

impl Position {
    /// The place `offset` in the same life of the topic.
    pub fn at(&self, offset: u64) -> Self {
        Self { epoch: self.epoch.clone(), offset }
    }

    /// What `since` says of this place.
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

/// A running gateway; it is killed when the test lets go of it.
pub struct Gateway {
    process: Child,
    address: SocketAddr,
    folder: TempDir,
    /// What its topics come from, for as long as it runs.
    engine: Option<Arc<Nats>>,
}

impl Gateway {
    /// Starts one on the base configuration.
    pub fn start() -> Self {
        Setup::new().start()
    }

    /// Starts one on the base configuration with these lines in `[limits]`.
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

    /// Whether it follows every stream: its log says so, whatever its listeners speak; or where that goes elsewhere, `/readyz`.
    fn follows(&self, has_terminal: bool) -> bool {
        let log = self.log();
        let followed = log.lines().filter(|line| line.contains("the stream is followed"));
        let is_name = |field: &&str| field.starts_with("stream=") || field.starts_with("\"stream\":");
        let followed: BTreeSet<_> = followed.flat_map(|line| line.split([' ', ',', '{']).filter(is_name)).collect();
        if has_terminal { self.get("/readyz").status == 200 } else { followed.len() >= engine::STREAMS }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The most memory that it has had so far, resident.
    pub fn peak_memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("a process has a status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak.expect("the status tells the peak") * 1024
    }

    /// Every place where it listens, as its port file has them.
    pub fn places(&self) -> Vec<String> {
        let lines = fs::read_to_string(self.folder.path().join("port")).expect("the port file is there");
        lines.lines().map(str::to_owned).collect()
    }

    /// What it has said on its standard output and error so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Publishes `body` over HTTP with nobody's credentials; gives its place.
    pub fn publish(&self, topic: &str, body: impl AsRef<[u8]>) -> Position {
        self.publish_as(topic, body, &[])
    }

    /// Publishes `body` over HTTP with these header fields; gives its place.
    pub fn publish_as(&self, topic: &str, body: impl AsRef<[u8]>, headers: &[(&str, &str)]) -> Position {
        let reply = self.request("POST", &format!("/v1/topics/{topic}"), headers, body.as_ref());
        assert_eq!(reply.status, 200, "publishing to {topic} was refused: {reply:?}");
        let said = reply.json();
        Position {
            epoch: said["epoch"].as_str().expect("the reply has an epoch").to_owned(),
            offset: said["offset"].as_u64().expect("the reply has an offset"),
        }
    }

    /// Publishes each body; gives the place of the last.
    pub fn publish_all<const N: usize>(&self, topic: &str, bodies: [&str; N]) -> Position {
        let places: Vec<_> = bodies.into_iter().map(|body| self.publish(topic, body)).collect();
        places.into_iter().next_back().expect("there is a body to publish")
    }

    /// Publishes `count` JSON strings of `bytes` bytes in batches, each beginning with its number.
    pub fn publish_many(&self, topic: &str, count: usize, bytes: usize) {
        let lines: Vec<String> = (1..=count).map(|n| json!({"topic": topic, "data": format!("{n:_<bytes$}")}).to_string()).collect();
        for batch in lines.chunks((4 << 20) / bytes.max(64)) {
            let reply = self.request("POST", "/v1/publish", &[], batch.join("\n").as_bytes());
            assert_eq!(reply.json(), json!({"published": batch.len(), "errors": []}), "the batch was refused: {reply:?}");
        }
    }

    /// A session of the native dialect, its welcome read.
    pub fn session(&self) -> Session {
        self.session_at("/ws")
    }

    /// A session of the native dialect that comes with `token`, its welcome read.
    pub fn session_as(&self, token: &str) -> Session {
        self.session_at(&format!("/ws?token={token}"))
    }

    /// A session of the native dialect on this path and query, its welcome read.
    pub fn session_at(&self, path: &str) -> Session {
        let mut session = self.dial(path);
        session.read_welcome();
        session
    }

    /// A WebSocket on this path, upgraded, nothing read.
    pub fn dial(&self, path: &str) -> Session {
        self.dial_with(path, &[]).unwrap_or_else(|reply| panic!("the upgrade on {path} was refused: {reply:?}"))
    }

    /// A WebSocket on this path with more header fields, or why it was refused.
    pub fn dial_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<Session, Reply> {
        Session::dial(self.address, path, headers, None).map(|session| session.counted_by(self.positions()))
    }

    /// The positions of its topics, as everybody at it hears and says them.
    pub fn positions(&self) -> Positions {
        self.engine.as_ref().map(|engine| engine.positions()).unwrap_or_default()
    }

    /// A stream on this path, its head read.
    pub fn stream(&self, path: &str) -> Stream {
        self.stream_with(path, &[])
    }

    /// A stream on this path with more header fields, its head read.
    pub fn stream_with(&self, path: &str, headers: &[(&str, &str)]) -> Stream {
        let stream = self.stream_over(self.socket(), path, headers, "1.1");
        stream.unwrap_or_else(|reply| panic!("{path} was refused: {reply:?}"))
    }

    /// A stream on this path over `socket` by this version of HTTP, or how it was refused.
    pub fn stream_over<S: Read + Write>(&self, socket: S, path: &str, headers: &[(&str, &str)], version: &str) -> Result<Stream<S>, Reply> {
        let (positions, topics) = (self.positions(), topics_in(path));
        let said = |(name, value): &(_, &str)| match *name {
            "Last-Event-ID" => (*name, positions.said_id(&topics, value)),
            _ => (*name, (*value).to_owned()),
        };
        let said: Vec<(&str, String)> = headers.iter().map(said).collect();
        let headers: Vec<(&str, &str)> = said.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Stream::open(socket, &positions.said_path(path), &headers, version).map(|stream| stream.counted_by(positions))
    }

    /// How an upgrade on this path is refused.
    pub fn refusal(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        match self.dial_with(path, headers) {
            Ok(_) => panic!("the upgrade on {path} with {headers:?} should have been refused"),
            Err(reply) => reply,
        }
    }

    /// A native session whose kernel buffers as little as it can; it has read its welcome and stands still until it is read.
    pub fn slow_session(&self) -> Session {
        let mut session = self.slow_session_at("/ws");
        session.read_welcome();
        session
    }

    /// A WebSocket on this path whose kernel buffers as little as it can.
    pub fn slow_session_at(&self, path: &str) -> Session {
        Session::dial(self.address, path, &[], Some(4096)).expect("the upgrade is accepted").counted_by(self.positions())
    }

    /// A GET without credentials.
    pub fn get(&self, path: &str) -> Reply {
        self.request("GET", path, &[], b"")
    }

    /// A GET with the administrator's key.
    pub fn admin(&self, path: &str) -> Reply {
        self.request("GET", path, &[ADMIN], b"")
    }

    /// A POST without credentials.
    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        self.request("POST", path, &[], body.as_ref())
    }

    /// One request on a socket of its own.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let (mut positions, topic) = (self.positions(), topic_in(path));
        let said = std::str::from_utf8(body).ok().filter(|_| topic.is_none()).map(|text| positions.said(text, None));
        let said = said.as_deref().map_or(body, str::as_bytes);
        let reply = http::request(self.address, method, &positions.said_path(path), headers, said);
        let asked = topic.or_else(|| std::str::from_utf8(body).ok().and_then(first_topic));
        self.counted(reply, asked)
    }

    /// A reply about `topic` with its positions as everybody hears them.
    pub fn counted(&self, mut reply: Reply, topic: Option<&str>) -> Reply {
        if self.engine.is_some() && reply.body.starts_with(b"{") {
            reply.body = self.positions().heard(&reply.text(), topic).into_bytes();
        }
        reply
    }

    /// A bare socket to the gateway.
    pub fn socket(&self) -> TcpStream {
        http::socket(self.address)
    }

    /// All samples of `/metrics`.
    pub fn metrics(&self) -> Samples {
        Samples::parse(&self.get("/metrics").text())
    }

    /// Waits until the series (as `name` or `name{label="value"}`, without the prefix) has this value.
    pub fn expect_metric(&self, series: &str, value: f64) {
        metrics::expect(self, series, |now| now == value, &format!("to be {value}"));
    }

    /// Waits until the limit `key` was counted at least once in `limit_hits_total`.
    pub fn expect_limit_hit(&self, key: &str) {
        metrics::expect(self, &format!("limit_hits_total{{limit=\"{key}\"}}"), |now| now >= 1.0, "to be counted");
    }

    /// PROTOCOL 9: at rest routed = delivered + conflated + dropped + in outboxes, for each rule; at least one message was routed.
    pub fn expect_accounts_closed(&self) {
        metrics::expect_accounts_closed(self);
    }

    /// Writes a new configuration over the old one and sends SIGHUP.
    pub fn reload(&self, setup: &Setup) {
        self.reload_text(&setup.text().expect("a reload needs a file"));
    }

    /// Writes `text` as the configuration and sends SIGHUP.
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

    /// From now on the process gets no file descriptor more than it has.
    pub fn bound_descriptors(&self) {
        let open = fs::read_dir(format!("/proc/{}/fd", self.process.id())).expect("the descriptors of a child can be listed");
        let open: Vec<u64> = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        // The bound is on numbers, and the lowest free one is given out next.
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
            eprintln!("--- the gateway said:\n{}", self.log());
        }
    }
}

/// The program, with nothing of this process's environment that it would read as configuration.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_belfry"));
    std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("BELFRY")).for_each(|name| {
        command.env_remove(name);
    });
    command
}

/// Runs the program to its end.
pub fn belfry(arguments: &[&str]) -> Output {
    program().args(arguments).stdin(Stdio::null()).output().expect("the program can be started")
}

/// Waits for a fact, looking again until the deadline.
pub fn eventually<T>(what: &str, fact: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, what, fact)
}

/// Waits for a fact, looking again until `limit` has passed.
pub fn within<T>(limit: Duration, what: &str, fact: impl FnMut() -> Option<T>) -> T {
    found_within(limit, fact).unwrap_or_else(|| panic!("waited {limit:?} in vain for {what}"))
}

/// A fact, if it comes true before `limit` has passed.
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
