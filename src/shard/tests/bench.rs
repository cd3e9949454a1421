//! A shard with one session whose socket arrives when a test wants it to.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::{name, pattern};
use crate::clock::{Clock, Moment, Timestamp};
use crate::config::{Config, Limits, Live, OnSlow, Rule, Rules};
use crate::dialect::{Dialect, Encoding, Event};
use crate::hub::{Attempt, Hub, Outlet, PayloadKind, Publication, ReplayRequest};
use crate::metrics::{CloseReason, Metrics, PublishSource};
use crate::session_id::{Member, SessionId};
use crate::shard::context::SessionContext;
use crate::shard::env::{ShardParts, Totals};
use crate::shard::intake::{Admitted, Arrived, Inbox, Item, NewSession};
use crate::shard::reader::Reader;
use crate::shard::sessions::Sessions;
pub use crate::shard::slot::TIME_PER_TICK;
use crate::shard::slot::{Metered, Stream};
use crate::shard::state::ShardState;

pub const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";

/// A reader that does nothing.
struct Silent;

impl Reader for Silent {}

/// A shard with one session whose socket has not arrived yet, so nothing can be written to it.
pub struct Bench {
    pub sessions: Sessions,
    pub inbox: Arc<Inbox>,
    pub live: Arc<Live>,
    session: SessionId,
}

impl Bench {
    /// A bench with room for two messages in an outbox. Topics of `c.>` conflate, those of `d.>` drop the oldest, those
    /// of `k.>` disconnect, those of `h.>` have a history, and those of `r.>` are read on from their history.
    pub fn new() -> Self {
        let (parts, inbox) = parts();
        let live = Arc::clone(&parts.live);
        let mut sessions = Sessions::new(parts);
        let session = expect(&mut sessions);
        sessions.state.env.clock().advance(TIME_PER_TICK); // the first turn of the session is over
        Self { sessions, inbox, live, session }
    }

    /// A bench whose session is subscribed to `topic`.
    pub fn subscribed(topic: &str) -> Self {
        let mut bench = Self::new();
        bench.subscribe(topic);
        bench
    }

    /// Replaces the session by another one with `reader`.
    pub fn replace(&mut self, reader: impl Reader + 'static) {
        self.replace_with(NewSession { reader: Box::new(reader), ..new_session() });
    }

    /// Replaces the session by `session`.
    pub fn replace_with(&mut self, session: NewSession) {
        self.session = session.id;
        self.sessions.expect(session);
    }

    pub fn state(&mut self) -> &mut ShardState {
        &mut self.sessions.state
    }

