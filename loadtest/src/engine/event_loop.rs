//! The event loop: connects sessions, publishes messages that are due, and reads and writes ready sockets.

use std::collections::VecDeque;
use std::io::ErrorKind;

use anyhow::Context;

use super::accounting::{Counts, Ledger};
use super::load::Load;
use super::poll::{Poll, Ready};
use super::receive;
use super::session::{Phase, Session, Transport};
use super::sockets;
use super::target::Target;
use crate::clock::Clock;
use crate::measure::Slice;
use crate::stamp::Stamper;
use crate::wire::http::publish;

/// The size of the read buffer, in bytes. With a smaller one, a burst to one subscriber would take several reads.
const BUFFER_BYTES: usize = 256 << 10;
/// The wait of a session before it connects to the next gateway, in nanoseconds. It keeps the loop from spinning if all
/// gateways are gone.
const RECONNECT_DELAY: u64 = 100_000_000;
/// The largest number of sessions that connect at the same time. The backlog of a listener is often no longer.
const PENDING_MAX: usize = 128;

/// Receives each slice of the time line as it ends.
pub type Watch = Box<dyn FnMut(&Slice, &Counts)>;

/// The sessions and the load of a run.
pub struct Engine {
    pub(super) clock: Clock,
    pub(super) poll: Poll,
    pub(super) sessions: Vec<Session>,
    /// The gateways that act as one. Sessions are assigned round robin.
    pub(super) targets: Vec<Target>,
    pub(super) ledger: Ledger,
    pub(super) load: Option<Load>,
    watch: Watch,
    /// Sessions to connect, in order.
    waiting: VecDeque<usize>,
    /// Sessions that will connect to the next gateway, with the time.
    reconnects: VecDeque<(u64, usize)>,
    /// The number of sessions that are connecting, upgrading or subscribing.
    pending: usize,
    /// The ready sockets of one tick; empty between ticks.
    ready: Vec<Ready>,
    buffer: Box<[u8]>,
    /// The time of the last read, in nanoseconds of the clock.
    read_at: u64,
}

impl Engine {
    /// An engine whose sessions are assigned to `targets` round robin, with payloads of `stamper`. If the gateways are
    /// `clustered`, offsets have holes. There must be at least one target.
    pub fn new(targets: Vec<Target>, stamper: Stamper, clustered: bool, watch: Watch) -> std::io::Result<Self> {
        debug_assert!(!targets.is_empty(), "sessions connect to something");
        Ok(Self {
            clock: Clock::start(),
            poll: Poll::new()?,
            sessions: Vec::new(),
            targets,
            ledger: Ledger::new(stamper, clustered),
            load: None,
            watch,
            waiting: VecDeque::new(),
            reconnects: VecDeque::new(),
            pending: 0,
            ready: Vec::new(),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            read_at: 0,
        })
    }

    /// The number of sessions that wait to connect, or are connecting.
    pub(super) fn connecting(&self) -> usize {
        self.pending + self.waiting.len()
    }

    /// Connects the session `index` as soon as fewer than [`PENDING_MAX`] are connecting.
    pub(super) fn enqueue(&mut self, index: usize) {
        self.sessions[index].subscriptions.prepare(&self.ledger.topics);
        self.waiting.push_back(index);
    }

    /// Begins to connect waiting sessions, up to [`PENDING_MAX`].
    pub(super) fn begin_connecting(&mut self) -> anyhow::Result<()> {
        let now = self.clock.now();
        while let Some(&(at, index)) = self.reconnects.front()
            && at <= now
        {
            self.reconnects.pop_front();
            self.enqueue(index);
        }
        while self.pending < PENDING_MAX {
            let Some(index) = self.waiting.pop_front() else { break };
            let target = &self.targets[self.sessions[index].failover.gateway()];
            let socket = sockets::connect(target, index)?;
            let transport = Transport::new(socket, target.tls.as_ref()).context("TLS can't begin")?;
            self.poll.add(&transport, index).context("can't watch a socket")?;
            self.sessions[index].begin(transport);
            self.pending += 1;
        }
        Ok(())
    }

