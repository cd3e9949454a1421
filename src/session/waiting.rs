//! What a session waits for: a command that can't be done yet, and the answers to its publishes.

use std::collections::VecDeque;

use crate::hub::{PublishError, Receipt};
use crate::position::Position;
use crate::shard::{Answer, SessionContext};

/// Publishes of a session that an engine has and has not answered, at most. Past it nothing more is read.
const PUBLISHES_MAX: usize = 128;
/// What is kept for their answers, in bytes.
const ANSWERS_BYTES_MAX: usize = 64 << 10;

/// What one session waits for; `C` is a command, `P` what the answer to a publish needs.
pub struct Waiting<C, P> {
    command: Option<Box<C>>,
    /// Made for the first.
    published: Option<Box<Published<P>>>,
}

/// Publishes in their order. They are answered in it too, whichever the engine answers first.
struct Published<P> {
    publishes: VecDeque<(Receipt, P, usize)>,
    bytes: usize,
}

impl<C, P> Default for Waiting<C, P> {
    fn default() -> Self {
        Self { command: None, published: None }
    }
}

impl<C, P> Waiting<C, P> {
    /// `command` can't be done yet; nothing more is acted on before it is.
    pub fn hold(&mut self, command: C) {
        self.command = Some(Box::new(command));
    }

    /// The command that could not be done, to be tried again.
    pub fn take(&mut self) -> Option<C> {
        self.command.take().map(|command| *command)
    }

    /// Whether the next command may be read.
    pub fn is_over(&self) -> bool {
        self.command.is_none() && !self.is_full()
    }

    /// A publish is answered by `receipt`; its answer needs `about`, which takes so many bytes.
    pub fn publish(&mut self, receipt: Receipt, about: P, bytes: usize) {
        let published = self.published.get_or_insert_with(|| Box::new(Published { publishes: VecDeque::new(), bytes: 0 }));
        published.publishes.push_back((receipt, about, bytes));
        published.bytes += bytes;
    }

    /// About how much memory all of it takes, where a command takes what `of_command` says.
    pub fn bytes(&self, of_command: impl Fn(&C) -> usize) -> usize {
        let published = self.published.as_ref().map_or(0, |published| published.bytes);
        self.command.as_deref().map_or(0, of_command) + published
    }

    /// Whether publishes are not answered yet.
    pub fn has_published(&self) -> bool {
        self.published.is_some()
    }

    /// The next publish that can be answered, with its answer. `None`: the session is called again once there is one.
    pub fn next_answer(&mut self, context: &mut SessionContext<'_>) -> Option<(P, Result<Position, PublishError>)> {
        let reads_on = !self.is_full();
        let published = self.published.as_mut()?;
        let (receipt, ..) = published.publishes.front()?;
        let Answer::Ready(answer) = context.received(receipt, reads_on) else { return None };
        let (_, about, bytes) = published.publishes.pop_front()?;
        published.bytes -= bytes;
        if published.publishes.is_empty() {
            self.published = None;
        }
        Some((about, answer))
    }

    fn is_full(&self) -> bool {
        let is_full = |published: &Published<P>| published.publishes.len() >= PUBLISHES_MAX || published.bytes >= ANSWERS_BYTES_MAX;
        self.published.as_deref().is_some_and(is_full)
    }
}
