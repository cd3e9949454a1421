//! The engine: one thread, one epoll, one read buffer, any number of sessions.
//!
//! A scenario adds sessions, connects them, starts a load, and runs the engine. Between runs it may change all of
//! these. Every delivery is checked when it arrives.

mod answers;
mod compression;
mod ending;
mod event_loop;
mod findings;
mod joins;
mod ledger;
mod load;
mod message;
mod poll;
mod receive;
mod roaming;
mod session;
mod sockets;
mod stream;
mod transport;
mod verdict;

use std::time::Duration;

use anyhow::bail;

pub use answers::Answers;
pub use event_loop::Watch;
pub use findings::Findings;
pub use ledger::{Counts, Ledger};
pub use load::{Load, Pace, StreamOrder};
pub use sockets::{Spread, Target, raise_file_limit};
pub use verdict::Verdict;

use crate::clock::nanoseconds;
use crate::stamp::Stamper;
use crate::wire::Dialect;
use event_loop::EventLoop;
use poll::Interest;
use session::{Phase, Session};

/// The receive buffer of a session that stops reading, in bytes. A larger one would hold messages for seconds.
const STALLED_BUFFER_BYTES: usize = 32 << 10;
/// How often [`Engine::await_deliveries`] checks for missing deliveries, in nanoseconds.
const CHECK_STEP: u64 = 20_000_000;

/// The sessions and the load of a run.
pub struct Engine {
    events: EventLoop,
}

impl Engine {
    /// An engine whose sessions are assigned to `targets` round robin, with payloads of `stamper`. If the gateways are
    /// `clustered`, offsets have holes. There must be at least one target.
    pub fn new(targets: Vec<Target>, stamper: Stamper, clustered: bool) -> std::io::Result<Self> {
        debug_assert!(!targets.is_empty(), "sessions connect to something");
        Ok(Self { events: EventLoop::new(targets, stamper, clustered)? })
    }

    /// Calls `watch` with each slice of the time line when it ends.
    pub fn watch(&mut self, watch: Watch) {
        self.events.watch = Some(watch);
    }

    /// Adds a topic. Returns its number.
    pub fn topic(&mut self, name: String) -> u32 {
        self.events.ledger.add_topic(name)
    }

    /// Adds a subscriber of `topics`, not connected. Returns its number. All streams must have been added before.
    pub fn add_subscriber(&mut self, topics: Vec<u32>) -> usize {
        self.add_session(self.events.targets[0].subscriber, topics)
    }

    /// Adds a session that only publishes. Returns its number.
    pub fn add_publisher(&mut self) -> usize {
        let index = self.add_session(self.events.targets[0].publisher, Vec::new());
        self.events.sessions[index].posts = self.events.targets[0].publishers_post;
        index
    }

    fn add_session(&mut self, dialect: Dialect, topics: Vec<u32>) -> usize {
        let index = self.events.sessions.len();
        let home = index % self.events.targets.len();
        self.events.sessions.push(Session::new(dialect, self.events.targets[0].deflate, topics, home));
        index
    }

    /// Adds a stream: `publisher` publishes to `topic`. The streams of a topic must be added one after the other.
    pub fn stream(&mut self, topic: u32, publisher: usize) -> u32 {
        self.events.ledger.add_stream(topic, publisher)
    }

    /// Connects `sessions`, and waits at most `patience` until all are subscribed.
    pub fn connect(&mut self, sessions: impl IntoIterator<Item = usize>, patience: Duration) -> anyhow::Result<()> {
        self.connect_later(sessions);
        let deadline = self.events.clock.now() + nanoseconds(patience);
        while self.events.is_connecting() && self.events.clock.now() < deadline {
            self.events.begin_connecting()?;
            self.events.tick(deadline);
        }
        match self.events.connecting() {
            0 => Ok(()),
            left => bail!("{left} sessions were not subscribed within {} s", patience.as_secs()),
        }
    }

    /// Connects `sessions` while the engine runs.
    pub fn connect_later(&mut self, sessions: impl IntoIterator<Item = usize>) {
        sessions.into_iter().for_each(|index| self.events.enqueue(index));
    }

    /// Starts `load`, in place of the one before.
    pub fn publish(&mut self, mut load: Load) {
        load.begin(self.events.clock.now());
        self.events.load = Some(load);
    }

    /// Stops the load, and returns it with its latenesses.
    pub fn stop_publishing(&mut self) -> Option<Load> {
        self.events.load.take()
    }

