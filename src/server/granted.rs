//! A request that becomes a session.

use crate::shard::NewSession;

/// A granted request: the head of its answer, and the session that it becomes.
pub struct Granted {
    /// The bytes of the head: a 101, or a stream's 200.
    pub head: Vec<u8>,
    pub session: NewSession,
}