    /// Publishes messages that are due, waits for ready sockets until `deadline`, and handles them.
    pub(super) fn tick(&mut self, deadline: u64) {
        let now = self.clock.now();
        self.publish_due(now);
        if let Some(slice) = self.ledger.latency.end_slice(now) {
            (self.watch)(&slice, &self.ledger.counts);
        }
        let next = self.load.as_ref().map_or(u64::MAX, Load::next_due);
        let reconnect = self.reconnects.front().map_or(u64::MAX, |(at, _)| *at);
        let wake = deadline.min(next).min(reconnect).min(self.ledger.latency.slice_end());
        let mut ready = std::mem::take(&mut self.ready);
        self.poll.wait(wake.saturating_sub(self.clock.now()), &mut ready);
        for Ready { index, readable, writable } in ready.drain(..) {
            if writable {
                self.write(index);
            }
            if readable {
                while self.read_once(index) {}
                // A long list of ready subscribers must not delay the next message.
                if self.load.as_ref().is_some_and(|load| load.is_due(self.read_at, &self.ledger)) {
                    self.publish_due(self.read_at);
                }
            }
        }
        self.ready = ready;
    }

    fn publish_due(&mut self, now: u64) {
        let Some(mut load) = self.load.take() else { return };
        load.publish_due(now, &mut self.ledger, &mut self.sessions);
        for publisher in load.touched.drain(..) {
            let session = &mut self.sessions[publisher];
            if let Some(batch) = &mut session.http_batch {
                publish::push_batch(session.connection.outgoing(), batch, self.targets[0].token.as_deref());
            }
            self.flush(publisher);
        }
        self.load = Some(load);
    }

    /// Reads once. Returns whether more bytes may be buffered, which the poll would not report.
    fn read_once(&mut self, index: usize) -> bool {
        let session = &mut self.sessions[index];
        let Some(transport) = session.connection.transport() else { return false };
        let buffers_reads = transport.buffers_reads();
        match transport.read(&mut self.buffer) {
            Ok(0) => self.end_session(index, Phase::Closed),
            Ok(length) => {
                self.read_at = self.clock.now();
                let was_pending = session.connection.is_pending();
                let ended = receive::receive(session, &mut self.ledger, &self.buffer[..length], self.read_at);
                self.pending -= usize::from(was_pending && !session.connection.is_pending());
                if ended {
                    self.end_session(index, Phase::Closed);
                } else if !session.connection.outgoing().is_empty() {
                    self.flush(index);
                }
                return buffers_reads;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                // The upgrade waits for the TLS handshake, which the read may have completed.
                if buffers_reads && !session.connection.outgoing().is_empty() {
                    self.flush(index);
                }
            }
            Err(error) => self.connection_failed(index, &error),
        }
        false
    }

    /// The socket is writable, or TCP has connected.
    fn write(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        if session.connection.phase() == Phase::Connecting {
            let refused = session.connection.transport().and_then(|transport| transport.tcp().take_error().ok().flatten());
            if let Some(error) = refused {
                self.ledger.counts.findings.count_refusal(format!("connecting failed: {error}"));
                return self.end_session(index, Phase::Closed);
            }
            if session.http_batch.is_some() {
                self.ledger.subscribed(session, &[]);
                self.pending -= 1;
                return self.flush(index);
            }
            session.connection.reach(Phase::Upgrading);
            let (subscriptions, all) = (&session.subscriptions, &self.ledger.topics);
            let (topics, since) = (all.names(subscriptions.topics()), subscriptions.resume_positions(all));
            let target = &self.targets[session.failover.gateway()];
            *session.connection.outgoing() = target.open_request(session.dialect, &topics, &since);
        }
        self.flush(index);
    }

    pub(super) fn flush(&mut self, index: usize) {
        if let Err(error) = self.sessions[index].connection.flush(&self.poll, index) {
            self.connection_failed(index, &error);
        }
    }

    /// Handles a broken connection. A reset, or TLS that ends without its alert, counts as a close without a code.
    /// Everything else is a fault.
    fn connection_failed(&mut self, index: usize, error: &std::io::Error) {
        let reset = matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof);
        if !reset || self.sessions[index].connection.phase() != Phase::Open {
            self.ledger.counts.findings.count_fault(error);
        }
        self.end_session(index, Phase::Closed);
    }

    /// Ends the session. Closing the socket removes it from the poll.
    pub(super) fn end_session(&mut self, index: usize, phase: Phase) {
        let session = &mut self.sessions[index];
        self.pending -= usize::from(session.connection.is_pending());
        self.ledger.session_ended(session, phase == Phase::Closed);
        session.end(phase);
        if session.failover.is_enabled() && phase == Phase::Closed {
            session.failover.next_gateway(self.targets.len());
            self.reconnects.push_back((self.clock.now() + RECONNECT_DELAY, index));
        }
    }
}
