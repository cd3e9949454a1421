//! The reading side of one session: a carrier and a protocol.

use std::sync::Arc;

use bytes::Bytes;

use super::carriers::Carrier;
use super::protocol::Protocol;
use crate::codes::CloseCode;
use crate::frame::Inflater;
use crate::metrics::{CloseReason, LimitKey};
use crate::session_id::{Forwarded, MemberInfo, SessionSecret};
use crate::shard::{AdminCommand, HeldInput, Reader, SessionContext};
use crate::topic_name::TopicName;

/// One session, whose messages `C` carries and `P` interprets. Each idle session has this value, so rare fields are boxed.
pub struct Session<C, P> {
    carrier: C,
    protocol: P,
}

impl<C: Carrier, P: Protocol> Session<C, P> {
    /// A session that was not opened yet.
    pub fn new(carrier: C, protocol: P) -> Self {
        Self { carrier, protocol }
    }

    /// Schedules the call for the earliest time-out.
    fn set_deadline(&self, context: &mut SessionContext<'_>) {
        let message = self.carrier.message_since().map(|since| since + context.config().limits.message_timeout);
        let own = self.protocol.deadline(context);
        context.set_deadline([message, own].into_iter().flatten().min());
    }

    /// Closes the session if an unfinished message exceeds `limits.message_timeout`. Returns whether it did.
    fn end_late(&self, context: &mut SessionContext<'_>) -> bool {
        let timeout = context.config().limits.message_timeout;
        let is_late = self.carrier.message_since().is_some_and(|since| context.now().since(since) >= timeout);
        if is_late {
            context.limit_hit(LimitKey::MessageTimeout);
            context.close(CloseCode::Policy, "a message was not whole in time", CloseReason::Policy);
        }
        is_late
    }
}

impl<C: Carrier, P: Protocol> Reader for Session<C, P> {
    fn on_open(&mut self, context: &mut SessionContext<'_>) {
        self.protocol.on_open(context);
        self.carrier.on_open(context);
        self.set_deadline(context);
    }

    fn read(&mut self, input: &mut [u8], inflater: &mut Inflater, context: &mut SessionContext<'_>) -> usize {
        let since = self.carrier.message_since();
        let used = self.carrier.read(input, inflater, &mut self.protocol, context);
        if self.carrier.message_since() != since {
            self.set_deadline(context);
        }
        used
    }

    fn secret(&self) -> Option<SessionSecret> {
        self.carrier.secret()
    }

    fn on_frame(&mut self, frame: Bytes, context: &mut SessionContext<'_>) -> Forwarded {
        self.carrier.on_frame(frame, context)
    }

    fn held(&self) -> HeldInput {
        let HeldInput { unfinished, command } = self.carrier.held();
        HeldInput { unfinished, command: command + self.protocol.held_bytes() }
    }

    fn on_deadline(&mut self, context: &mut SessionContext<'_>) {
        if !self.end_late(context) {
            self.protocol.on_deadline(context);
            self.set_deadline(context);
        }
    }

    fn on_lapse(&mut self, topic: &TopicName, context: &mut SessionContext<'_>) {
        self.protocol.on_lapse(topic, context);
    }

    fn on_work(&mut self, context: &mut SessionContext<'_>) {
        self.protocol.on_work(context);
    }

    fn on_admin_command(&mut self, command: &AdminCommand, context: &mut SessionContext<'_>) -> bool {
        let is_done = self.protocol.on_admin_command(command, context);
        self.set_deadline(context);
        is_done
    }

    fn on_reload(&mut self, context: &mut SessionContext<'_>) {
        self.protocol.on_reload(context);
        self.set_deadline(context);
    }

    fn info(&self, topic: &TopicName) -> Option<Arc<MemberInfo>> {
        self.protocol.info(topic)
    }

    fn user(&self) -> Option<Arc<str>> {
        self.protocol.principal().user()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::carriers::WebSocketCarrier;
    use crate::session::centrifugo::Centrifugo;
    use crate::session::native::Native;

    /// The struct is all memory that an idle session has for itself.
    #[test]
    fn an_idle_session_is_small() {
        let sizes = [size_of::<Session<WebSocketCarrier, Native>>(), size_of::<Session<WebSocketCarrier, Centrifugo>>()];
        assert!(sizes[0] <= 160 && sizes[1] <= 280, "{sizes:?} bytes");
    }
}
