//! The trait of what carries a session's messages, whatever they say.

use bytes::Bytes;

use super::protocol::Protocol;
use crate::clock::Moment;
use crate::frame::Inflater;
use crate::session_id::SessionSecret;
use crate::shard::{Heard, SessionContext};

/// Finds the messages of one session, and hands them to its protocol, as many as its turn allows.
pub trait Carrier: Send {
    /// The session has begun.
    fn open<P: Protocol>(&mut self, _protocol: &mut P, _context: &mut SessionContext<'_>) {}

    /// Takes what the connection has brought, and says how many bytes of it were used.
    fn read<P: Protocol>(&mut self, input: &mut [u8], inflater: &mut Inflater, protocol: &mut P, context: &mut SessionContext<'_>)
    -> usize;

    /// By what requests that speak for the session are known, if they carry its messages.
    fn secret(&self) -> Option<SessionSecret> {
        None
    }

    /// Takes a message that a request has brought.
    fn hear<P: Protocol>(&mut self, _message: Bytes, _protocol: &mut P, _context: &mut SessionContext<'_>) -> Heard {
        Heard::Nobody
    }

    /// What it holds of messages that the protocol has not heard, in bytes.
    fn unheard_bytes(&self) -> usize {
        0
    }

    /// Since when a message has begun and isn't whole.
    fn message_since(&self) -> Option<Moment> {
        None
    }
}

/// A connection whose client has nothing to say: what it sends is discarded.
pub struct OneWay;

impl Carrier for OneWay {
    fn read<P: Protocol>(&mut self, input: &mut [u8], _: &mut Inflater, protocol: &mut P, context: &mut SessionContext<'_>) -> usize {
        protocol.go_on(context);
        input.len()
    }
}
