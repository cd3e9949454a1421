//! Answers that may come later.

/// What a session gets for a question to the hub or to its shard.
///
/// A pending question is asked again: the session keeps its command, acts on no later one, and its reader is called once the
/// session's waker is woken. Everybody else goes on meanwhile. A publish that an engine was handed is not handed over again; the question
/// is what its receipt says, and the session may go on publishing before it is answered.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// The answer.
    Ready(T),
    /// There is none yet.
    Pending,
}
