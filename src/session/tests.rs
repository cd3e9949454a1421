//! Tests of sessions whose turn ends before all of their input is read.

use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;

use super::{EmulatedOpening, Opening, Purpose, Services, open_emulated, open_websocket};
use crate::auth::Auth;
use crate::clock::Clock;
use crate::config::{Config, GrantLists, Live};
use crate::dialect::centrifugo::Wire;
use crate::dialect::{Dialect, Encoding};
use crate::hub::{Engine, EngineAttempt, Publication, PublishError};
use crate::metrics::Metrics;
use crate::session_id::{Forwarded, SessionId, SessionSecret};
use crate::shard::tests::bench::{Bench, TIME_PER_TICK, new_session};
use crate::shard::tests::name;
use crate::shard::{NewSession, Reader};
use crate::topic_name::{Scope, TopicName};

/// The number of publishes for which a tick has time.
const PER_TICK: u64 = 5;

/// An engine without topics. Each publish takes a part of the tick.
struct Slow(Clock);

impl Engine for Slow {
    fn accepts(&self, _: &TopicName) -> Option<bool> {
        self.0.advance(TIME_PER_TICK / PER_TICK as u32);
        None
    }
    fn publish(&self, _: &TopicName, _: &Publication<'_>, _: &Waker) -> Option<Result<EngineAttempt, PublishError>> {
        None
    }
    fn when_room(&self, _: &Waker) {}
    fn forget(&self, _: &Waker) {}
}

/// A shard in which publishes take time.
struct SlowShard {
    bench: Bench,
    services: Arc<Services>,
}

impl SlowShard {
    fn new() -> Self {
        let mut bench = Bench::new();
        let (env, metrics) = (&bench.state().env, Arc::new(Metrics::new()));
        let clock = env.clock();
        env.hub().set_engine(Arc::new(Slow(clock.clone())));
        let all = vec![Scope::parse(">").unwrap()];
        let mut config = Config::default();
        config.auth.anonymous = Some(GrantLists { subscribe: all.clone(), publish: all });
        let auth = Arc::new(Auth::new(&config.auth, clock.clone()).unwrap());
        let live = Arc::new(Live::new(&config, &metrics));
        Self { bench, services: Arc::new(Services { auth, live, clock, failures: Arc::new(()) }) }
    }

    /// Adds a session of `purpose` over a WebSocket, whose client has sent `messages`.
    fn add(&mut self, purpose: Purpose, messages: &[&str]) {
        let (id, identity, dialect) = (SessionId::random(), Ok(self.services.auth.anonymous()), purpose.dialect());
        self.enter(id, open_websocket(Opening { id, purpose, identity, agreement: None }, &self.services), dialect);
        self.bench.arrive_with(&messages.iter().flat_map(|message| frame(message)).collect::<Vec<u8>>());
        self.bench.flush(); // the first events are sent before commands are read
    }

    /// Adds an emulated session, which a request with the message `first` opens. Its socket has not arrived.
    fn add_emulated(&mut self, first: String) -> SessionSecret {
        let (id, identity) = (SessionId::random(), Ok(self.services.auth.anonymous()));
        let opening = EmulatedOpening { id, wire: Wire::Json, identity, first: first.into(), node: "n".into() };
        let reader = open_emulated(opening, &self.services);
        let secret = reader.secret().unwrap();
        self.enter(id, reader, Dialect::Centrifugo(Wire::Json));
        secret
    }

    fn enter(&mut self, id: SessionId, reader: Box<dyn Reader>, dialect: Dialect) {
        self.bench.replace_with(NewSession { id, reader, encoding: Encoding::websocket(dialect, None), ..new_session() });
    }

    /// Runs a tick. Returns the number of messages published so far.
    fn published(&mut self) -> u64 {
        self.bench.state().begin_tick();
        self.bench.sessions.read_ready(&mut [0; 64]);
        self.bench.flush();
        self.bench.state().env.hub().position(&name("c.a")).map_or(0, |position| position.offset.0)
    }
}

