//! The engine: one thread, one epoll, one read buffer, any number of sessions.
//!
//! A scenario adds sessions, connects them, starts a load, and runs the engine. Between runs it may change all of
//! these. Every delivery is checked when it arrives.

mod accounting;
mod chunks;
mod event_loop;
mod load;
mod message;
mod poll;
mod publish_results;
mod receive;
mod session;
mod sockets;
mod target;
mod topics;

use std::time::Duration;

use anyhow::bail;

pub use accounting::{Counts, Findings, Verdict};
pub use event_loop::Engine;
pub use load::{Load, Pace, StreamOrder};
pub use publish_results::PublishCounts;
pub use sockets::raise_file_limit;
pub use target::Target;

use crate::clock::nanoseconds;
use crate::measure::Latency;
use crate::wire::Dialect;
use poll::Interest;
use session::{Phase, Session};

/// The receive buffer of a session that stops reading, in bytes. A larger one would hold messages for seconds.
const STALLED_BUFFER_BYTES: usize = 32 << 10;
/// How often [`Engine::await_deliveries`] checks for missing deliveries, in nanoseconds.
const CHECK_STEP: u64 = 20_000_000;

impl Engine {
    /// Adds a topic. Returns its number.
    pub fn add_topic(&mut self, name: String) -> u32 {
        self.ledger.topics.add_topic(name)
    }

    /// Adds a subscriber of `topics`, not connected. Returns its number. All streams must have been added before.
    pub fn add_subscriber(&mut self, topics: Vec<u32>) -> usize {
        self.add_session(self.targets[0].subscriber, topics)
    }

    /// Adds a session that only publishes. Returns its number.
    pub fn add_publisher(&mut self) -> usize {
        let index = self.add_session(self.targets[0].publisher, Vec::new());
        self.sessions[index].http_batch = self.targets[0].publishes_by_http.then(Vec::new);
        index
    }

    fn add_session(&mut self, dialect: Dialect, topics: Vec<u32>) -> usize {
        let index = self.sessions.len();
        let gateway = index % self.targets.len();
        self.sessions.push(Session::new(dialect, self.targets[0].deflate, topics, gateway));
        index
    }

    /// Adds a stream: `publisher` publishes to `topic`. The streams of a topic must be added one after the other.
    pub fn add_stream(&mut self, topic: u32, publisher: usize) -> u32 {
        self.ledger.topics.add_stream(topic, publisher)
    }

    /// Connects `sessions`, and waits at most `patience` until all are subscribed.
    pub fn connect(&mut self, sessions: impl IntoIterator<Item = usize>, patience: Duration) -> anyhow::Result<()> {
        sessions.into_iter().for_each(|index| self.enqueue(index));
        let deadline = self.clock.now() + nanoseconds(patience);
        while self.connecting() > 0 && self.clock.now() < deadline {
            self.begin_connecting()?;
            self.tick(deadline);
        }
        match self.connecting() {
            0 => Ok(()),
            left => bail!("{left} sessions were not subscribed within {} s", patience.as_secs()),
        }
    }

    /// Starts `load`, in place of the one before.
    pub fn publish(&mut self, mut load: Load) {
        load.begin(self.clock.now());
        self.load = Some(load);
    }

    /// Stops the load, and returns it with its lateness.
    pub fn stop_publishing(&mut self) -> Option<Load> {
        self.load.take()
    }

    pub fn run_for(&mut self, duration: Duration) -> anyhow::Result<()> {
        let deadline = self.clock.now() + nanoseconds(duration);
        while self.clock.now() < deadline {
            self.begin_connecting()?;
            self.tick(deadline);
        }
        Ok(())
    }

