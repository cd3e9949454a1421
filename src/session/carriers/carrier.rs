//! The trait of carriers: they take a session's messages from a connection or from requests, and do not interpret them.

use bytes::Bytes;

use crate::clock::Moment;
use crate::frame::Inflater;
use crate::session::protocol::Protocol;
use crate::session_id::{Forwarded, SessionSecret};
use crate::shard::{HeldInput, SessionContext};

/// Reads the messages of one session and hands them to its protocol. After each it asks whether the session's turn is over, so that other
/// sessions are served.
pub trait Carrier: Send {
    /// Called once, after the protocol has opened the session.
    fn on_open(&mut self, _context: &mut SessionContext<'_>) {}

    /// Reads `input`, the bytes of the connection. Returns how many of the bytes were used.
    fn read<P: Protocol>(&mut self, input: &mut [u8], inflater: &mut Inflater, protocol: &mut P, context: &mut SessionContext<'_>)
    -> usize;

    /// The secret by which requests address the session, if requests carry its messages.
    fn secret(&self) -> Option<SessionSecret> {
        None
    }

    /// Takes a message that a request carried.
    fn on_frame(&mut self, _message: Bytes, _context: &mut SessionContext<'_>) -> Forwarded {
        Forwarded::NoSession
    }

    /// What is held of messages that the protocol was not handed.
    fn held(&self) -> HeldInput {
        HeldInput::default()
    }

    /// When the first frame of an unfinished message came; `None`: no message is unfinished.
    fn message_since(&self) -> Option<Moment> {
        None
    }
}

/// The carrier of a stream, whose client only listens. Bytes that the client sends are discarded.
pub struct OneWay;

impl Carrier for OneWay {
    fn read<P: Protocol>(&mut self, input: &mut [u8], _: &mut Inflater, protocol: &mut P, context: &mut SessionContext<'_>) -> usize {
        protocol.resume(context);
        input.len()
    }
}