    /// The session's context, with a turn that is over.
    pub fn context(&mut self) -> SessionContext<'_> {
        SessionContext::new(&mut self.sessions.state, 0)
    }

    /// Adds a session in the next free slot. Returns the slot.
    pub fn enter(&mut self) -> u32 {
        let known = self.sessions.state.table.open_slots();
        expect(&mut self.sessions);
        self.sessions.state.table.open_slots().into_iter().find(|slot| !known.contains(slot)).unwrap()
    }

    /// Adds a session in a slot that was never used. Returns the slot.
    pub fn join(&mut self) -> u32 {
        let before = self.sessions.state.table.end();
        expect(&mut self.sessions);
        before
    }

    pub fn subscribe(&mut self, topic: &str) {
        self.begin(0, topic, ReplayRequest::default());
    }

    /// Subscribes the session in `slot`, with a replay of the newest `last` messages.
    pub fn subscribe_with(&mut self, slot: u32, topic: &str, last: usize) {
        self.begin(slot, topic, ReplayRequest { last: Some(last), ..ReplayRequest::default() });
    }

    fn begin(&mut self, slot: u32, topic: &str, wanted: ReplayRequest<'_>) {
        let member = Member { session: self.session, user: None, info: None };
        let mut context = SessionContext::new(&mut self.sessions.state, slot);
        assert!(context.reserve_subscription(&pattern(topic)).is_ok());
        let start = context.subscribe(&name(topic), &member, wanted, None).unwrap();
        if wanted.last.is_some() {
            context.begin(start);
        }
    }

    pub fn unsubscribe(&mut self, topic: &str) {
        let mut context = SessionContext::new(&mut self.sessions.state, 0);
        context.unsubscribe(&[pattern(topic)]);
        context.send(&Event::Unsubscribed { id: None, topics: &[pattern(topic)] });
    }

    /// Publishes one message of about 400 bytes and gives it to the session.
    pub fn publish(&mut self, topic: &str) {
        self.publish_bytes(topic, 300);
    }

    /// Publishes one message with a payload of `bytes` bytes and gives it to the session.
    pub fn publish_bytes(&mut self, topic: &str, bytes: usize) {
        let payload = vec![b'1'; bytes];
        let publication = Publication::new(&payload, PayloadKind::Json, PublishSource::Http);
        assert!(matches!(self.sessions.state.env.hub().try_publish(&name(topic), &publication, Waker::noop()), Ok(Attempt::Published(_))));
        let mut share = VecDeque::new();
        self.inbox.take(&mut share, 1, usize::MAX, Moment::default());
        for item in share {
            let Item::Message(message) = item else { continue };
            self.state().env.count_item();
            self.state().fan_out(&message);
        }
    }

    /// Publishes one message and writes it, as far as sockets accept it.
    pub fn send(&mut self, topic: &str) {
        self.publish(topic);
        self.flush();
    }

    /// Queues a reply for the session in `slot`.
    pub fn say(&mut self, slot: u32) {
        self.state().queue_event(slot, &Event::Pong { id: None });
    }

    /// Writes to at most `sessions` sessions. Returns whether the write batch is complete.
    pub fn flush_part(&mut self, sessions: usize) -> bool {
        self.state().flush(sessions)
    }

    pub fn flush(&mut self) {
        assert!(self.state().flush(usize::MAX));
    }

    /// Admits a session whose handshake was pending, subscribed to `topic`. Returns the client's end of its socket.
    pub fn admit(&mut self, topic: &str) -> TcpStream {
        let (stream, client) = connected();
        let slot = self.sessions.state.table.end();
        let admitted = Admitted { session: new_session(), head: HEAD.to_vec(), used: 0 };
        self.sessions.admit(admitted, tokio::net::TcpStream::from_std(stream).unwrap(), b"");
        self.begin(slot, topic, ReplayRequest::default());
        client
    }

    /// Attaches the session's socket, with `head` before all frames. Returns the client's end.
    pub fn arrive(&mut self, head: &[u8]) -> TcpStream {
        let (stream, client) = connected();
        self.arrive_on(Stream::Plain(stream), head);
        client
    }

    /// Attaches a socket that takes everything. The client has sent `input` already.
    pub fn arrive_with(&mut self, input: &[u8]) -> Metered {
        let (socket, arrived) = arrived_with(input);
        self.sessions.arrive(self.session, arrived);
        socket
    }

    /// Attaches `stream` as the session's socket, with `head` before all frames.
    pub fn arrive_on(&mut self, stream: Stream, head: &[u8]) {
        self.sessions.arrive(self.session, Arrived { stream, head: head.to_vec(), already_read: bytes::Bytes::new() });
    }

    /// Attaches the session's socket, and reads all that waits for the session, which ends.
    pub async fn read_all(&mut self) -> Vec<u8> {
        let mut client = self.arrive(b"");
        self.read(&mut client).await
    }

    /// Writes all that waits for the session and ends it. Returns the bytes that `client` reads.
    pub async fn read(&mut self, client: &mut TcpStream) -> Vec<u8> {
        let now = self.state().env.now;
        while self.state().catch_up.is_replaying(0) || self.state().delivery.outgoing.stuck_for(0, now).is_some() {
            self.state().write_outbox(0);
            self.state().serve_history(16);
            tokio::task::yield_now().await; // the socket is full: the runtime reports room in its turn
        }
        self.state().end(0, CloseReason::Gone);
        let mut read = Vec::new();
        match client.read_to_end(&mut read) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
            _ => read,
        }
    }
}

