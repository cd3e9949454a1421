//! Who waits for their first bytes, and what becomes of them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::bench::{Bench, HEAD, newcomer};
use crate::clock::Clock;
use crate::shard::lobby::Lobby;
use crate::shard::newcomer::{Admitted, Caller, Porter};

const REQUEST: &[u8] = b"let me in";

/// What was taken back: each with what it said.
type TakenBack = Arc<Mutex<Vec<(TcpStream, Vec<u8>)>>>;

/// Lets in who says [`REQUEST`], after having looked at it for a time.
struct Doorkeeper {
    clock: Clock,
    looks_for: Duration,
    taken_back: TakenBack,
}

impl Porter for Doorkeeper {
    fn admit(&mut self, said: &[u8]) -> Option<Admitted> {
        self.clock.turn(self.looks_for);
        said.starts_with(REQUEST).then(|| Admitted { newcomer: newcomer(), head: HEAD.to_vec(), used: REQUEST.len() })
    }

    fn take_back(self: Box<Self>, stream: TcpStream, said: &[u8]) {
        self.taken_back.lock().push((stream, said.to_vec()));
    }
}

/// A lobby beside a shard's sessions.
struct House {
    bench: Bench,
    lobby: Lobby,
    looks_for: Duration,
    taken_back: TakenBack,
    until: Instant,
}

impl House {
    fn new() -> Self {
        let until = Instant::now() + Duration::from_secs(60);
        Self { bench: Bench::new(), lobby: Lobby::default(), looks_for: Duration::ZERO, taken_back: Arc::default(), until }
    }

    /// The caller's end of its connection.
    fn call(&mut self) -> TcpStream {
        let socket = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let client = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let stream = socket.accept().unwrap().0;
        stream.set_nonblocking(true).unwrap();
        let (clock, looks_for, taken_back) = (self.bench.sessions.clock.clone(), self.looks_for, Arc::clone(&self.taken_back));
        self.lobby.receive(Caller { stream, until: self.until, porter: Box::new(Doorkeeper { clock, looks_for, taken_back }) });
        client
    }

    /// Answers once, as soon as somebody has said something; whether all were answered.
    async fn answer(&mut self) -> bool {
        while !self.lobby.is_heard_or_wakes(Waker::noop()) {
            tokio::task::yield_now().await;
        }
        let (mut buffer, clock) = ([0; 64], self.bench.sessions.clock.clone());
        self.lobby.answer(&mut buffer, &clock, &mut self.bench.sessions)
    }

    fn sessions(&self) -> usize {
        self.bench.sessions.slots.iter().count() - 1 // the bench has one of its own
    }

    fn taken_back(&self) -> Vec<Vec<u8>> {
        self.taken_back.lock().iter().map(|(_, said)| said.clone()).collect()
    }
}

/// Its 101 leaves with the turn, and what it has said behind its request is kept for its reader.
#[tokio::test]
async fn who_may_come_in_is_a_session() {
    let mut house = House::new();
    let mut client = house.call();
    assert!(house.lobby.answer(&mut [0; 64], &Clock::machine(), &mut house.bench.sessions));
    assert_eq!((house.sessions(), house.taken_back().len()), (0, 0), "nothing was said yet");
    client.write_all(&[REQUEST, b"and more"].concat()).unwrap();
    assert!(house.answer().await);
    assert_eq!((house.sessions(), house.taken_back().len()), (1, 0));
    assert_eq!(house.bench.sessions.slot(1).unwrap().unread, b"and more");
    house.bench.flush();
    let mut read = [0; HEAD.len()];
    client.read_exact(&mut read).unwrap();
    assert_eq!(read, HEAD);
}

/// Whoever asks for anything else, has gone, or says nothing in time goes back, with its socket and all that it said.
#[tokio::test]
async fn all_others_go_back() {
    let mut house = House::new();
    let mut client = house.call();
    client.write_all(b"GET / ").unwrap();
    house.answer().await;
    drop(house.call());
    house.answer().await;
    let _silent = house.call();
    house.lobby.sweep(house.until - Duration::from_millis(1));
    assert_eq!(house.taken_back(), [b"GET / ".to_vec(), Vec::new()]);
    house.lobby.sweep(house.until);
    assert_eq!(house.taken_back(), [b"GET / ".to_vec(), Vec::new(), Vec::new()]);
    assert_eq!(house.sessions(), 0);
    let (mut stream, mut rest) = (house.taken_back.lock().remove(0).0, [0; 8]);
    stream.write_all(b"well?").unwrap();
    assert_eq!(client.read(&mut rest).unwrap(), 5);
}

/// However long each is looked at, those that wait are let in one turn after the other, and sessions have theirs between.
#[tokio::test]
async fn a_turn_looks_for_a_bounded_time() {
    let mut house = House::new();
    house.looks_for = Duration::from_millis(50);
    let mut clients: Vec<TcpStream> = (0..3).map(|_| house.call()).collect();
    clients.iter_mut().for_each(|client| client.write_all(REQUEST).unwrap());
    for seated in 1..=3 {
        house.answer().await;
        assert_eq!(house.sessions(), seated);
    }
    assert!(house.lobby.answer(&mut [0; 64], &Clock::machine(), &mut house.bench.sessions), "nobody is left");
}
