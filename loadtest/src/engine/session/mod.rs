//! One session: its connection, its unfinished input and output, and its position in each stream.

mod compression;
mod ending;
mod failover;
mod pending_subscribes;
mod transport;

use std::io;

use compression::Compression;
use ending::Ending;
use failover::Failover;
use pending_subscribes::PendingSubscribes;
pub use transport::Transport;

use crate::engine::poll::Interest;
use crate::sequence::{Missing, Track};
use crate::wire::{Deflate, Dialect};

/// The state of a session's connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Disconnected by the scenario, or not yet connected.
    #[default]
    Disconnected,
    /// TCP is connecting.
    Connecting,
    /// The upgrade was sent.
    Upgrading,
    /// A subscribe was sent.
    Subscribing,
    /// Subscribed.
    Open,
    /// The server closed the connection, or it broke.
    Closed,
}

#[derive(Default)]
pub struct Session {
    pub transport: Option<Transport>,
    pub phase: Phase,
    pub dialect: Dialect,
    /// Whether it publishes over HTTP in place of a WebSocket.
    pub publishes_by_http: bool,
    /// The lines of its next HTTP request.
    pub batch: Vec<u8>,
    /// The acknowledgements, if the server sends one for each subscription.
    pub pending_subscribes: PendingSubscribes,
    pub interest: Interest,
    pub compression: Compression,
    /// Whether deliveries are owed to it. False while it stalls or is disconnected.
    pub expects_deliveries: bool,
    /// Whether its latencies are measured.
    pub is_timed: bool,
    pub failover: Failover,
    /// Whether it was subscribed before and resumes.
    pub resumes: bool,
    pub ending: Ending,
    /// The beginning of an incomplete frame or chunk.
    pub incomplete: Vec<u8>,
    /// The fragments of a message so far, or the beginning of an incomplete event of a stream.
    pub fragments: Vec<u8>,
    pub outgoing: Vec<u8>,
    pub topics: Box<[u32]>,
    /// The newest received offset of each topic.
    pub offsets: Box<[u64]>,
    /// The tracks of each stream of each topic, in that order.
    pub tracks: Vec<Track>,
    pub missing: Missing,
}

impl Session {
    pub fn new(dialect: Dialect, offer: Deflate, topics: Vec<u32>, gateway: usize) -> Self {
        Self {
            dialect,
            compression: Compression::offering(offer),
            is_timed: true,
            failover: Failover::disabled(gateway),
            offsets: vec![0; topics.len()].into_boxed_slice(),
            topics: topics.into_boxed_slice(),
            ..Self::default()
        }
    }

    /// Begins to connect over `transport`.
    pub fn begin(&mut self, transport: Transport) {
        self.transport = Some(transport);
        self.phase = Phase::Connecting;
        self.interest = Interest::ReadWrite;
        self.pending_subscribes = PendingSubscribes::default();
        self.ending = Ending::default();
    }

    /// Drops the connection.
    pub fn end(&mut self, phase: Phase) {
        self.transport = None;
        self.phase = phase;
        self.compression.reset();
        self.incomplete = Vec::new();
        self.fragments = Vec::new();
        self.outgoing = Vec::new();
    }

    /// Whether it is connecting, upgrading or subscribing.
    pub fn is_pending(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Upgrading | Phase::Subscribing)
    }

    /// Writes as much as the connection accepts. Returns the new interest.
    pub fn flush(&mut self) -> io::Result<Interest> {
        let Some(transport) = &mut self.transport else { return Ok(self.interest) };
        let (written, interest) = transport.write(&self.outgoing)?;
        self.outgoing.drain(..written);
        Ok(interest)
    }
}
