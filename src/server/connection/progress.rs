//! The phase of a connection, and the deadline of each phase.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::framing::Framing;
use crate::server::limits::HttpPlace;

/// The phase of a connection. Its deadline is for reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the end of the first request's head.
    FirstHead {
        /// The deadline of the first head.
        until: Instant,
    },
    /// A request is being answered. Its body has a deadline of its own.
    Serving,
    /// The answer is being written. Slow readers have no deadline in this phase.
    Writing {
        /// The time for the next request, from the end of the write.
        keep_alive: Duration,
    },
    /// The connection becomes a session, which writes the answer together with its first events. hyper's answer is not
    /// sent.
    Switching,
    /// The answer is written, and the connection waits for the next request.
    Idle {
        /// The deadline of the next request's head.
        until: Instant,
    },
}

/// The deadline that ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The head was not complete in time.
    Late,
    /// The socket accepted no byte of the answer for `write_timeout`.
    Stuck,
}

impl Phase {
    fn until(self) -> Option<Instant> {
        match self {
            Self::FirstHead { until } | Self::Idle { until } => Some(until),
            Self::Serving | Self::Writing { .. } | Self::Switching => None,
        }
    }
}

/// The phase, shared by the socket and the service above it. Both run in one task, so the lock is never contended.
pub struct Progress(Mutex<State>);

struct State {
    phase: Phase,
    bytes_received: bool,
    ended: Option<Ended>,
    framing: Framing,
    /// The reader's waker, while a request is answered. hyper does not read again when the answer is written; without
    /// the waker the deadline of the next request would never be set.
    reader: Option<Waker>,
    /// The place among pending connections, held until the first head is whole.
    pending: Option<Box<dyn Send>>,
    /// Its place in `limits.http_connections`, from the first plain request on.
    place: Option<HttpPlace>,
}

impl Progress {
    /// A connection whose first head is due `until` then. `pending` is dropped once the head is whole.
    pub fn new(until: Instant, pending: Box<dyn Send>) -> Arc<Self> {
        let phase = Phase::FirstHead { until };
        let state = State {
            phase,
            bytes_received: false,
            ended: None,
            framing: Framing::default(),
            reader: None,
            pending: Some(pending),
            place: None,
        };
        Arc::new(Self(Mutex::new(state)))
    }

    /// Notes that a whole head was read.
    pub fn head_received(&self) {
        let mut state = self.0.lock();
        state.phase = Phase::Serving;
        state.pending = None;
        state.place.iter().for_each(HttpPlace::busy);
    }

    /// Notes that the request was answered. Once the answer is written, the next request is due within `keep_alive`.
    pub fn answered(&self, keep_alive: Duration) {
        let mut state = self.0.lock();
        state.phase = Phase::Writing { keep_alive };
        state.bytes_received = false;
        state.framing.next();
    }

    /// Whether the connection has a place in `limits.http_connections`.
    pub fn has_place(&self) -> bool {
        self.0.lock().place.is_some()
    }

    /// Holds `place` until the connection ends or becomes a session.
    pub fn hold(&self, place: HttpPlace) {
        self.0.lock().place = Some(place);
    }

    /// Notes that all of hyper's bytes are written, the answer included.
    pub(super) fn written(&self) {
        let mut state = self.0.lock();
        let Phase::Writing { keep_alive } = state.phase else { return };
        state.phase = Phase::Idle { until: Instant::now() + keep_alive };
        state.place.iter().for_each(HttpPlace::idle);
        state.reader.take().into_iter().for_each(Waker::wake);
    }

    /// Whether the connection must give its place to another. Otherwise `reader` is woken when it must.
    pub(super) fn must_give_way(&self, reader: &Waker) -> bool {
        self.0.lock().place.as_ref().is_some_and(|place| place.eviction().is_due(reader))
    }

    /// Notes that the connection becomes a session.
    pub fn switched(&self) {
        self.0.lock().phase = Phase::Switching;
    }

    /// The current deadline, if the phase has one. Otherwise `reader` is woken when the request is answered.
    pub(super) fn until(&self, reader: &Waker) -> Option<Instant> {
        let mut state = self.0.lock();
        let until = state.phase.until();
        state.reader = until.is_none().then(|| reader.clone());
        until
    }

    /// Whether the end of the current request is ambiguous. `has_coding`: it has a `Transfer-Encoding`.
    pub fn is_ambiguous(&self, has_coding: bool) -> bool {
        self.0.lock().framing.is_ambiguous(has_coding)
    }

    /// Whether a request without a body is being answered, so that no read is needed before the answer.
    pub(super) fn awaits_answer_alone(&self) -> bool {
        let state = self.0.lock();
        state.phase == Phase::Serving && state.framing.is_head_alone()
    }

    pub fn phase(&self) -> Phase {
        self.0.lock().phase
    }

    /// The deadline that ended the connection, if one did.
    pub fn ended(&self) -> Option<Ended> {
        self.0.lock().ended
    }

    /// Notes bytes that were received.
    pub(super) fn bytes_received(&self, bytes: &[u8]) {
        let mut state = self.0.lock();
        state.bytes_received = true;
        state.framing.receive(bytes);
    }

    /// Ends the connection as late. Returns whether a head had begun.
    pub(super) fn end_late(&self) -> bool {
        let mut state = self.0.lock();
        state.ended = Some(Ended::Late);
        state.bytes_received
    }

    /// Ends the connection: the socket accepted no byte for `write_timeout`.
    pub(super) fn end_stuck(&self) {
        self.0.lock().ended = Some(Ended::Stuck);
    }
}