/// A masked text frame, with a mask of zeros.
fn frame(text: &str) -> Vec<u8> {
    let length = if text.len() < 126 { vec![0x80 | text.len() as u8] } else { [&[0xfe][..], &(text.len() as u16).to_be_bytes()].concat() };
    [&[0x81][..], &length, &[0; 4], text.as_bytes()].concat()
}

/// A frame of Centrifugo's protocol: `connect`, then publishes.
fn frame_of_publishes(publishes: u64) -> String {
    let publish = |id| format!("\n{{\"id\":{id},\"publish\":{{\"channel\":\"c.a\",\"data\":1}}}}");
    r#"{"id":1,"connect":{}}"#.to_owned() + &(2..2 + publishes).map(publish).collect::<String>()
}

/// The commands of native and raw sessions are carried out while the tick has time, and continue in the next tick.
#[test]
fn a_burst_of_messages_takes_several_ticks() {
    let native = Purpose::Native { topics: Vec::new(), last: None };
    let raw = Purpose::Raw { topic: name("c.a"), last: None, echo: false };
    for (purpose, message) in [(native, r#"{"op":"publish","topic":"c.a","data":1}"#), (raw, "1")] {
        let mut shard = SlowShard::new();
        shard.add(purpose, &[message; 2 * PER_TICK as usize + 1]);
        assert_eq!([shard.published(), shard.published(), shard.published()], [PER_TICK, 2 * PER_TICK, 2 * PER_TICK + 1]);
        assert!(!shard.bench.state().table.has_more());
    }
}

/// The commands of one frame of Centrifugo's protocol are interrupted, and continue in the next tick. The bug: all were
/// carried out in one tick, and those of a hundred sessions that reconnected blocked a shard for a second.
#[test]
fn the_commands_of_one_frame_take_several_ticks() {
    let mut shard = SlowShard::new();
    shard.add(Purpose::Centrifugo { wire: Wire::Json }, &[&frame_of_publishes(2 * PER_TICK + 1)]);
    assert_eq!([shard.published(), shard.published(), shard.published()], [PER_TICK, 2 * PER_TICK, 2 * PER_TICK + 1]);
    assert!(!shard.bench.state().table.has_more());
}

/// The same holds for frames in requests to `/emulation`. Each frame waits for the turn of its session.
#[test]
fn the_commands_of_forwarded_frames_take_several_ticks() {
    let mut shard = SlowShard::new();
    let secret = shard.add_emulated(frame_of_publishes(PER_TICK + 1));
    assert_eq!(shard.published(), PER_TICK);
    let more = Bytes::from_static(br#"{"id":100,"publish":{"channel":"c.a","data":1}}"#);
    assert_eq!(shard.bench.sessions.forward_frame(secret, more), Forwarded::Accepted);
    shard.bench.arrive_with(b"");
    assert_eq!([shard.published(), shard.published()], [PER_TICK + 2; 2]);
    assert!(!shard.bench.state().table.has_more());
}

/// Whole frames that wait for turns do not count as unfinished input, which is bounded for each address. The bug: of 120
/// sessions that reconnected at once with frames of 250 KB, some were closed with 3008.
#[test]
fn frames_that_wait_for_turns_are_not_unfinished() {
    let mut shard = SlowShard::new();
    let limits = &mut Arc::make_mut(&mut shard.bench.state().env.config).limits;
    (limits.message_bytes, limits.unfinished_bytes_per_address) = (64, 0);
    let slot = shard.bench.state().table.end();
    shard.add(Purpose::Centrifugo { wire: Wire::Json }, &[&frame_of_publishes(3 * PER_TICK)]);
    shard.add_emulated(frame_of_publishes(3 * PER_TICK));
    for published in [PER_TICK, 2 * PER_TICK] {
        assert_eq!(shard.published(), published);
        assert!([slot, slot + 1].into_iter().all(|slot| shard.bench.state().table.is_open(slot)));
    }
}
