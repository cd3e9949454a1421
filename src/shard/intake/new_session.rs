//! A connection as it arrives at a shard, and a session as `/v1/sessions` lists it.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::dialect::Encoding;
use crate::session_id::SessionId;
use crate::shard::reader::Reader;
use crate::shard::slot::Stream;
use crate::topic_name::TopicName;

/// A connection whose handshake is pending. It has sent nothing yet.
pub struct PendingConnection {
    /// The TCP socket, registered with no runtime.
    pub stream: TcpStream,
    /// The time after which the connection is handed on if it has sent nothing.
    pub timeout: Duration,
    /// Decides what becomes of the connection.
    pub handler: Box<dyn HandshakeHandler>,
}

/// Decides on the first bytes of one pending connection. It is called on the shard's thread and must not block.
pub trait HandshakeHandler: Send {
    /// The session that `first_bytes` request completely, if the request is granted. `None`: the connection is to be
    /// forwarded.
    fn admit(&mut self, first_bytes: &[u8]) -> Option<Admitted>;

    /// Forwards the connection to the HTTP front, with its `first_bytes`. These are empty if the time-out has passed or
    /// the connection has ended.
    fn forward(self: Box<Self>, stream: TcpStream, first_bytes: &[u8]);
}

/// A pending connection that becomes a session.
pub struct Admitted {
    /// The session.
    pub session: NewSession,
    /// The head of the answer: a 101, or the 200 of a stream.
    pub head: Vec<u8>,
    /// The number of first bytes that belong to the request.
    pub used: usize,
}

/// A connection whose request for a session was granted.
pub struct NewSession {
    /// The session's id.
    pub id: SessionId,
    /// The client's address, as limits count it.
    pub address: SocketAddr,
    /// The encoding of the frames that the session receives.
    pub encoding: Encoding,
    /// The session's reader.
    pub reader: Box<dyn Reader>,
    /// The session's place in the totals. Dropped when the session has ended.
    pub permit: Box<dyn Send>,
    /// Whether the session subscribes as it opens. Such a session is registered in its shard before the 101, so that it
    /// misses no message, except of topics that a long subscribe reaches in a later turn. Other sessions are registered
    /// together with their socket, which saves the shard a tick for each.
    pub subscribes_at_once: bool,
}

/// The socket of a new session whose answer is due.
pub struct Arrived {
    /// The socket, plain or with TLS, registered with no runtime.
    pub stream: Stream,
    /// The head of the answer: a 101, or the 200 of a stream. It goes out first, in one write with the session's first
    /// frames.
    pub head: Vec<u8>,
    /// The bytes that the client sent behind the head of its request.
    pub already_read: Bytes,
}

/// A session as `/v1/sessions` shows it.
#[derive(Debug, Clone)]
pub struct SessionView {
    /// The session's id.
    pub id: SessionId,
    /// The session's user.
    pub user: Option<Arc<str>>,
    /// The client's address.
    pub address: SocketAddr,
    /// The name of the session's dialect.
    pub dialect: &'static str,
    /// The bytes that wait for the session.
    pub outbox_bytes: usize,
    /// The topic and the age of the oldest message that waits.
    pub oldest: Option<(TopicName, Duration)>,
}
