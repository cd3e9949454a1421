//! The engine: one thread, one epoll, one read buffer, any number of sessions.
//!
//! A scenario seats sessions, connects them, sets a flow of messages going, and lets the engine run; between runs it changes
//! what it likes. Every delivery is checked on its way.

mod desk;
mod flow;
mod intake;
mod poll;
mod session;
mod sockets;
mod verdict;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::time::Duration;

pub use desk::{Desk, Tally};
pub use flow::{Flow, Pace, Picks};
pub use sockets::{ConnectError, Spread, Target, raise_file_limit};
pub use verdict::Verdict;

use crate::clock::{Clock, nanoseconds};
use crate::measure::Slice;
use crate::stamp::Stamper;
use crate::wire::{Dialect, post};
use intake::Progress;
use poll::{Poll, Ready, Wants};
use session::{Phase, Session};

/// The one read buffer in bytes: with less, a burst to one subscriber would take several reads.
const BUFFER_BYTES: usize = 256 << 10;
/// What the kernel takes for a session that stopped reading.
const STALLED_BUFFER_BYTES: usize = 32 << 10;
/// How many sessions may be on their way at once; a listener's backlog is often no longer than this.
const PENDING_MAX: usize = 128;

/// Is told each slice of the time line.
pub type Watch = Box<dyn FnMut(&Slice, &Tally)>;

/// Runs the sessions of one scenario.
pub struct Engine {
    clock: Clock,
    poll: Poll,
    sessions: Vec<Session>,
    /// To be connected, in order.
    waiting: VecDeque<usize>,
    /// Connected, but not yet subscribed.
    pending: usize,
    target: Target,
    buffer: Box<[u8]>,
    desk: Desk,
    flow: Option<Flow>,
    watch: Option<Watch>,
    /// When the socket that is being read was read, in nanoseconds of the clock.
    now: u64,
}

impl Engine {
    /// For sessions with `target`, and payloads as `stamper` writes them.
    pub fn new(target: Target, stamper: Stamper) -> std::io::Result<Self> {
        Ok(Self {
            clock: Clock::start(),
            poll: Poll::new()?,
            sessions: Vec::new(),
            waiting: VecDeque::new(),
            pending: 0,
            target,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            desk: Desk::new(stamper),
            flow: None,
            watch: None,
            now: 0,
        })
    }

    /// Tells `watch` each slice of the time line as it ends.
    pub fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// A new topic; its number.
    pub fn topic(&mut self, name: String) -> u32 {
        self.desk.add_topic(name)
    }

    /// A new subscriber of `topics`, in no order of connecting yet; its number. All streams must be there before.
    pub fn seat(&mut self, topics: Vec<u32>) -> usize {
        self.seat_with(self.target.subscriber, topics)
    }

    /// A new session that only publishes; its number.
    pub fn seat_publisher(&mut self) -> usize {
        let index = self.seat_with(self.target.publisher, Vec::new());
        self.sessions[index].posts = self.target.publishers_post;
        index
    }

    fn seat_with(&mut self, dialect: Dialect, topics: Vec<u32>) -> usize {
        self.sessions.push(Session::new(dialect, topics));
        self.sessions.len() - 1
    }

    /// Lets `publisher` publish to `topic`: a new stream. The streams of one topic must be made one after the other.
    pub fn stream(&mut self, topic: u32, publisher: usize) -> u32 {
        self.desk.add_stream(topic, publisher)
    }

    /// Connects `sessions` and waits until all of them have their subscriptions, `patience` at most.
    pub fn connect(&mut self, sessions: impl IntoIterator<Item = usize>, patience: Duration) -> Result<(), ConnectError> {
        self.connect_later(sessions);
        let deadline = self.clock.now() + nanoseconds(patience);
        while (self.pending > 0 || !self.waiting.is_empty()) && self.clock.now() < deadline {
            self.admit()?;
            self.turn(deadline);
        }
        match self.pending + self.waiting.len() {
            0 => Ok(()),
            left => Err(ConnectError::TooSlow { left, patience }),
        }
    }

    /// Connects `sessions` while the engine runs.
    pub fn connect_later(&mut self, sessions: impl IntoIterator<Item = usize>) {
        for index in sessions {
            self.desk.prepare(&mut self.sessions[index]);
            self.waiting.push_back(index);
        }
    }

