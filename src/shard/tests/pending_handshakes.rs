//! Tests of connections whose handshake is pending.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::bench::{Bench, HEAD, connected, new_session, read_head};
use crate::clock::{Clock, Moment};
use crate::shard::Shards;
use crate::shard::intake::{Admitted, HandshakeHandler, Inbox, PendingConnection, PendingHandshakes};

const REQUEST: &[u8] = b"let me in";

/// The time-out of a silent connection.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The connections that were handed on, each with its first bytes.
type HandedOn = Arc<Mutex<Vec<(TcpStream, Vec<u8>)>>>;

/// Admits a connection that sends [`REQUEST`]. Each look takes `looks_for`.
struct Doorkeeper {
    clock: Clock,
    looks_for: Duration,
    handed_on: HandedOn,
}

impl HandshakeHandler for Doorkeeper {
    fn admit(&mut self, said: &[u8]) -> Option<Admitted> {
        self.clock.advance(self.looks_for);
        said.starts_with(REQUEST).then(|| Admitted { session: new_session(), head: HEAD.to_vec(), used: REQUEST.len() })
    }

    fn forward(self: Box<Self>, stream: TcpStream, said: &[u8]) {
        self.handed_on.lock().push((stream, said.to_vec()));
    }
}

/// Pending handshakes beside a shard's sessions.
struct Handshakes {
    bench: Bench,
    pending: PendingHandshakes,
    looks_for: Duration,
    handed_on: HandedOn,
}

impl Handshakes {
    fn new() -> Self {
        let bench = Bench::new();
        let pending = PendingHandshakes::new(bench.inbox.load());
        Self { bench, pending, looks_for: Duration::ZERO, handed_on: Arc::default() }
    }

    /// Adds a connection. Returns the client's end.
    fn call(&mut self) -> TcpStream {
        let (stream, client) = connected();
        let (clock, looks_for, handed_on) = (self.bench.state().env.clock(), self.looks_for, Arc::clone(&self.handed_on));
        self.bench.inbox.load().occupy();
        let handler = Box::new(Doorkeeper { clock, looks_for, handed_on });
        self.pending.receive(PendingConnection { stream, timeout: TIMEOUT, handler }, Moment::default());
        client
    }

    /// Adds `callers` connections that all have sent [`REQUEST`].
    fn call_and_ask(&mut self, callers: usize) -> Vec<TcpStream> {
        let mut clients: Vec<TcpStream> = (0..callers).map(|_| self.call()).collect();
        clients.iter_mut().for_each(|client| client.write_all(REQUEST).unwrap());
        clients
    }

    /// Runs one pass once a connection has sent something. Returns whether none was left for the next pass.
    async fn answer(&mut self) -> bool {
        while !self.pending.is_ready_or_wakes(Waker::noop()) {
            tokio::task::yield_now().await;
        }
        self.answer_now()
    }

    /// Runs one pass over the connections that have sent something.
    fn answer_now(&mut self) -> bool {
        let (clock, sessions) = (self.bench.state().env.clock(), &mut self.bench.sessions);
        self.pending.answer(&mut [0; 64], |admitted, tcp, rest| sessions.admit(admitted, tcp, rest), || clock.moment())
    }

    fn sessions(&self) -> usize {
        self.bench.sessions.state.table.open_sessions() - 1 // the bench has a session of its own
    }

    fn handed_on(&self) -> Vec<Vec<u8>> {
        self.handed_on.lock().iter().map(|(_, said)| said.clone()).collect()
    }
}

/// A connection with a granted request becomes a session. Its 101 is written in the same tick, and the bytes behind its
/// request are kept for its reader.
#[tokio::test]
async fn a_granted_request_becomes_a_session() {
    let mut handshakes = Handshakes::new();
    let mut client = handshakes.call();
    assert!(handshakes.answer_now());
    assert_eq!((handshakes.sessions(), handshakes.handed_on().len()), (0, 0), "nothing was said yet");
    client.write_all(&[REQUEST, b"and more"].concat()).unwrap();
    assert!(handshakes.answer().await);
    assert_eq!((handshakes.sessions(), handshakes.handed_on().len()), (1, 0));
    assert_eq!(handshakes.bench.sessions.unread(1), b"and more");
    handshakes.bench.flush();
    read_head(&mut client);
}

/// A connection that sends another request, has ended or is silent for too long is handed on, with its socket and its
/// first bytes.
#[tokio::test]
async fn other_connections_are_handed_on() {
    let mut handshakes = Handshakes::new();
    let mut client = handshakes.call();
    client.write_all(b"GET / ").unwrap();
    handshakes.answer().await;
    drop(handshakes.call());
    handshakes.answer().await;
    let _silent = handshakes.call();
    handshakes.pending.sweep(Moment::default() + (TIMEOUT - Duration::from_millis(1)));
    assert_eq!(handshakes.handed_on(), [b"GET / ".to_vec(), Vec::new()]);
    handshakes.pending.sweep(Moment::default() + TIMEOUT);
    assert_eq!(handshakes.handed_on(), [b"GET / ".to_vec(), Vec::new(), Vec::new()]);
    assert_eq!(handshakes.sessions(), 0);
    let (mut stream, mut rest) = (handshakes.handed_on.lock().remove(0).0, [0; 8]);
    stream.write_all(b"well?").unwrap();
    assert_eq!(client.read(&mut rest).unwrap(), 5);
}

/// If each look takes long, one connection is admitted in each tick, and sessions run in between.
#[tokio::test]
async fn a_tick_spends_a_bounded_time_on_handshakes() {
    let mut handshakes = Handshakes::new();
    handshakes.looks_for = Duration::from_millis(50);
    let _clients = handshakes.call_and_ask(3);
    for admitted in 1..=3 {
        handshakes.answer().await;
        assert_eq!(handshakes.sessions(), admitted);
    }
    assert!(handshakes.answer_now(), "nobody is left");
}

/// A connection whose time-out passes during the look at another is handed on, and the shard does not wait for it.
#[tokio::test]
async fn a_connection_past_its_time_out_wakes_no_shard() {
    let mut handshakes = Handshakes::new();
    handshakes.looks_for = Duration::from_millis(50);
    let _clients = handshakes.call_and_ask(2);
    while !handshakes.answer().await && handshakes.sessions() == 0 {}
    handshakes.pending.sweep(Moment::default() + TIMEOUT);
    assert_eq!((handshakes.sessions(), handshakes.handed_on().len()), (1, 1));
    assert!(handshakes.answer_now());
    assert!(!handshakes.pending.is_ready_or_wakes(Waker::noop()));
    assert_eq!(handshakes.bench.inbox.load().occupied(), 2, "the bench has a session of its own");
}

/// Connections are spread evenly, even with other connections in between: here an HTTP request before each session.
#[tokio::test]
async fn connections_go_to_the_emptiest_shard() {
    let inboxes = (0..2).map(|_| Arc::new(Inbox::new(1))).collect();
    let shards = Shards { inboxes, next: AtomicUsize::new(0), first_runtime: Handle::current() };
    for _ in 0..10 {
        let connection = shards.next_inbox().load();
        connection.occupy();
        connection.vacate();
        shards.next_inbox().load().occupy();
    }
    assert_eq!(shards.inboxes.iter().map(|inbox| inbox.load().occupied()).collect::<Vec<_>>(), [5, 5]);
}
