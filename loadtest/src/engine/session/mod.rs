//! One session: its connection, its unfinished input, and its position in each stream.

mod compression;
mod connection;
mod failover;
mod rest;
mod subscriptions;
mod transport;

use compression::Compression;
use connection::Connection;
pub use connection::Phase;
use failover::Failover;
use rest::Rest;
use subscriptions::Subscriptions;
pub use transport::Transport;

use crate::wire::{Deflate, Dialect};

#[derive(Default)]
pub struct Session {
    pub dialect: Dialect,
    pub connection: Connection,
    pub compression: Compression,
    /// The beginning of an incomplete frame or chunk.
    pub incomplete: Rest,
    /// The fragments of a message so far, or the beginning of an incomplete event of a stream.
    pub fragments: Rest,
    /// The lines of its next HTTP request, if it publishes over HTTP in place of a WebSocket.
    pub http_batch: Option<Vec<u8>>,
    pub subscriptions: Subscriptions,
    pub failover: Failover,
}

impl Session {
    pub fn new(dialect: Dialect, offer: Deflate, topics: Vec<u32>, gateway: usize) -> Self {
        Self {
            dialect,
            compression: Compression::offering(offer),
            subscriptions: Subscriptions::to(topics),
            failover: Failover::disabled(gateway),
            ..Self::default()
        }
    }

    /// Begins to connect over `transport`.
    pub fn begin(&mut self, transport: Transport) {
        self.connection.begin(transport);
        self.subscriptions.begin();
    }

    /// Drops the connection.
    pub fn end(&mut self, phase: Phase) {
        self.connection = Connection::default();
        self.connection.reach(phase);
        self.compression.reset();
        (self.incomplete, self.fragments) = (Rest::default(), Rest::default());
    }
}
