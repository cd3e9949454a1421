//! Shards: one thread each, with the sessions that it owns.

mod reader;

pub use reader::{Lent, Reader};

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;
use crate::codes::CloseCode;
use crate::config::Live;
use crate::dialect::{Dialect, Variant};
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::session_id::SessionId;
use crate::topic_name::TopicName;

/// All shards.
pub struct Shards {}

/// A connection right after its 101, to become a session of a shard.
pub struct Newcomer {
    /// The socket, plain or under TLS, out of its first runtime.
    pub stream: Stream,
    /// What the client sent behind its request's head.
    pub already_read: Bytes,
    /// Its name.
    pub id: SessionId,
    /// Who is at the other end, as limits count it.
    pub address: SocketAddr,
    /// Which frames it takes.
    pub variant: Variant,
    /// What reads and decides for it.
    pub reader: Box<dyn Reader>,
    /// Given back when the session has ended: its place in the totals.
    pub pass: Box<dyn Send>,
}

/// A session's socket on its way to a shard.
pub enum Stream {
    /// TCP alone.
    Plain(std::net::TcpStream),
    /// TCP and the TLS spoken on it.
    Tls(std::net::TcpStream, Box<rustls::ServerConnection>),
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

impl Shards {
    /// Starts `count` threads.
    pub fn start(_count: usize, _hub: &Arc<Hub>, _live: &Arc<Live>, _metrics: &Arc<Metrics>, _clock: &Clock) -> io::Result<Arc<Self>> {
        unimplemented!()
    }

    /// Gives the newcomer to a shard.
    pub fn adopt(&self, _newcomer: Newcomer) {
        unimplemented!()
    }

    /// The `limit` sessions with the fullest outboxes, fullest first.
    pub async fn slowest(&self, _limit: usize) -> Vec<SessionView> {
        unimplemented!()
    }

    /// Closes one session; `false`: there is none of that name.
    pub async fn close(&self, _id: SessionId, _code: CloseCode, _reason: &'static str) -> bool {
        unimplemented!()
    }

    /// Tells every session that the gateway drains and closes each with 1001 at its own random moment within `over`;
    /// done when no session is left.
    pub async fn drain(&self, _over: Duration) {
        unimplemented!()
    }

    /// Ends the threads, whatever sessions are left.
    pub fn stop(&self) {
        unimplemented!()
    }
}
