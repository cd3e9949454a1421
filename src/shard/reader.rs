//! The trait through which what was read goes up to whoever decides.

use std::sync::Arc;

use bytes::Bytes;

use super::context::SessionContext;
use super::input::HeldInput;
use super::order::Order;
use crate::frame::Inflater;
use crate::session_id::{MemberInfo, SessionSecret};
use crate::topic_name::TopicName;

/// What became of something that was said to a session beside its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The session has it.
    Taken,
    /// As much waits for the session as may.
    Full,
    /// There is no such session.
    Nobody,
}

/// Reads what one session said and decides what follows. Its shard calls it, on the shard's thread, and it never waits.
pub trait Reader: Send {
    /// The session begins; what it is told first goes out now.
    fn open(&mut self, context: &mut SessionContext<'_>);

    /// Takes what `input` holds and says how many bytes of it were used. It stops early when a command has to wait, when the context
    /// says that the session can't go on, or when it has had its share of the tick; the rest comes again, before anything newer.
    fn read(&mut self, input: &mut [u8], inflater: &mut Inflater, context: &mut SessionContext<'_>) -> usize;

    /// By what requests that speak for the session are known, if it is spoken to in that way.
    fn secret(&self) -> Option<SessionSecret> {
        None
    }

    /// Takes what a request says for the session.
    fn hear(&mut self, _frame: Bytes, _context: &mut SessionContext<'_>) -> Heard {
        Heard::Nobody
    }

    /// What it holds of what its client has sent.
    fn held(&self) -> HeldInput {
        HeldInput::default()
    }

    /// Its deadline (see [`SessionContext::wake_at`]) has passed.
    fn deadline(&mut self, context: &mut SessionContext<'_>);

    /// The session's subscription to `topic` has ended, because messages of it were lost and its dialect has no gaps.
    fn lapsed(&mut self, _topic: &TopicName, _context: &mut SessionContext<'_>) {}

    /// Work was done for the session beside what it has read, which is to be paid for ([`SessionContext::take_work`]). Whoever commands
    /// pays with the next command.
    fn worked(&mut self, _context: &mut SessionContext<'_>) {}

    /// Does what an operator's program asks; `false`: there was nothing to do.
    fn order(&mut self, _order: &Order, _context: &mut SessionContext<'_>) -> bool {
        false
    }

    /// The configuration has changed.
    fn reload(&mut self, context: &mut SessionContext<'_>);

    /// What presence on `topic` shows of the session beside its user.
    fn info(&self, _topic: &TopicName) -> Option<Arc<MemberInfo>> {
        None
    }

    /// The user as `/v1/sessions` shows it.
    fn user(&self) -> Option<Arc<str>>;
}
