//! The trait through which a shard calls the sessions: [`Reader`].

use std::sync::Arc;

use bytes::Bytes;

use super::admin_command::AdminCommand;
use super::context::SessionContext;
use super::env::HeldInput;
use crate::frame::Inflater;
use crate::session_id::{Forwarded, MemberInfo, SessionSecret};
use crate::topic_name::TopicName;

/// Reads the input of one session and acts on it. Its shard calls it on the shard's thread, so no method may block.
pub trait Reader: Send {
    /// The session begins. Frames queued here go out first.
    fn on_open(&mut self, _context: &mut SessionContext<'_>) {}

    /// Reads `input` and returns the number of bytes used. It stops early when a command has to wait, when
    /// [`SessionContext::may_execute`] says no, or when [`SessionContext::is_turn_over`] says yes. The shard passes the
    /// rest again, before newer bytes. A reader that takes no input discards it.
    fn read(&mut self, input: &mut [u8], _inflater: &mut Inflater, _context: &mut SessionContext<'_>) -> usize {
        input.len()
    }

    /// The secret that HTTP requests of the session carry, if its commands come in such requests.
    fn secret(&self) -> Option<SessionSecret> {
        None
    }

    /// Takes a frame that an HTTP request of the session carries. Its commands wait for the session's turn.
    fn on_frame(&mut self, _frame: Bytes, _context: &mut SessionContext<'_>) -> Forwarded {
        Forwarded::NoSession
    }

    /// The input that the reader holds.
    fn held(&self) -> HeldInput {
        HeldInput::default()
    }

    /// The deadline that was set by [`SessionContext::set_deadline`] has passed.
    fn on_deadline(&mut self, _context: &mut SessionContext<'_>) {}

    /// The session's subscription to `topic` has ended because messages were lost, and its dialect has no gap notices.
    fn on_lapse(&mut self, _topic: &TopicName, _context: &mut SessionContext<'_>) {}

    /// Work was done for the session beside its commands. The reader charges it ([`SessionContext::take_work`]). A
    /// session that sends commands is charged with its next command.
    fn on_work(&mut self, _context: &mut SessionContext<'_>) {}

    /// Executes an administrator's command. Returns `false` if the command had no effect.
    fn on_admin_command(&mut self, _command: &AdminCommand, _context: &mut SessionContext<'_>) -> bool {
        false
    }

    /// The configuration has changed; the context has the new one.
    fn on_reload(&mut self, _context: &mut SessionContext<'_>) {}

    /// The session's info in the presence of `topic`.
    fn info(&self, _topic: &TopicName) -> Option<Arc<MemberInfo>> {
        None
    }

    /// The user as `/v1/sessions` shows it.
    fn user(&self) -> Option<Arc<str>> {
        None
    }
}
