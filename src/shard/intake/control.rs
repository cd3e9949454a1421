//! Control items: requests of the gateway to a shard.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::new_session::{Arrived, NewSession, SessionView};
use crate::codes::CloseCode;
use crate::session_id::{Forwarded, SessionId, SessionSecret};
use crate::shard::admin_command::{AdminCommand, UserSessions};
use crate::topic_name::TopicName;

/// A request to one shard.
pub enum Control {
    /// Registers a session whose socket follows.
    Expect {
        /// The session.
        session: Box<NewSession>,
        /// Answered once it is registered.
        answer: oneshot::Sender<()>,
    },
    /// Begins a session whose socket has arrived.
    Begin {
        /// The session.
        session: Box<NewSession>,
        /// The socket.
        arrived: Box<Arrived>,
    },
    /// Attaches the socket of an expected session.
    Arrive {
        /// The expected session.
        id: SessionId,
        /// The socket.
        arrived: Box<Arrived>,
    },
    /// Ends an expected session whose client has gone before the socket arrived.
    CancelExpected {
        /// The expected session.
        id: SessionId,
    },
    /// Hands a session a frame that came in an HTTP request.
    ForwardFrame {
        /// The session's secret.
        secret: SessionSecret,
        /// The frame that the request carries.
        frame: Bytes,
        /// Receives whether the session accepted the frame.
        answer: oneshot::Sender<Forwarded>,
    },
    /// Lists the sessions with the fullest outboxes, fullest first.
    Slowest {
        /// The most sessions to list.
        limit: usize,
        /// Receives the list.
        answer: oneshot::Sender<Vec<SessionView>>,
    },
    /// Counts the subscriptions by patterns.
    CountByPattern {
        /// The topics that the patterns match.
        topics: Arc<[TopicName]>,
        /// Receives the count of each topic.
        answer: oneshot::Sender<Vec<usize>>,
    },
    /// Closes a session, if it is in this shard.
    Close {
        /// The session.
        id: SessionId,
        /// The close code.
        code: CloseCode,
        /// The reason in the Close.
        reason: &'static str,
        /// Receives whether the session was in this shard.
        answer: oneshot::Sender<bool>,
    },
    /// Closes the sessions of a user in this shard, on an operator's request.
    CloseUser {
        /// The sessions.
        sessions: Arc<UserSessions>,
        /// Receives the number of closed sessions.
        answer: oneshot::Sender<usize>,
    },
    /// Executes a command in the sessions of a user in this shard.
    Execute {
        /// The sessions and the command.
        command: Arc<(UserSessions, AdminCommand)>,
        /// Receives the number of sessions on which the command had an effect.
        answer: oneshot::Sender<usize>,
    },
    /// Tells every session that the gateway drains, and closes each at a random moment within `over`, counted from the
    /// first such request.
    Drain {
        /// The duration of the drain.
        over: Duration,
        /// Answered when no session is left.
        answer: oneshot::Sender<()>,
    },
    /// Stops the shard's thread, even while sessions are left.
    Stop,
}
