//! A gateway in the process of the bench, and clients on loopback sockets that allocate nothing while they send and read.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use belfry::config::{Config, ListenAddress, Sources};
use belfry::server::{self, Signals, Supervisor};
use tokio::runtime::Runtime;

/// One shard, all grants for everybody, and no limit that a bench could reach.
const SETTINGS: [&str; 15] = [
    "server.listen=127.0.0.1:0",
    "server.shards=1",
    "auth.anonymous={ subscribe = [\">\"], publish = [\">\"] }",
    "feed.simulator.enabled=false",
    "topics=[]",
    "limits.sessions_per_address=100000",
    "limits.pending_per_address=100000",
    "limits.http_connections_per_address=100000",
    "limits.commands_per_second=1000000000",
    "limits.commands_burst=1000000000",
    "limits.frames_per_second=1000000000",
    "limits.frames_burst=1000000000",
    "limits.outbox_bytes=268435456",
    "limits.outbox_total_bytes=1073741824",
    "limits.ping_interval=1h",
];

/// How long a read and the wait for a metric may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// A gateway that was started for the bench.
pub struct Gateway {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Gateway {
    /// Starts a gateway with `SETTINGS` and these settings.
    pub fn start(settings: &[&str]) -> Self {
        let mut sources = Sources::default();
        SETTINGS.iter().chain(settings).for_each(|setting| sources.set(setting).expect("KEY=VALUE"));
        let config = Config::load(&sources).unwrap_or_else(|problems| panic!("{problems:?}"));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads can be had");
        let starting =
            async { server::start(config, sources, Signals::new().expect("signals can be handled"), Supervisor::default()).await };
        let running = runtime.block_on(starting).expect("the gateway starts");
        let ListenAddress::Network(address) = running.addresses[0] else { panic!("the gateway listens on an address") };
        runtime.spawn(running.run_until_drained());
        Self { address, _runtime: runtime }
    }

    /// Opens a WebSocket at `path`, which offers `extension`.
    pub fn dial(&self, path: &str, extension: Option<&str>) -> Peer {
        let mut socket = TcpStream::connect(self.address).expect("the gateway listens");
        socket.set_nodelay(true).expect("a fresh socket takes options");
        socket.set_read_timeout(Some(DEADLINE)).expect("a fresh socket takes options");
        let offer = extension.map(|offer| format!("Sec-WebSocket-Extensions: {offer}\r\n")).unwrap_or_default();
        let address = self.address;
        write!(
            socket,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        )
        .expect("a fresh socket takes a request");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).expect("the upgrade is answered");
            head.extend(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Peer { socket, buffer: vec![0; 1 << 16].into(), filled: 0, at: 0 }
    }

    /// Opens `count` sessions in the native dialect that are subscribed to `topic`, and reads their `welcome` and `subscribed`.
    pub fn subscribers(&self, topic: &str, count: usize, extension: Option<&str>) -> Vec<Peer> {
        let subscribe = |_| {
            let mut peer = self.dial(&format!("/ws?topics={topic}"), extension);
            peer.skip(2);
            peer
        };
        (0..count).map(subscribe).collect()
    }

    /// Waits until a sample of `/metrics` is at least `least`, and returns it.
    pub fn metric(&self, name: &str, least: f64) -> f64 {
        let began = Instant::now();
        loop {
            let mut socket = TcpStream::connect(self.address).expect("the gateway listens");
            write!(socket, "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).expect("a request can be sent");
            let mut text = String::new();
            socket.read_to_string(&mut text).expect("metrics are text");
            let sample = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            if let Some(value) = sample.filter(|value| *value >= least) {
                return value;
            }
            assert!(began.elapsed() < DEADLINE, "{name} is {sample:?} and not {least} or more");
        }
    }
}

/// The client of a session.
pub struct Peer {
    socket: TcpStream,
    buffer: Box<[u8]>,
    filled: usize,
    at: usize,
}

impl Peer {
    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the gateway reads");
    }

    /// Reads the next frame, of at most 64 KiB, and returns its payload.
    pub fn next(&mut self) -> &[u8] {
        let (head, length) = loop {
            if let Some((head, length)) = frame_at(&self.buffer[self.at..self.filled])
                && self.at + head + length <= self.filled
            {
                break (head, length);
            }
            self.read_more();
        };
        let start = self.at + head;
        self.at = start + length;
        &self.buffer[start..self.at]
    }

    /// Reads and discards `count` frames.
    pub fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.next();
        }
    }

    fn read_more(&mut self) {
        self.buffer.copy_within(self.at..self.filled, 0);
        self.filled -= self.at;
        self.at = 0;
        let read = self.socket.read(&mut self.buffer[self.filled..]).expect("the gateway sends what is awaited");
        assert!(read > 0, "the gateway has closed the connection");
        self.filled += read;
    }
}

/// The length of the head and of the payload of the first frame in `bytes`.
fn frame_at(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes {
        [_, 126, high, low, ..] => Some((4, usize::from(u16::from_be_bytes([high, low])))),
        [_, length @ 0..126, ..] => Some((2, usize::from(length))),
        _ => None,
    }
}
