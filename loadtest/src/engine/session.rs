//! One session: its socket, what is half read and half written, and its places in the streams.

use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;

use super::poll::Interest;
use crate::sequence::{Missing, Track};
use crate::wire::Dialect;

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not connected, as the scenario interest it.
    Disconnected,
    /// TCP.
    Connecting,
    /// HTTP.
    Upgrading,
    /// Its subscriptions are asked for.
    Subscribing,
    /// Subscribed.
    Open,
    /// Ended by the server, or broken.
    Closed,
}

pub(super) struct Session {
    pub(super) socket: Option<TcpStream>,
    pub(super) phase: Phase,
    pub(super) dialect: Dialect,
    /// It publishes over HTTP, and is no WebSocket at all.
    pub(super) posts: bool,
    /// What its next request publishes.
    pub(super) batch: Vec<u8>,
    /// How much of what it asked for stands; counted where the server acknowledges each subscription.
    pub(super) acknowledged: usize,
    /// What the poll watches for.
    pub(super) interest: Interest,
    /// The server compresses.
    pub(super) deflated: bool,
    /// Its deliveries are owed and timed; false for one that stalls, or is away.
    pub(super) expects_deliveries: bool,
    /// Its delays are measured.
    pub(super) timed: bool,
    /// It has been subscribed before, and asks for what it missed.
    pub(super) resumes: bool,
    /// A close frame came, with this code.
    pub(super) close_code: Option<u16>,
    /// The start of a frame that a read cut.
    pub(super) rest: Vec<u8>,
    /// The fragments of a message so far.
    pub(super) fragments: Vec<u8>,
    pub(super) outgoing: Vec<u8>,
    /// What it takes.
    pub(super) topics: Box<[u32]>,
    /// The newest offset of each topic that it saw.
    pub(super) offsets: Box<[u64]>,
    /// One for each stream of each topic, in that order.
    pub(super) tracks: Vec<Track>,
    pub(super) missing: Missing,
}

impl Session {
    pub(super) fn new(dialect: Dialect, topics: Vec<u32>) -> Self {
        Self {
            socket: None,
            phase: Phase::Disconnected,
            dialect,
            posts: false,
            batch: Vec::new(),
            acknowledged: 0,
            interest: Interest::ReadWrite,
            deflated: false,
            expects_deliveries: false,
            timed: true,
            resumes: false,
            close_code: None,
            rest: Vec::new(),
            fragments: Vec::new(),
            outgoing: Vec::new(),
            offsets: vec![0; topics.len()].into_boxed_slice(),
            topics: topics.into_boxed_slice(),
            tracks: Vec::new(),
            missing: Missing::default(),
        }
    }

    /// A new connection is on its way.
    pub(super) fn begin(&mut self, socket: TcpStream) {
        self.socket = Some(socket);
        self.phase = Phase::Connecting;
        self.interest = Interest::ReadWrite;
        self.deflated = false;
        self.acknowledged = 0;
        self.close_code = None;
    }

    /// The connection is over.
    pub(super) fn end(&mut self, phase: Phase) {
        self.socket = None;
        self.phase = phase;
        self.rest = Vec::new();
        self.fragments = Vec::new();
        self.outgoing = Vec::new();
    }

    /// On its way: neither away nor subscribed nor over.
    pub(super) fn is_pending(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Upgrading | Phase::Subscribing)
    }

    /// Writes what the socket takes; what to watch for from now on.
    pub(super) fn flush(&mut self) -> io::Result<Interest> {
        let Some(socket) = &self.socket else { return Ok(self.interest) };
        let mut socket: &TcpStream = socket;
        let mut written = 0;
        while written < self.outgoing.len() {
            match socket.write(&self.outgoing[written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outgoing.drain(..written);
        Ok(if self.outgoing.is_empty() { Interest::Read } else { Interest::ReadWrite })
    }
}
