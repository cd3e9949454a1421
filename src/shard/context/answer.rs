//! The answer to a request, which may be pending.

/// The answer of the hub, or of the shard, to a request of a session.
///
/// A pending request is repeated: the session keeps its command and executes no later one, and its reader is called
/// again once the session's waker is woken, or in the session's next turn. Other sessions continue meanwhile. A
/// publication that an engine accepted is not submitted again: its receipt is polled, and the session may publish more
/// before the receipt has its answer.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// The answer.
    Ready(T),
    /// There is no answer yet.
    Pending,
}
