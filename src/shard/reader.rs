//! The trait through which what was read goes up to whoever decides.

use std::sync::Arc;

use super::context::SessionContext;
use crate::frame::Inflater;

/// Reads what one session said and decides what follows. Its shard calls it, on the shard's thread, and it never waits.
pub trait Reader: Send {
    /// The session begins; what it is told first goes out now.
    fn open(&mut self, context: &mut SessionContext<'_>);

    /// Takes what `input` holds and says how many bytes of it were used. It stops early when a command has to wait, when the context
    /// says that the session can't go on, or when it has had its share of the tick; the rest comes again, before anything newer.
    fn read(&mut self, input: &mut [u8], inflater: &mut Inflater, context: &mut SessionContext<'_>) -> usize;

    /// Its deadline (see [`SessionContext::wake_at`]) has passed.
    fn deadline(&mut self, context: &mut SessionContext<'_>);

    /// The configuration has changed.
    fn reload(&mut self, context: &mut SessionContext<'_>);

    /// The user as `/v1/sessions` shows it.
    fn user(&self) -> Option<Arc<str>>;
}
