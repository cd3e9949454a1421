//! The connection of a session: its transport, its phase, the bytes to write, and how it ends.

use std::io;

use super::transport::Transport;
use crate::engine::poll::{Interest, Poll};

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
pub struct Connection {
    transport: Option<Transport>,
    phase: Phase,
    interest: Interest,
    outgoing: Vec<u8>,
    /// Whether the server has announced a drain.
    drains: bool,
    close_code: Option<u16>,
}

impl Connection {
    /// Begins to connect over `transport`.
    pub fn begin(&mut self, transport: Transport) {
        *self = Self { transport: Some(transport), phase: Phase::Connecting, ..Self::default() };
    }

    /// Notes that the connection has reached `phase`.
    pub fn reach(&mut self, phase: Phase) {
        self.phase = phase;
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether it is connecting, upgrading or subscribing.
    pub fn is_pending(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Upgrading | Phase::Subscribing)
    }

    pub fn transport(&mut self) -> Option<&mut Transport> {
        self.transport.as_mut()
    }

    /// The bytes to write. Commands are appended to them.
    pub fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    /// Writes as much as the connection accepts. `poll` knows the transport as `index`, and gets its new interest.
    pub fn flush(&mut self, poll: &Poll, index: usize) -> io::Result<()> {
        let Some(transport) = self.transport.as_mut().filter(|_| self.phase != Phase::Connecting) else { return Ok(()) };
        let (written, interest) = transport.write(&self.outgoing)?;
        self.outgoing.drain(..written);
        if interest != self.interest && poll.change(&*transport, index, interest).is_ok() {
            self.interest = interest;
        }
        Ok(())
    }

    pub fn announce_drain(&mut self) {
        self.drains = true;
    }

    /// Notes the code of a Close, or of the error that ends a stream.
    pub fn close(&mut self, code: u16) {
        self.close_code = Some(code);
    }

    /// Notes that a stream has ended. After the announcement of a drain that is as if closed with `code`.
    pub fn end_stream(&mut self, code: u16) {
        if self.drains {
            self.close_code.get_or_insert(code);
        }
    }

    pub fn close_code(&self) -> Option<u16> {
        self.close_code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_ends_with_a_code_if_a_drain_or_an_error_was_announced() {
        let [mut broken, mut drained, mut slow] = [(); 3].map(|()| Connection::default());
        drained.announce_drain();
        slow.announce_drain();
        slow.close(4004);
        [&mut broken, &mut drained, &mut slow].into_iter().for_each(|connection| connection.end_stream(1001));
        assert_eq!([broken, drained, slow].map(|connection| connection.close_code()), [None, Some(1001), Some(4004)]);
    }
}
