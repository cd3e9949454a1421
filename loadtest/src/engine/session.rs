//! One session: its connection, its unfinished input and output, and its position in each stream.

use std::io;

use super::compression::Compression;
use super::ending::Ending;
use super::joins::Joins;
use super::poll::Interest;
use super::roaming::Roaming;
use super::transport::Transport;
use crate::sequence::{Missing, Track};
use crate::wire::{Deflate, Dialect};

/// The state of a session's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Disconnected by the scenario.
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

pub(super) struct Session {
    pub(super) transport: Option<Transport>,
    pub(super) phase: Phase,
    pub(super) dialect: Dialect,
    /// Whether it publishes over HTTP in place of a WebSocket.
    pub(super) posts: bool,
    /// The lines of its next HTTP request.
    pub(super) batch: Vec<u8>,
    /// The acknowledgements, if the server sends one for each subscription.
    pub(super) joins: Joins,
    /// Its interest in the poll.
    pub(super) interest: Interest,
    pub(super) compression: Compression,
    /// Whether deliveries are owed to it. False while it stalls or is disconnected.
    pub(super) expects_deliveries: bool,
    /// Whether its latencies are measured.
    pub(super) timed: bool,
    pub(super) roaming: Roaming,
    /// Whether it was subscribed before and resumes.
    pub(super) resumes: bool,
    /// What the server said about the end of the connection.
    pub(super) ending: Ending,
    /// The beginning of an incomplete frame.
    pub(super) rest: Vec<u8>,
    /// The fragments of a message so far.
    pub(super) fragments: Vec<u8>,
    pub(super) outgoing: Vec<u8>,
    pub(super) topics: Box<[u32]>,
    /// The newest received offset of each topic.
    pub(super) offsets: Box<[u64]>,
    /// The tracks of each stream of each topic, in that order.
    pub(super) tracks: Vec<Track>,
    pub(super) missing: Missing,
}

impl Session {
    pub(super) fn new(dialect: Dialect, offer: Deflate, topics: Vec<u32>, home: usize) -> Self {
        Self {
            transport: None,
            phase: Phase::Disconnected,
            dialect,
            posts: false,
            batch: Vec::new(),
            joins: Joins::NONE,
            interest: Interest::ReadWrite,
            compression: Compression::offering(offer),
            expects_deliveries: false,
            timed: true,
            roaming: Roaming::at(home),
            resumes: false,
            ending: Ending::default(),
            rest: Vec::new(),
            fragments: Vec::new(),
            outgoing: Vec::new(),
            offsets: vec![0; topics.len()].into_boxed_slice(),
            topics: topics.into_boxed_slice(),
            tracks: Vec::new(),
            missing: Missing::default(),
        }
    }

    /// Begins to connect over `transport`.
    pub(super) fn begin(&mut self, transport: Transport) {
        self.transport = Some(transport);
        self.phase = Phase::Connecting;
        self.interest = Interest::ReadWrite;
        self.joins = Joins::NONE;
        self.ending = Ending::default();
    }

    /// Drops the connection.
    pub(super) fn end(&mut self, phase: Phase) {
        self.transport = None;
        self.phase = phase;
        self.compression.forget();
        self.rest = Vec::new();
        self.fragments = Vec::new();
        self.outgoing = Vec::new();
    }

    /// Whether it is connecting, upgrading or subscribing.
    pub(super) fn is_pending(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Upgrading | Phase::Subscribing)
    }

    /// Writes as much as the connection accepts. Returns the new interest.
    pub(super) fn flush(&mut self) -> io::Result<Interest> {
        let Some(transport) = &mut self.transport else { return Ok(self.interest) };
        let (written, interest) = transport.write(&self.outgoing)?;
        self.outgoing.drain(..written);
        Ok(interest)
    }
}