    /// Whether sessions are on their way.
    pub fn is_connecting(&self) -> bool {
        self.pending > 0 || !self.waiting.is_empty()
    }

    /// Publishes from now on as `flow` says, in place of what was.
    pub fn publish(&mut self, mut flow: Flow) {
        flow.begin(self.clock.now());
        self.flow = Some(flow);
    }

    /// Publishes no more; the delays of what was published.
    pub fn stop_publishing(&mut self) -> Option<Flow> {
        self.flow.take()
    }

    /// Runs for `duration`.
    pub fn run_for(&mut self, duration: Duration) -> Result<(), ConnectError> {
        let deadline = self.clock.now() + nanoseconds(duration);
        while self.clock.now() < deadline {
            self.admit()?;
            self.turn(deadline);
        }
        Ok(())
    }

    /// Runs until nothing is owed to anybody any more, or nothing has come for `patience`.
    pub fn settle(&mut self, patience: Duration) -> Result<(), ConnectError> {
        let patience = nanoseconds(patience);
        let (mut heard, mut since) = (self.desk.tally.deliveries, self.clock.now());
        while self.desk.outstanding > 0 && self.clock.now() < since + patience {
            self.admit()?;
            self.turn(self.clock.now() + 20_000_000);
            if self.desk.tally.deliveries != heard {
                (heard, since) = (self.desk.tally.deliveries, self.clock.now());
            }
        }
        // Whatever comes now comes twice: a moment to see it.
        self.run_for(Duration::from_millis(50))
    }

    /// Drops the TCP connections of `sessions` without a word.
    pub fn disconnect(&mut self, sessions: impl IntoIterator<Item = usize>) {
        for index in sessions {
            self.leave(index, Phase::Away);
        }
    }

    /// `sessions` stop reading. Their receive buffers stay small from now on, else the kernel would read for them for a long time.
    pub fn stall(&mut self, sessions: impl IntoIterator<Item = usize>) {
        for index in sessions {
            self.desk.excuse(&mut self.sessions[index]);
            if let Some(socket) = &self.sessions[index].socket {
                let _ = socket2::SockRef::from(socket).set_recv_buffer_size(STALLED_BUFFER_BYTES);
                let _ = self.poll.change(socket, index, Wants::Nothing);
            }
        }
    }

    /// The delays of `sessions` are not measured: they come back, and get late what they missed.
    pub fn leave_untimed(&mut self, sessions: impl IntoIterator<Item = usize>) {
        for index in sessions {
            self.sessions[index].timed = false;
        }
    }

    /// `sessions` take other topics: an unsubscribe, then a subscribe.
    pub fn resubscribe(&mut self, sessions: impl IntoIterator<Item = (usize, Vec<u32>)>) {
        for (index, topics) in sessions {
            self.desk.change_topics(&mut self.sessions[index], topics);
            self.flush(index);
        }
    }

    /// Now, in nanoseconds of the run's clock.
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Where deliveries are counted.
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Messages due from now on are measured.
    pub fn measure(&mut self) {
        self.desk.latency.measure_from(self.clock.now());
    }

    /// How many of `sessions` have permessage-deflate.
    pub fn deflated_sessions(&self) -> usize {
        self.sessions.iter().filter(|session| session.phase == Phase::Open && session.deflated).count()
    }

    /// How many of `sessions` are connected and subscribed.
    pub fn open_sessions(&self) -> usize {
        self.sessions.iter().filter(|session| session.phase == Phase::Open).count()
    }

    /// How many subscribers are owed messages.
    pub fn reading_sessions(&self) -> usize {
        self.sessions.iter().filter(|session| session.phase == Phase::Open && session.counts && !session.topics.is_empty()).count()
    }

    /// What was lost, doubled, reordered so far.
    pub fn verdict(&self) -> Verdict {
        Verdict::of(&self.sessions, &self.desk)
    }

    /// Lets waiting sessions connect, as many as may be on their way at once.
    fn admit(&mut self) -> Result<(), ConnectError> {
        while self.pending < PENDING_MAX {
            let Some(index) = self.waiting.pop_front() else { break };
            let socket = sockets::connect(&self.target, index)?;
            self.poll.add(&socket, index).map_err(ConnectError::Poll)?;
            let session = &mut self.sessions[index];
            session.begin(socket);
            self.pending += 1;
        }
        Ok(())
    }

