//! The carrier of an emulated session: requests to `/emulation` carry the client's messages, and a stream carries the replies.

use std::collections::VecDeque;

use bytes::Bytes;

use super::carrier::Carrier;
use super::frame_rate::FrameRate;
use crate::clock::Moment;
use crate::frame::Inflater;
use crate::metrics::LimitKey;
use crate::session::protocol::Protocol;
use crate::session_id::{Forwarded, SessionSecret};
use crate::shard::{HeldInput, SessionContext};

/// The requests that carry the messages of one session.
pub struct RequestCarrier {
    secret: SessionSecret,
    /// Messages that the protocol has not processed yet, in the order in which they came.
    unprocessed: VecDeque<Bytes>,
    unprocessed_bytes: usize,
    rate: FrameRate,
}

impl RequestCarrier {
    /// Requests that are addressed by `secret`. The request that opened the session carried its `first` message.
    pub fn new(secret: SessionSecret, first: Bytes, now: Moment) -> Self {
        Self { secret, unprocessed_bytes: first.len(), unprocessed: VecDeque::from([first]), rate: FrameRate::new(now) }
    }

    /// Hands messages to the protocol as long as it accepts them and the session has its turn.
    fn process<P: Protocol>(&mut self, protocol: &mut P, context: &mut SessionContext<'_>) {
        while protocol.accepts_messages()
            && context.may_execute()
            && let Some(message) = self.unprocessed.pop_front()
        {
            self.unprocessed_bytes -= message.len();
            protocol.on_message(&message, true, context);
            if context.is_turn_over() {
                break;
            }
        }
        if self.unprocessed.is_empty() {
            self.unprocessed = VecDeque::new();
        } else if protocol.accepts_messages() {
            context.call_again();
        }
    }
}

impl Carrier for RequestCarrier {
    fn on_open(&mut self, context: &mut SessionContext<'_>) {
        context.call_in_turn();
    }

    /// Discards `input`: the client sends no messages on the connection of the stream.
    fn read<P: Protocol>(&mut self, input: &mut [u8], _: &mut Inflater, protocol: &mut P, context: &mut SessionContext<'_>) -> usize {
        if protocol.resume(context) {
            self.process(protocol, context);
        }
        input.len()
    }

    fn secret(&self) -> Option<SessionSecret> {
        Some(self.secret)
    }

    /// Keeps `message` until the session has its turn.
    fn on_frame(&mut self, message: Bytes, context: &mut SessionContext<'_>) -> Forwarded {
        self.rate.take(1, context);
        if self.unprocessed_bytes + message.len() > context.config().limits.frame_bytes {
            context.limit_hit(LimitKey::FrameBytes);
            return Forwarded::Full;
        }
        self.unprocessed_bytes += message.len();
        self.unprocessed.push_back(message);
        context.call_in_turn();
        Forwarded::Accepted
    }

    fn held(&self) -> HeldInput {
        HeldInput { unfinished: 0, command: self.unprocessed_bytes }
    }
}