    /// Runs for `duration`.
    pub fn run_for(&mut self, duration: Duration) -> anyhow::Result<()> {
        let deadline = self.events.clock.now() + nanoseconds(duration);
        while self.events.clock.now() < deadline {
            self.events.begin_connecting()?;
            self.events.tick(deadline);
        }
        Ok(())
    }

    /// Runs until no delivery is owed, or none has arrived for `patience`.
    pub fn await_deliveries(&mut self, patience: Duration) -> anyhow::Result<()> {
        let patience = nanoseconds(patience);
        let (mut heard, mut since) = (self.events.ledger.counts.deliveries, self.events.clock.now());
        while self.events.ledger.outstanding > 0 && self.events.clock.now() < since + patience {
            self.events.begin_connecting()?;
            self.events.tick(self.events.clock.now() + CHECK_STEP);
            if self.events.ledger.counts.deliveries != heard {
                (heard, since) = (self.events.ledger.counts.deliveries, self.events.clock.now());
            }
        }
        // A message that arrives now is a duplicate. This waits for such messages.
        self.run_for(Duration::from_millis(50))
    }

    /// Drops the TCP connections of `sessions` without a Close.
    pub fn disconnect(&mut self, sessions: impl IntoIterator<Item = usize>) {
        for index in sessions {
            self.events.leave(index, Phase::Disconnected);
        }
    }

    /// Stops reading from `sessions`. Their receive buffers become small, so that the kernel does not read on for a
    /// long time.
    pub fn stall(&mut self, sessions: impl IntoIterator<Item = usize>) {
        for index in sessions {
            self.events.ledger.stop_expecting(&mut self.events.sessions[index]);
            if let Some(transport) = &self.events.sessions[index].transport {
                let _ = socket2::SockRef::from(transport.tcp()).set_recv_buffer_size(STALLED_BUFFER_BYTES);
                let _ = self.events.poll.change(transport, index, Interest::None);
            }
        }
    }

    /// Excludes `sessions` from the latencies, because they reconnect and receive missed messages late.
    pub fn exclude_from_latency(&mut self, sessions: impl IntoIterator<Item = usize>) {
        for index in sessions {
            self.events.sessions[index].timed = false;
        }
    }

    /// Lets `sessions` connect to the next gateway whenever theirs is gone. Their publishes ask for answers from now
    /// on, and are owed to subscribers once acknowledged.
    pub fn go_on_elsewhere(&mut self, sessions: impl IntoIterator<Item = usize>) {
        for index in sessions {
            self.events.sessions[index].roaming.go_on();
        }
    }

    /// The longest time without a message for each of `sessions` since the last call, in nanoseconds.
    pub fn take_silences(&mut self, sessions: &[usize]) -> Vec<u64> {
        let now = self.events.clock.now();
        sessions.iter().map(|index| self.events.sessions[*index].roaming.take_silence(now)).collect()
    }

    /// The answers to publishes that ask for them.
    pub fn answers(&self) -> Answers {
        self.events.ledger.answers()
    }

    /// Replaces the topics of `sessions`, with an unsubscribe and a subscribe.
    pub fn resubscribe(&mut self, sessions: impl IntoIterator<Item = (usize, Vec<u32>)>) {
        for (index, topics) in sessions {
            self.events.ledger.change_topics(&mut self.events.sessions[index], topics);
            self.events.flush(index);
        }
    }

    /// The current time, in nanoseconds of the run's clock.
    pub fn now(&self) -> u64 {
        self.events.clock.now()
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.events.ledger
    }

    /// Begins the measurement: messages that are due from now on are measured.
    pub fn measure(&mut self) {
        self.events.ledger.latency.measure_from(self.events.clock.now());
    }

    /// The number of open sessions with permessage-deflate as offered.
    pub fn deflated_sessions(&self) -> usize {
        self.events.sessions.iter().filter(|session| session.phase == Phase::Open && session.compression.is_as_offered()).count()
    }

    /// The number of subscribed sessions.
    pub fn open_sessions(&self) -> usize {
        self.events.sessions.iter().filter(|session| session.phase == Phase::Open).count()
    }

    /// The number of subscribers to which deliveries are owed.
    pub fn reading_sessions(&self) -> usize {
        self.events
            .sessions
            .iter()
            .filter(|session| session.phase == Phase::Open && session.expects_deliveries && !session.topics.is_empty())
            .count()
    }

    /// The result of all checks so far.
    pub fn verdict(&self) -> Verdict {
        Verdict::of(&self.events.sessions, &self.events.ledger)
    }
}