/// The parts of a shard with the rules of [`Bench::new`], and its inbox.
pub fn parts() -> (ShardParts, Arc<Inbox>) {
    let rule = |text, on_slow| Rule { on_slow, ..Rule::plain(Some(pattern(text).into())) };
    let kept = Rule { history: 1_000, ..rule("h.>", OnSlow::DropOldest) };
    let read_on = Rule { history: 20, ..rule("r.>", OnSlow::Replay) };
    let queued = [rule("c.>", OnSlow::Conflate), rule("d.>", OnSlow::DropOldest), rule("k.>", OnSlow::Disconnect)];
    let rules = Rules::new(queued.into_iter().chain([kept, read_on]).collect());
    let limits = Limits { outbox_bytes: 900, ..Limits::default() };
    parts_with(&Config { rules, limits, ..Config::default() })
}

/// The parts of a shard with `config`, and its inbox.
pub fn parts_with(config: &Config) -> (ShardParts, Arc<Inbox>) {
    let (clock, metrics, inbox) = (Clock::by_hand(Timestamp(0)), Arc::new(Metrics::new()), Arc::new(Inbox::new(1 << 20)));
    let live = Arc::new(Live::new(config, &metrics));
    let hub = Hub::new(Arc::clone(&live), Arc::clone(&metrics), clock.clone());
    let outlet = hub.attach(Arc::clone(&inbox) as Arc<dyn Outlet>);
    let load = Arc::clone(inbox.load());
    (ShardParts { index: 0, metrics, outlet, load, totals: Totals::default(), hub, live, clock }, inbox)
}

/// Reads the 101 and no more.
pub fn read_head(client: &mut TcpStream) {
    let mut read = [0; HEAD.len()];
    client.read_exact(&mut read).unwrap();
    assert_eq!(read, HEAD);
}

/// Both ends of a connection; the first is non-blocking.
pub fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let stream = listener.accept().unwrap().0;
    stream.set_nonblocking(true).unwrap();
    (stream, client)
}

fn expect(sessions: &mut Sessions) -> SessionId {
    let session = new_session();
    let id = session.id;
    sessions.expect(session);
    id
}

/// A socket that takes everything, and its arrival. The client has sent `input` already.
pub fn arrived_with(input: &[u8]) -> (Metered, Arrived) {
    let socket = Metered::default();
    socket.meter().room = usize::MAX;
    let already_read = bytes::Bytes::copy_from_slice(input);
    (socket.clone(), Arrived { stream: Stream::Metered(socket), head: HEAD.to_vec(), already_read })
}

/// A session of the native dialect.
pub fn new_session() -> NewSession {
    let encoding = Encoding::websocket(Dialect::Json, None);
    let (address, reader, permit) = (([127, 0, 0, 1], 1).into(), Box::new(Silent), Box::new(()));
    NewSession { id: SessionId::random(), address, encoding, reader, permit, subscribes_at_once: true }
}

/// The `op` of each event; for a message also its offset, for a Close its code.
pub fn events(mut frames: &[u8]) -> Vec<String> {
    let mut told = Vec::new();
    while !frames.is_empty() {
        let (head, bytes) =
            if frames[1] == 126 { (4, usize::from(u16::from_be_bytes([frames[2], frames[3]]))) } else { (2, frames[1].into()) };
        if frames[0] == 0x88 {
            told.push(u16::from_be_bytes([frames[2], frames[3]]).to_string());
            break;
        }
        let event: serde_json::Value = serde_json::from_slice(&frames[head..head + bytes]).unwrap();
        let offset = event["offset"].as_u64().map(|offset| format!(" {offset}"));
        told.push(event["op"].as_str().unwrap().to_owned() + &offset.unwrap_or_default());
        frames = &frames[head + bytes..];
    }
    told
}
