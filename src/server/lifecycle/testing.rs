//! A gateway without listeners, for the tests of this folder.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::auth::{self, AuthError, Identity};
use crate::clock::Clock;
use crate::config::{Config, Live};
use crate::dialect::{Dialect, Encoding};
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::server::limits::Admission;
use crate::session::{self, Opening, Purpose, Services};
use crate::session_id::SessionId;
use crate::shard::{Arrived, Expected, NewSession, Shards, Stream};

/// The parts that admit a session whose upgrade was granted.
pub struct TestGateway {
    /// The parts that sessions share.
    pub services: Arc<Services>,
    /// Counts the sessions.
    pub admission: Arc<Admission>,
    /// One shard.
    pub shards: Arc<Shards>,
}

impl TestGateway {
    /// A gateway with this configuration.
    pub fn new(config: Config) -> Self {
        let (clock, metrics) = (Clock::machine(), Arc::new(Metrics::new()));
        let auth = Arc::new(auth::Auth::new(&config.auth, clock.clone()).unwrap());
        let live = Arc::new(Live::new(&config, &metrics));
        let hub = Hub::new(Arc::clone(&live), Arc::clone(&metrics), clock.clone());
        let shards = Shards::start(1, &hub, &live, &metrics, &clock).unwrap();
        let admission = Admission::new(Arc::clone(&live), usize::MAX, None);
        Self { services: Arc::new(Services { auth, live, clock, failures: Arc::new(()) }), admission, shards }
    }

    /// Admits a native session, whose 101 is under way then.
    pub async fn expect(&self, identity: Result<Option<Arc<Identity>>, AuthError>) -> Expected {
        let (id, address) = (SessionId::random(), ([127, 0, 0, 1], 1).into());
        let opening = Opening { id, purpose: Purpose::Native { topics: Vec::new(), last: None }, identity, agreement: None };
        let encoding = Encoding::websocket(Dialect::Json, None);
        let (reader, permit) =
            (session::open_websocket(opening, &self.services), Box::new(self.admission.admit([127, 0, 0, 1].into()).unwrap()));
        self.shards.expect(NewSession { id, address, encoding, reader, permit, subscribes_at_once: false }).await
    }

    /// Sends a session's socket to its shard. Returns the client's end.
    pub async fn arrive(&self, expected: Expected) -> Client {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = Stream::Plain(listener.accept().await.unwrap().0.into_std().unwrap());
        expected.arrive(Arrived { stream, head: Vec::new(), already_read: Bytes::new() }).await;
        Client(client)
    }

    /// Waits until the shard has ended the tick that takes the items sent to it before this call. A tick takes its inbox twice.
    pub async fn let_ticks_pass(&self) {
        for _ in 0..3 {
            self.shards.slowest(1).await;
        }
    }
}

/// The client's end of a session.
pub struct Client(TcpStream);

impl Client {
    /// Reads frames up to the Close, which it does not answer. Returns the `op` and text of each frame, and the code
    /// and reason of the Close.
    pub async fn read_to_close(&mut self) -> Vec<(String, String)> {
        let mut frames = Vec::new();
        loop {
            let (opcode, payload) = self.read_frame().await;
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            if opcode == 8 {
                frames.push((u16::from_be_bytes([payload[0], payload[1]]).to_string(), text(&payload[2..])));
                return frames;
            }
            let json: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            frames.push((json["op"].as_str().unwrap().to_owned(), text(&payload)));
        }
    }

    async fn read_frame(&mut self) -> (u8, Vec<u8>) {
        let opcode = self.0.read_u8().await.unwrap() & 0x0f;
        let bytes = match self.0.read_u8().await.unwrap() {
            126 => usize::from(self.0.read_u16().await.unwrap()),
            short => usize::from(short),
        };
        let mut payload = vec![0; bytes];
        self.0.read_exact(&mut payload).await.unwrap();
        (opcode, payload)
    }
}
