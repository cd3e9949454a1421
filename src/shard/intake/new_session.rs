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

/// A connection whose handshake is pending: it has not said anything yet.
pub struct PendingConnection {
    /// TCP alone, in no runtime.
    pub stream: TcpStream,
    /// It is handed on if it has not said anything for so long.
    pub timeout: Duration,
    /// Looks at what it says.
    pub handler: Box<dyn HandshakeHandler>,
}

/// Looks at the first bytes of one pending connection, on the shard's thread, and never waits.
pub trait HandshakeHandler: Send {
    /// The session that `first_bytes` ask for in full and may have; `None`: the connection is to be handed on.
    fn admit(&mut self, first_bytes: &[u8]) -> Option<Admitted>;

    /// Hands the connection on to where HTTP is spoken, with its `first_bytes`: none, if its time is over or it has gone.
    fn hand_on(self: Box<Self>, stream: TcpStream, first_bytes: &[u8]);
}

/// A pending connection that becomes a session.
pub struct Admitted {
    /// The session.
    pub session: NewSession,
    /// The head of the answer: a 101, or a stream's 200.
    pub head: Vec<u8>,
    /// How many of the first bytes were its request.
    pub used: usize,
}

/// A connection whose request for a session was granted.
pub struct NewSession {
    /// Its name.
    pub id: SessionId,
    /// Who is at the other end, as limits count it.
    pub address: SocketAddr,
    /// Which frames it takes.
    pub variant: Encoding,
    /// What reads and decides for it.
    pub reader: Box<dyn Reader>,
    /// Given back when the session has ended: its place in the totals.
    pub permit: Box<dyn Send>,
    /// It subscribes as it opens. Such a session is registered in its shard before the 101, so that no message is missed; others
    /// are registered with their socket, which spares the shard a tick for each.
    pub subscribes_at_once: bool,
}

/// The socket of a new session whose answer is due.
pub struct Arrived {
    /// Plain or under TLS, in no runtime.
    pub stream: Stream,
    /// The answer's head, a 101 or a stream's 200, which goes out before all else: with the session's first words it takes one write.
    pub head: Vec<u8>,
    /// What the client sent behind its request's head.
    pub already_read: Bytes,
}

/// A session as `/v1/sessions` shows it.
#[derive(Debug, Clone)]
pub struct SessionView {
    /// Its name.
    pub id: SessionId,
    /// Its user.
    pub user: Option<Arc<str>>,
    /// Its address.
    pub address: SocketAddr,
    /// The name of its dialect.
    pub dialect: &'static str,
    /// What waits for it.
    pub outbox_bytes: usize,
    /// The oldest message that waits: its topic and age.
    pub oldest: Option<(TopicName, Duration)>,
}
