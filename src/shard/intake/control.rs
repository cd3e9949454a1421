//! What the gateway asks of a shard, beside messages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::new_session::{Arrived, NewSession, SessionView};
use crate::codes::CloseCode;
use crate::session_id::{SessionId, SessionSecret};
use crate::shard::order::{Addressee, Order};
use crate::shard::reader::Heard;

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
        /// The expected session.
        id: SessionId,
        /// The socket.
        arrived: Box<Arrived>,
    },
    /// An expected session's client has gone before its socket came.
    Forsake {
        /// The expected session.
        id: SessionId,
    },
    /// A request speaks for a session.
    Hear {
        /// The session's secret.
        secret: SessionSecret,
        /// The frame that the request carries.
        frame: Bytes,
        /// What became of that.
        answer: oneshot::Sender<Heard>,
    },
    /// The sessions with the fullest outboxes, fullest first.
    Slowest {
        /// The most sessions that are listed.
        limit: usize,
        /// Where the answer goes.
        answer: oneshot::Sender<Vec<SessionView>>,
    },
    /// A session is to be closed, if it is here.
    Close {
        /// The session.
        id: SessionId,
        /// The close code.
        code: CloseCode,
        /// The reason in the Close.
        reason: &'static str,
        /// Whether it was here.
        answer: oneshot::Sender<bool>,
    },
    /// The sessions of a user are to be closed by an operator, those that are here.
    CloseUser {
        /// The user.
        user: Arc<str>,
        /// This one alone, if it is one of them.
        only: Option<SessionId>,
        /// Sessions that stay open.
        spared: Arc<[SessionId]>,
        /// How many were here.
        answer: oneshot::Sender<usize>,
    },
    /// The sessions of a user are to do something, those that are here.
    Order {
        /// Which of them, and what.
        what: Arc<(Addressee, Order)>,
        /// How many did something.
        answer: oneshot::Sender<usize>,
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
