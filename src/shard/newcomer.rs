//! What comes into a shard, and what it shows of it: a connection as it arrives, a session as `/v1/sessions` lists it.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::reader::Reader;
use crate::dialect::{Dialect, Encoding};
use crate::session_id::SessionId;
use crate::topic_name::TopicName;

/// A connection that has not said anything yet.
pub struct Visitor {
    /// TCP alone, in no runtime.
    pub stream: TcpStream,
    /// When it is handed on if it has not said anything by then.
    pub until: Instant,
    /// Who looks at what it says.
    pub porter: Box<dyn Porter>,
}

/// Looks at what one visitor says first, on the shard's thread, and never waits.
pub trait Porter: Send {
    /// The session that `said`, the visitor's first bytes, asks for in full and may have; `None`: the visitor is to be handed on.
    fn admit(&mut self, said: &[u8]) -> Option<Admitted>;

    /// Hands the visitor on to where HTTP is spoken, with what it `said`: nothing, if its time is over or it has gone.
    fn hand_on(self: Box<Self>, stream: TcpStream, said: &[u8]);
}

/// A visitor that becomes a session.
pub struct Admitted {
    /// The session.
    pub newcomer: Newcomer,
    /// The 101.
    pub head: Vec<u8>,
    /// How many of the first bytes were its request.
    pub used: usize,
}

/// A connection whose upgrade was granted.
pub struct Newcomer {
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
    /// It subscribes as it opens. So it is a session of its shard before the client hears of that, and what is published as soon
    /// as the client knows reaches it; others are seated with their socket, which spares the shard a turn for each.
    pub subscribes_at_once: bool,
}

/// The socket of a newcomer whose 101 is due.
pub struct Arrived {
    /// Plain or under TLS, in no runtime.
    pub stream: Stream,
    /// The 101, which goes out before all else: with the session's first words it takes one write.
    pub head: Vec<u8>,
    /// What the client sent behind its request's head.
    pub already_read: Bytes,
}

/// A session's socket on its way to a shard.
pub enum Stream {
    /// TCP alone.
    Plain(TcpStream),
    /// TCP and the TLS spoken on it.
    Tls(TcpStream, Box<rustls::ServerConnection>),
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
    /// What it speaks.
    pub dialect: Dialect,
    /// What waits for it.
    pub outbox_bytes: usize,
    /// The oldest message that waits: its topic and age.
    pub oldest: Option<(TopicName, Duration)>,
}
