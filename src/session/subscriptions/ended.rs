//! Subscriptions that end together. What only they matched is given up in parts after that.

use crate::shard::{PatternSet, SessionContext};
use crate::topic_name::Pattern;

/// The memory of an ended subscription, in bytes.
const ENDED_BYTES: usize = 100;

/// Subscriptions that have ended.
#[derive(Default)]
pub struct Ended {
    list: Vec<Pattern>,
    /// The patterns in `list`, for matching.
    gone: PatternSet,
    /// Whether the list is complete, and the replays and held messages that only these subscriptions matched are being given up.
    is_pruning: bool,
}

impl Ended {
    /// Ends the subscription to `pattern`; `false`: the session has none. None is ended after [`Ended::prune`].
    pub fn end(&mut self, pattern: &Pattern, context: &mut SessionContext<'_>) -> bool {
        let ends = context.end_subscription(pattern);
        if ends {
            self.gone.insert(pattern);
            self.list.push(pattern.clone());
        }
        ends
    }

    /// Gives up replays and held messages that only the ended subscriptions matched, for at most `most` topics. Returns how many topics were
    /// examined; fewer than `most` means that all were.
    pub fn prune(&mut self, most: usize, context: &mut SessionContext<'_>) -> usize {
        if self.list.is_empty() {
            return 0;
        }
        if !std::mem::replace(&mut self.is_pruning, true) {
            context.begin_pruning();
        }
        context.prune(&self.gone, most)
    }

    /// The approximate memory of the list, in bytes.
    pub fn bytes(&self) -> usize {
        self.list.len() * ENDED_BYTES
    }

    /// The subscriptions that have ended, in their order.
    pub fn into_list(self) -> Vec<Pattern> {
        self.list
    }

    /// The subscriptions that have ended, in their order.
    pub fn list(&self) -> &[Pattern] {
        &self.list
    }
}