    /// Runs until no delivery is owed, or none has arrived for `patience`.
    pub fn await_deliveries(&mut self, patience: Duration) -> anyhow::Result<()> {
        let patience = nanoseconds(patience);
        let (mut deliveries, mut since) = (self.ledger.counts.deliveries, self.clock.now());
        while self.ledger.outstanding > 0 && self.clock.now() < since + patience {
            self.begin_connecting()?;
            self.tick(self.clock.now() + CHECK_STEP);
            if self.ledger.counts.deliveries != deliveries {
                (deliveries, since) = (self.ledger.counts.deliveries, self.clock.now());
            }
        }
        // A message that arrives now is a duplicate. This waits for such messages.
        self.run_for(Duration::from_millis(50))
    }

    /// Drops the TCP connections of `sessions` without a Close.
    pub fn disconnect(&mut self, sessions: impl IntoIterator<Item = usize>) {
        sessions.into_iter().for_each(|index| self.end_session(index, Phase::Disconnected));
    }

    /// Stops reading from `sessions`. Their receive buffers become small, so that the kernel soon stops to receive
    /// for them.
    pub fn stall(&mut self, sessions: impl IntoIterator<Item = usize>) {
        for index in sessions {
            self.ledger.expect_deliveries(&mut self.sessions[index], false);
            if let Some(transport) = self.sessions[index].connection.transport() {
                let _ = socket2::SockRef::from(transport.tcp()).set_recv_buffer_size(STALLED_BUFFER_BYTES);
                let _ = self.poll.change(&*transport, index, Interest::None);
            }
        }
    }

    /// Excludes `sessions` from the latencies, because they reconnect and receive missed messages late.
    pub fn exclude_from_latency(&mut self, sessions: impl IntoIterator<Item = usize>) {
        sessions.into_iter().for_each(|index| self.sessions[index].subscriptions.exclude_from_latency());
    }

    /// Lets `sessions` connect to the next gateway whenever theirs is gone. Their publishes ask for answers from now
    /// on, and are owed to subscribers once acknowledged.
    pub fn enable_failover(&mut self, sessions: impl IntoIterator<Item = usize>) {
        sessions.into_iter().for_each(|index| self.sessions[index].failover.enable());
    }

    /// The longest time without a message for each of `sessions` since the last call, in nanoseconds.
    pub fn take_longest_silences(&mut self, sessions: &[usize]) -> Vec<u64> {
        let now = self.clock.now();
        sessions.iter().map(|index| self.sessions[*index].failover.take_longest_silence(now)).collect()
    }

    /// The results of publishes that ask for an answer.
    pub fn publish_counts(&self) -> PublishCounts {
        self.ledger.topics.publish_counts()
    }

    /// Replaces the topics of `sessions`, with an unsubscribe and a subscribe.
    pub fn resubscribe(&mut self, sessions: impl IntoIterator<Item = (usize, Vec<u32>)>) {
        for (index, topics) in sessions {
            self.ledger.change_topics(&mut self.sessions[index], topics);
            self.flush(index);
        }
    }

    /// The current time, in nanoseconds of the run's clock.
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    pub fn counts(&self) -> &Counts {
        &self.ledger.counts
    }

    pub fn latency(&self) -> &Latency {
        &self.ledger.latency
    }

    /// Begins the measurement: messages that are due from now on are measured.
    pub fn measure(&mut self) {
        self.ledger.latency.measure_from(self.clock.now());
    }

    /// The number of open sessions with permessage-deflate as offered.
    pub fn deflated_sessions(&self) -> usize {
        self.count_open(|session| session.compression.is_as_offered())
    }

    /// The number of subscribed sessions.
    pub fn open_sessions(&self) -> usize {
        self.count_open(|_| true)
    }

    /// The number of subscribers to which deliveries are owed.
    pub fn reading_sessions(&self) -> usize {
        self.count_open(|session| session.subscriptions.are_owed() && !session.subscriptions.topics().is_empty())
    }

    fn count_open(&self, is_counted: impl Fn(&Session) -> bool) -> usize {
        self.sessions.iter().filter(|session| session.connection.phase() == Phase::Open && is_counted(session)).count()
    }

    /// The result of all checks so far.
    pub fn verdict(&self) -> Verdict {
        Verdict::of(&self.sessions, &self.ledger)
    }
}
