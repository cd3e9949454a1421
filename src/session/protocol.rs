//! The trait of what a session speaks, whatever carries its messages.

use std::sync::Arc;

use crate::clock::Moment;
use crate::metrics::LimitKey;
use crate::session_id::MemberInfo;
use crate::shard::{Held, Order, SessionContext};
use crate::topic_name::TopicName;

/// Acts on the messages of one session. A [`Carrier`](super::carrier::Carrier) hands them on, each whole.
pub trait Protocol: Send {
    /// The limit that a longer message breaks.
    const LONGEST_MESSAGE: LimitKey;

    /// The session begins.
    fn open(&mut self, context: &mut SessionContext<'_>);

    /// Acts on `message`; where its carrier tells text from binary messages, `is_text` says which it is.
    fn hear(&mut self, message: &[u8], is_text: bool, context: &mut SessionContext<'_>);

    /// Goes on with what had to wait; `true`: nothing waits any more.
    fn go_on(&mut self, context: &mut SessionContext<'_>) -> bool;

    /// Whether nothing waits, so that the next message may be heard.
    fn hears_on(&self) -> bool;

    /// What it holds of the messages that it has heard.
    fn held(&self) -> Held;

    /// Its next time-out, if it has one. It may get one that is earlier while it hears a message; it has itself called then.
    fn deadline(&self, context: &SessionContext<'_>) -> Option<Moment>;

    /// Does what is due by now.
    fn look_at_time(&mut self, context: &mut SessionContext<'_>);

    /// Work was done for the session beside the messages that it hears. Whoever commands pays with the next command.
    fn worked(&mut self, _context: &mut SessionContext<'_>) {}

    /// Does what an operator's program asks; `false`: there was nothing to do.
    fn order(&mut self, order: &Order, context: &mut SessionContext<'_>) -> bool;

    /// Follows the configuration in force.
    fn reload(&mut self, context: &mut SessionContext<'_>);

    /// The subscription to `topic` has ended because messages were lost.
    fn lapsed(&mut self, _topic: &TopicName, _context: &mut SessionContext<'_>) {}

    /// What presence on `topic` shows of the session beside its user.
    fn info(&self, _topic: &TopicName) -> Option<Arc<MemberInfo>> {
        None
    }

    /// The session's user.
    fn user(&self) -> Option<Arc<str>>;
}
