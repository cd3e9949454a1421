//! One session's connection: its socket, its waker, its stage, its signs of life.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::liveness::{Finding, Liveness};
use super::ready::SlotWaker;
use super::socket::Socket;
use crate::clock::Moment;
use crate::dialect::Heartbeat;
use crate::session_id::SessionId;

/// How long a session's connection outlives its Close, at most.
pub const LINGER: Duration = Duration::from_secs(2);

/// One session's connection.
pub struct Connection {
    id: SessionId,
    address: SocketAddr,
    socket: Socket,
    /// Lists its slot as ready.
    waker: Arc<SlotWaker>,
    stage: Stage,
    input: InputWait,
    liveness: Liveness,
    /// Its place in the totals, given back when the connection is dropped.
    _permit: Box<dyn Send>,
}

/// Whether what was read of a session, or a command of it, waits for its reader; and what ends that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum InputWait {
    /// Nothing waits.
    #[default]
    Nothing,
    /// Its waker: whatever the command waits for wakes that, or has the session looked at.
    Waker,
    /// The outbox: the reader goes on once all is written.
    Outbox,
}

impl InputWait {
    /// The same where bytes were read beside it that the reader has not used.
    pub fn with_unread(self, unread: &[u8]) -> Self {
        if self == Self::Nothing && !unread.is_empty() { Self::Outbox } else { self }
    }
}

/// A session's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It reads and writes.
    Open,
    /// A Close is queued; what comes is read and discarded until then.
    Closing {
        /// When the connection is dropped.
        until: Moment,
        /// All is written and the writing side ended.
        ended: bool,
        /// It takes nothing but its Close any more.
        cut_off: bool,
    },
}

impl Connection {
    /// An open session whose socket is on its way.
    pub fn new(id: SessionId, address: SocketAddr, permit: Box<dyn Send>, waker: Arc<SlotWaker>, now: Moment) -> Self {
        Self {
            id,
            address,
            socket: Socket::Expected,
            waker,
            stage: Stage::Open,
            input: InputWait::Nothing,
            liveness: Liveness::new(now),
            _permit: permit,
        }
    }

    /// The session's name.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Who is at the other end.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its socket is here.
    pub fn attach(&mut self, socket: Socket) {
        self.socket = socket;
    }

    /// Its signs of life.
    pub fn liveness(&mut self) -> &mut Liveness {
        &mut self.liveness
    }

    /// The waker for its socket: it lists the session's slot as ready.
    pub fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.waker))
    }

    /// Reads what the socket has; 0 bytes: the peer has ended its side.
    pub fn poll_read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let waker = self.waker();
        self.socket.poll_read(&mut Context::from_waker(&waker), buffer)
    }

    /// Writes what the socket takes of `parts`, in order.
    pub fn poll_write(&mut self, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let waker = self.waker();
        self.socket.poll_write(&mut Context::from_waker(&waker), parts)
    }

    /// Writes what TLS still holds.
    pub fn poll_flush(&mut self) -> Poll<io::Result<()>> {
        let waker = self.waker();
        self.socket.poll_flush(&mut Context::from_waker(&waker))
    }

    /// Whether it takes messages.
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Whether nothing was written to its socket yet, which would take it at once.
    pub fn is_fresh(&self) -> bool {
        matches!(self.socket, Socket::Fresh(_))
    }

    /// Whether it is open and TCP holds nothing back, nor its reader.
    pub fn is_at_rest(&self) -> bool {
        !self.input_waits() && self.is_open() && matches!(self.socket, Socket::Plain(_))
    }

    /// Whether its reader goes on with its input once all is written.
    pub fn reads_on_when_written(&self) -> bool {
        self.input == InputWait::Outbox
    }

    /// Says what its input waits for. Until that is nothing, its socket is not read: the peer can't be heard, and its time to answer
    /// begins anew.
    pub fn set_input_wait(&mut self, wait: InputWait, now: Moment) {
        if self.input_waits() && wait == InputWait::Nothing {
            self.liveness.heard(now);
        }
        self.input = wait;
    }

    fn input_waits(&self) -> bool {
        self.input != InputWait::Nothing
    }

    /// The session ends but for its Close, and the connection at `until`. Its place in the totals is taken until then.
    pub fn begin_to_close(&mut self, until: Moment) {
        self.stage = Stage::Closing { until, ended: false, cut_off: false };
        self.input = InputWait::Nothing;
        self.liveness.set_deadline(None);
    }

    /// A closing session takes nothing but its Close any more.
    pub fn cut_off(&mut self) {
        if let Stage::Closing { cut_off, .. } = &mut self.stage {
            *cut_off = true;
        }
    }

    /// Whether it was cut off.
    pub fn is_cut_off(&self) -> bool {
        matches!(self.stage, Stage::Closing { cut_off: true, .. })
    }

    /// All is written: a closing session ends its writing side, once. `true`: it did so now.
    pub fn end_writing(&mut self) -> bool {
        let Stage::Closing { ended, .. } = &mut self.stage else { return false };
        if std::mem::replace(ended, true) {
            return false;
        }
        let waker = Waker::from(Arc::clone(&self.waker));
        self.socket.end_writing(&mut Context::from_waker(&waker));
        true
    }

    /// What is due at `now`; `stuck_for` is how long its outbox has not moved.
    pub fn finding(&self, heartbeat: Heartbeat, write_timeout: Duration, now: Moment, stuck_for: Option<Duration>) -> Option<Finding> {
        match self.stage {
            Stage::Closing { until, .. } => (now >= until).then_some(Finding::Over),
            Stage::Open => {
                let found = self.liveness.finding(heartbeat, write_timeout, now, stuck_for);
                found.filter(|found| *found != Finding::Silent || !self.input_waits())
            }
        }
    }

    /// Whether the runtime knows its socket.
    #[cfg(test)]
    pub fn is_registered(&self) -> bool {
        matches!(self.socket, Socket::Plain(_) | Socket::Tls(_))
    }
}
