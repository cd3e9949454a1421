//! A request that becomes a session.

use crate::shard::NewSession;

/// A request that is granted: the head of the answer to it, and the session that it becomes.
pub struct Granted {
    /// The head as it goes over the wire: a 101, or a stream's 200.
    pub head: Vec<u8>,
    /// The session.
    pub newcomer: NewSession,
}