    /// Publishes what is due, waits for what happens next, `deadline` at most, and takes it.
    fn turn(&mut self, deadline: u64) {
        let now = self.clock.now();
        self.publish_due(now);
        if let Some(slice) = self.desk.latency.turn(now)
            && let Some(watch) = &mut self.watch
        {
            watch(&slice, &self.desk.tally);
        }
        let next = self.flow.as_ref().map_or(u64::MAX, Flow::next_due);
        let wake = deadline.min(next).min(self.desk.latency.next_turn());
        let mut ready = self.poll.wait(wake.saturating_sub(self.clock.now()));
        for Ready { index, readable, writable } in ready.drain(..) {
            if writable {
                self.write(index);
            }
            if readable {
                self.read(index);
                // A long row of subscribers must not delay the next message.
                if self.flow.as_ref().is_some_and(|flow| flow.is_due(self.now, &self.desk)) {
                    self.publish_due(self.now);
                }
            }
        }
        self.poll.give_back(ready);
    }

    fn publish_due(&mut self, now: u64) {
        let Some(mut flow) = self.flow.take() else { return };
        flow.publish_due(now, &mut self.desk, &mut self.sessions);
        for publisher in flow.touched.drain(..) {
            let session = &mut self.sessions[publisher];
            post::seal(&mut session.outgoing, &mut session.batch);
            self.flush(publisher);
        }
        self.flow = Some(flow);
    }

    fn read(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        let Some(socket) = &session.socket else { return };
        let mut socket: &std::net::TcpStream = socket;
        match socket.read(&mut self.buffer) {
            Ok(0) => self.leave(index, Phase::Closed),
            Ok(length) => {
                self.now = self.clock.now();
                self.desk.tally.received_bytes += length as u64;
                let progress = intake::take(session, &mut self.desk, &self.buffer[..length], self.now);
                self.proceed(index, progress);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => self.break_off(index, &error),
        }
    }

    fn proceed(&mut self, index: usize, progress: Progress) {
        match progress {
            Progress::Nothing => {}
            Progress::Opened => self.pending = self.pending.saturating_sub(1),
            Progress::Ended => return self.leave(index, Phase::Closed),
        }
        if !self.sessions[index].outgoing.is_empty() {
            self.flush(index);
        }
    }

    /// The socket takes more, or is connected at last.
    fn write(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        if session.phase == Phase::Connecting {
            let refused = session.socket.as_ref().and_then(|socket| socket.take_error().ok().flatten());
            if let Some(error) = refused {
                self.desk.tally.refuse(format!("connecting failed: {error}"));
                return self.leave(index, Phase::Closed);
            }
            if session.posts {
                self.desk.admit(session, &[]);
                self.pending = self.pending.saturating_sub(1);
                return self.flush(index);
            }
            session.phase = Phase::Upgrading;
            let topics = self.desk.names(&session.topics);
            session.outgoing = sockets::upgrade_request(&self.target, session.dialect, &topics);
        }
        self.flush(index);
    }

    fn flush(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        if session.phase == Phase::Connecting {
            return;
        }
        match session.flush() {
            Ok(wants) => {
                if let Some(socket) = &session.socket
                    && wants != session.wants
                    && self.poll.change(socket, index, wants).is_ok()
                {
                    session.wants = wants;
                }
            }
            Err(error) => self.break_off(index, &error),
        }
    }

    /// The connection broke. A reset is an end without a close frame, and counted as that; all else is a fault.
    fn break_off(&mut self, index: usize, error: &std::io::Error) {
        let reset = matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
        if !reset || self.sessions[index].phase != Phase::Open {
            self.desk.tally.broken(error);
        }
        self.leave(index, Phase::Closed);
    }

    /// The session is over; closing the socket takes it out of the poll.
    fn leave(&mut self, index: usize, phase: Phase) {
        let session = &mut self.sessions[index];
        if session.is_pending() {
            self.pending = self.pending.saturating_sub(1);
        }
        self.desk.dismiss(session, phase == Phase::Closed);
        session.end(phase);
    }
}
