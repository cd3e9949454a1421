//! Where a connection is in its life, and the deadline that holds there.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::framing::Framing;
use crate::server::limits::HttpPlace;

/// Where a connection is in its life; a deadline holds for reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the end of the first request's head.
    FirstHead {
        /// Until when it has to be there.
        until: Instant,
    },
    /// A request is being answered; its body has a deadline of its own.
    Serving,
    /// The answer is there and not written whole. A peer that takes it slowly is still served.
    Writing {
        /// How long the next request may take once the answer is written.
        keep_alive: Duration,
    },
    /// It becomes a session, whose answer leaves together with its first words; hyper's own is not sent.
    Switching,
    /// Answered, and kept alive for the next request.
    Idle {
        /// Until when its head has to be there.
        until: Instant,
    },
}

/// The deadline that ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nothing, or not enough, came in time.
    Late,
    /// The peer took nothing of its answer for `write_timeout`.
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

/// The phase, shared by the socket and the service above it. Both run in one task, so the lock is never waited for.
#[derive(Debug)]
pub struct Progress(Mutex<State>);

struct State {
    phase: Phase,
    bytes_came: bool,
    ended: Option<Ended>,
    framing: Framing,
    /// The reader's waker, while a request is answered. hyper doesn't read again by itself when the answer is written, so the
    /// deadline of the next request would never be set.
    reader: Option<Waker>,
    /// Held until the first head is whole.
    pending: Option<Box<dyn Send>>,
    /// Its place among the HTTP connections, from its first plain request on.
    place: Option<HttpPlace>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("phase", &self.phase).field("bytes_came", &self.bytes_came).finish_non_exhaustive()
    }
}

impl Progress {
    /// A connection whose first head has to be there `until` then; `pending` is dropped when it is.
    pub fn new(until: Instant, pending: Box<dyn Send>) -> Arc<Self> {
        let phase = Phase::FirstHead { until };
        let state =
            State { phase, bytes_came: false, ended: None, framing: Framing::default(), reader: None, pending: Some(pending), place: None };
        Arc::new(Self(Mutex::new(state)))
    }

    /// A head came whole.
    pub fn head_came(&self) {
        let mut state = self.0.lock();
        state.phase = Phase::Serving;
        state.pending = None;
        state.place.iter().for_each(HttpPlace::busy);
    }

    /// The request was answered; the next may take `keep_alive` to come, once the answer is written.
    pub fn answered(&self, keep_alive: Duration) {
        let mut state = self.0.lock();
        state.phase = Phase::Writing { keep_alive };
        state.bytes_came = false;
        state.framing.next();
    }

    /// Whether the connection has a place among those that speak HTTP.
    pub fn has_place(&self) -> bool {
        self.0.lock().place.is_some()
    }

    /// The connection has `place`, until it ends or becomes a session.
    pub fn hold(&self, place: HttpPlace) {
        self.0.lock().place = Some(place);
    }

    /// All that hyper has handed over is written; with it the answer, if there is one.
    pub(super) fn written(&self) {
        let mut state = self.0.lock();
        let Phase::Writing { keep_alive } = state.phase else { return };
        state.phase = Phase::Idle { until: Instant::now() + keep_alive };
        state.place.iter().for_each(HttpPlace::idle);
        state.reader.take().into_iter().for_each(Waker::wake);
    }

    /// Whether the connection has to give way to another; else `reader` is woken when it has to.
    pub(super) fn must_give_way(&self, reader: &Waker) -> bool {
        self.0.lock().place.as_ref().is_some_and(|place| place.eviction().is_due(reader))
    }

    /// The request becomes a session.
    pub fn switched(&self) {
        self.0.lock().phase = Phase::Switching;
    }

    /// The deadline that holds now, if one does; else `reader` is woken when the request is answered.
    pub(super) fn until(&self, reader: &Waker) -> Option<Instant> {
        let mut state = self.0.lock();
        let until = state.phase.until();
        state.reader = until.is_none().then(|| reader.clone());
        until
    }

    /// Whether the end of the request that came can be read in two ways; `has_coding`: it has a `Transfer-Encoding`.
    pub fn is_ambiguous(&self, has_coding: bool) -> bool {
        self.0.lock().framing.is_ambiguous(has_coding)
    }

    /// Whether a request is being answered that came whole with its head, so that nothing more need come before its answer.
    pub(super) fn awaits_answer_alone(&self) -> bool {
        let state = self.0.lock();
        state.phase == Phase::Serving && state.framing.is_head_alone()
    }

    /// Where the connection is.
    pub fn phase(&self) -> Phase {
        self.0.lock().phase
    }

    /// Which deadline ended it, if one did.
    pub fn ended(&self) -> Option<Ended> {
        self.0.lock().ended
    }

    /// These bytes came.
    pub(super) fn bytes_came(&self, bytes: &[u8]) {
        let mut state = self.0.lock();
        state.bytes_came = true;
        state.framing.came(bytes);
    }

    /// Ends it; says whether a head had begun.
    pub(super) fn end_late(&self) -> bool {
        let mut state = self.0.lock();
        state.ended = Some(Ended::Late);
        state.bytes_came
    }

    /// The peer took nothing for `write_timeout`.
    pub(super) fn end_stuck(&self) {
        self.0.lock().ended = Some(Ended::Stuck);
    }
}
