//! The trait of protocols: they interpret a session's messages, whatever carries them.

use std::sync::Arc;

use super::principal::Principal;
use crate::clock::Moment;
use crate::metrics::LimitKey;
use crate::session_id::MemberInfo;
use crate::shard::{AdminCommand, SessionContext};
use crate::topic_name::TopicName;

/// Executes the messages of one session. A [`Carrier`](super::carriers::Carrier) hands over each message whole.
pub trait Protocol: Send {
    /// The limit that bounds the length of a message.
    const MESSAGE_LIMIT: LimitKey = LimitKey::MessageBytes;

    /// The principal of the session.
    fn principal(&self) -> &Principal;

    /// Called once, when the session begins.
    fn on_open(&mut self, context: &mut SessionContext<'_>);

    /// Executes `message`. `is_text` distinguishes a text message from a binary one, if the carrier does.
    fn on_message(&mut self, message: &[u8], is_text: bool, context: &mut SessionContext<'_>);

    /// Continues a pending command; `true`: none is pending any more.
    fn resume(&mut self, context: &mut SessionContext<'_>) -> bool;

    /// Whether no command is pending, so that [`Protocol::on_message`] may be called with the next message.
    fn accepts_messages(&self) -> bool;

    /// The bytes that are held of messages which the protocol was handed.
    fn held_bytes(&self) -> usize {
        0
    }

    /// The next time-out, if there is one. A protocol whose time-out becomes earlier while it executes a message schedules the call itself.
    fn deadline(&self, context: &SessionContext<'_>) -> Option<Moment> {
        self.principal().expiry(context)
    }

    /// Handles the time-outs that have passed.
    fn on_deadline(&mut self, context: &mut SessionContext<'_>) {
        self.principal().end_expired(context);
    }

    /// Work was done for the session beside its messages. A protocol with commands charges the work with the next command.
    fn on_work(&mut self, _context: &mut SessionContext<'_>) {}

    /// Executes an administrator's command; `false`: the command had no effect.
    fn on_admin_command(&mut self, command: &AdminCommand, context: &mut SessionContext<'_>) -> bool;

    /// Applies the configuration in force.
    fn on_reload(&mut self, context: &mut SessionContext<'_>);

    /// The subscription to `topic` has ended because messages of it were lost.
    fn on_lapse(&mut self, _topic: &TopicName, _context: &mut SessionContext<'_>) {}

    /// The information that presence on `topic` shows beside the user.
    fn info(&self, _topic: &TopicName) -> Option<Arc<MemberInfo>> {
        None
    }
}
