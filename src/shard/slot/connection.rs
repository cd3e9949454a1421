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

/// The longest time for which a session's connection outlives its Close.
pub const LINGER: Duration = Duration::from_secs(2);

/// One session's connection.
pub struct Connection {
    id: SessionId,
    address: SocketAddr,
    socket: Socket,
    /// Lists the session's slot as ready.
    waker: Arc<SlotWaker>,
    stage: Stage,
    input: InputWait,
    /// Whether the last turn ended before all that the client had sent was used.
    is_bulk: bool,
    liveness: Liveness,
    /// The session's place in the totals, given back when the connection is dropped.
    _permit: Box<dyn Send>,
}

/// What has to happen before a session's reader is called again with unused bytes or a pending command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum InputWait {
    /// Nothing: no bytes are unused and no command is pending.
    #[default]
    Nothing,
    /// The session's waker, or a schedule of its slot. Whatever the command waits for causes one of the two.
    Waker,
    /// The session's next turn, in which a long command continues. The slot is scheduled.
    Turn,
    /// The outbox: the reader is called again once all is written.
    Outbox,
}

impl InputWait {
    /// What the input waits for if a command waits for `self`, and `has_unused` tells whether bytes are unused.
    pub fn with_unused(self, has_unused: bool) -> Self {
        if self == Self::Nothing && has_unused { Self::Outbox } else { self }
    }
}

/// The stage of a session's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The session reads and writes.
    Open,
    /// A Close is queued. Input is read and discarded until the connection is dropped.
    Closing {
        /// The moment at which the connection is dropped.
        until: Moment,
        /// Whether all is written and the writing side has ended.
        ended: bool,
        /// Whether no frame but the Close is queued for it any more.
        cut_off: bool,
    },
}

impl Connection {
    /// The connection of an open session whose socket is on its way.
    pub fn new(id: SessionId, address: SocketAddr, permit: Box<dyn Send>, waker: Arc<SlotWaker>, now: Moment) -> Self {
        Self {
            id,
            address,
            socket: Socket::Expected,
            waker,
            stage: Stage::Open,
            input: InputWait::Nothing,
            is_bulk: false,
            liveness: Liveness::new(now),
            _permit: permit,
        }
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The client's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Attaches the socket, which has arrived.
    pub fn attach(&mut self, socket: Socket) {
        self.socket = socket;
    }

    /// The session's signs of life.
    pub fn liveness(&mut self) -> &mut Liveness {
        &mut self.liveness
    }

    /// The waker for the socket. It lists the session's slot as ready.
    pub fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.waker))
    }

    /// Reads from the socket. Returns the number of bytes read; 0 means that the peer has ended its side.
    pub fn poll_read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let waker = self.waker();
        self.socket.poll_read(&mut Context::from_waker(&waker), buffer)
    }

    /// Writes as much of `parts`, in order, as the socket accepts. Returns the number of bytes written.
    pub fn poll_write(&mut self, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let waker = self.waker();
        self.socket.poll_write(&mut Context::from_waker(&waker), parts)
    }

    /// Writes the bytes that TLS has buffered.
    pub fn poll_flush(&mut self) -> Poll<io::Result<()>> {
        let waker = self.waker();
        self.socket.poll_flush(&mut Context::from_waker(&waker))
    }

    /// Whether the session is open, so that it receives messages.
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Whether nothing was written to the socket yet. A write would succeed at once.
    pub fn is_fresh(&self) -> bool {
        matches!(self.socket, Socket::Fresh(_))
    }

    /// Whether the session is open, its socket is plain TCP, and no input waits.
    pub fn is_idle(&self) -> bool {
        !self.input_waits() && self.is_open() && matches!(self.socket, Socket::Plain(_))
    }

    /// Whether the reader is to be called again once all is written.
    pub fn waits_for_outbox(&self) -> bool {
        self.input == InputWait::Outbox
    }

    /// Sets what the input waits for. While it waits, the socket is not read, so the peer can't be heard. When the wait
    /// ends, the peer's time to answer begins anew.
    pub fn set_input_wait(&mut self, wait: InputWait, now: Moment) {
        if self.input_waits() && wait == InputWait::Nothing {
            self.liveness.note_activity(now);
        }
        self.input = wait;
    }

    /// Whether the session's last turn ended before all that the client had sent was used.
    pub fn is_bulk(&self) -> bool {
        self.is_bulk
    }

    /// Notes how the session's turn ended, for [`Connection::is_bulk`].
    pub fn end_turn(&mut self, is_bulk: bool) {
        self.is_bulk = is_bulk;
    }

    fn input_waits(&self) -> bool {
        self.input != InputWait::Nothing
    }

    /// Begins to close: the session is left with its Close, and the connection ends at `until`. Its place in the totals
    /// is taken until then.
    pub fn begin_to_close(&mut self, until: Moment) {
        self.stage = Stage::Closing { until, ended: false, cut_off: false };
        self.input = InputWait::Nothing;
        self.liveness.set_deadline(None);
    }

    /// Notes that no frame but the Close is queued for a closing session any more.
    pub fn cut_off(&mut self) {
        if let Stage::Closing { cut_off, .. } = &mut self.stage {
            *cut_off = true;
        }
    }

    /// Whether the session was cut off.
    pub fn is_cut_off(&self) -> bool {
        matches!(self.stage, Stage::Closing { cut_off: true, .. })
    }

    /// Ends the writing side of a closing session whose bytes are all written. Returns `true` the first time.
    pub fn end_writing(&mut self) -> bool {
        let Stage::Closing { ended, .. } = &mut self.stage else { return false };
        if std::mem::replace(ended, true) {
            return false;
        }
        let waker = Waker::from(Arc::clone(&self.waker));
        self.socket.end_writing(&mut Context::from_waker(&waker));
        true
    }

    /// What is due at `now`. `stuck_for` is how long the session's outbox has not moved.
    pub fn finding(&self, heartbeat: Heartbeat, write_timeout: Duration, now: Moment, stuck_for: Option<Duration>) -> Option<Finding> {
        match self.stage {
            Stage::Closing { until, .. } => (now >= until).then_some(Finding::LingerOver),
            Stage::Open => {
                let found = self.liveness.finding(heartbeat, write_timeout, now, stuck_for);
                found.filter(|found| *found != Finding::Silent || !self.input_waits())
            }
        }
    }

    /// Whether the socket is registered with the runtime.
    #[cfg(test)]
    pub fn is_registered(&self) -> bool {
        matches!(self.socket, Socket::Plain(_) | Socket::Tls(_))
    }
}
