//! What the gateway asks of a shard, beside messages.

use std::time::Duration;

use tokio::sync::oneshot;

use super::new_session::{Arrived, NewSession, SessionView};
use crate::codes::CloseCode;
use crate::session_id::SessionId;

/// A request to one shard.
pub enum Control {
    /// A connection becomes a session of the shard; its socket follows.
    Expect {
        /// The session.
        session: Box<NewSession>,
        /// Answered once it is registered.
        answer: oneshot::Sender<()>,
    },
    /// A connection becomes a session of the shard, and its socket is here.
    Begin {
        /// The session.
        session: Box<NewSession>,
        /// The socket.
        arrived: Box<Arrived>,
    },
    /// An expected session's socket is here.
    Arrive {
        /// Whose.
        id: SessionId,
        /// The socket.
        arrived: Box<Arrived>,
    },
    /// An expected session's client has gone before its socket came.
    Forsake {
        /// Whose.
        id: SessionId,
    },
    /// The sessions with the fullest outboxes, fullest first.
    Slowest {
        /// At most so many.
        limit: usize,
        /// Where the answer goes.
        answer: oneshot::Sender<Vec<SessionView>>,
    },
    /// A session is to be closed, if it is here.
    Close {
        /// Which.
        id: SessionId,
        /// With what.
        code: CloseCode,
        /// And why.
        reason: &'static str,
        /// Whether it was here.
        answer: oneshot::Sender<bool>,
    },
    /// Every session is told that the gateway drains, and closed at its own moment within `over`, which began when this was first said.
    Drain {
        /// How long that takes.
        over: Duration,
        /// Answered when no session is left.
        answer: oneshot::Sender<()>,
    },
    /// The thread ends, whatever is left.
    Stop,
}
