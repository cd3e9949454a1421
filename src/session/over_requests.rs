//! Requests of their own that carry a session's messages, while its connection brings what answers them.

use std::collections::VecDeque;

use bytes::Bytes;

use super::carrier::Carrier;
use super::frame_rate::FrameRate;
use super::protocol::Protocol;
use crate::clock::Moment;
use crate::config::Limits;
use crate::frame::Inflater;
use crate::metrics::LimitKey;
use crate::session_id::SessionSecret;
use crate::shard::{Heard, SessionContext};

/// The requests that speak for one session.
pub struct OverRequests {
    secret: SessionSecret,
    /// Messages that the session has not heard yet, in the order in which they came.
    unheard: VecDeque<Bytes>,
    unheard_bytes: usize,
    rate: FrameRate,
}

impl OverRequests {
    /// Requests that know `secret`; the one that began the session has brought its `first` message.
    pub fn new(secret: SessionSecret, first: Bytes, limits: &Limits, now: Moment) -> Self {
        Self { secret, unheard_bytes: first.len(), unheard: VecDeque::from([first]), rate: FrameRate::new(limits, now) }
    }

    /// Has the session hear what has come, as far as it goes on.
    fn hand_on<P: Protocol>(&mut self, protocol: &mut P, context: &mut SessionContext<'_>) {
        while protocol.hears_on() && context.is_open() && !self.unheard.is_empty() {
            if !context.can_go_on() {
                context.hold();
                break;
            }
            let Some(message) = self.unheard.pop_front() else { break };
            self.unheard_bytes -= message.len();
            protocol.hear(&message, true, context);
        }
        if self.unheard.is_empty() {
            self.unheard = VecDeque::new();
        }
    }
}

impl Carrier for OverRequests {
    fn open<P: Protocol>(&mut self, protocol: &mut P, context: &mut SessionContext<'_>) {
        self.hand_on(protocol, context);
    }

    /// What the client says over the connection itself is nothing.
    fn read<P: Protocol>(&mut self, input: &mut [u8], _: &mut Inflater, protocol: &mut P, context: &mut SessionContext<'_>) -> usize {
        if protocol.go_on(context) {
            self.hand_on(protocol, context);
        }
        input.len()
    }

    fn secret(&self) -> Option<SessionSecret> {
        Some(self.secret)
    }

    fn hear<P: Protocol>(&mut self, message: Bytes, protocol: &mut P, context: &mut SessionContext<'_>) -> Heard {
        self.rate.take(1, context);
        if self.unheard_bytes + message.len() > context.config().limits.frame_bytes {
            context.limit_hit(LimitKey::FrameBytes);
            return Heard::Full;
        }
        self.unheard_bytes += message.len();
        self.unheard.push_back(message);
        self.hand_on(protocol, context);
        Heard::Taken
    }

    fn unheard_bytes(&self) -> usize {
        self.unheard_bytes
    }
}
