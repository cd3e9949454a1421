//! The operations of a session in its shard while a long command is carried out.

use std::task::Poll;

use super::session_context::SessionContext;
use crate::hub::{Cursor, Selection, Slice, Topic};
use crate::shard::catchup::Expansion;
use crate::shard::pattern_set::PatternSet;
use crate::topic_name::{Pattern, TopicName};

/// The steps of a long command between two reads of the clock. A step takes at most about a microsecond.
pub const STEPS_PER_PART: usize = 64;

/// The most nodes of the index of topics that one slice visits.
const NODES_PER_SLICE: usize = 256;

impl SessionContext<'_> {
    /// Begins to search the topics that `expansion` matches, slice by slice. The first slice runs at once. So a small
    /// search is usually complete before a message is published behind the answer.
    pub fn expand(&mut self, expansion: Expansion) {
        let searches = expansion.may_find(&self.state.env.config.rules);
        let (pushed, processed) = (self.pushed(), self.state.env.processed());
        if self.state.catch_up.expand(self.slot, expansion, searches, pushed, processed) {
            self.state.run_expansion_slice(self.slot);
            self.state.delivery.outgoing.use_slow_path(self.slot);
            self.state.table.schedule(self.slot);
        }
    }

    /// Keeps the subscriptions from before a subscribe until its next turn. With `withholds_new`, messages that none of
    /// them matches are withheld, because the answer to the subscribe of the others is not sent yet.
    pub fn keep_before(&mut self, before: PatternSet, withholds_new: bool) {
        self.state.catch_up.keep_before(self.slot, before, withholds_new);
        self.state.delivery.outgoing.use_slow_path(self.slot);
    }

    /// Takes the subscriptions that were kept, without those that have ended since. Nothing is withheld any more: the
    /// answer, or [`SessionContext::keep_before`], follows in the same turn.
    pub fn take_before(&mut self) -> Option<PatternSet> {
        self.state.catch_up.take_before(self.slot, self.state.env.processed())
    }

    /// Whether the hub has a topic of this name.
    pub fn lives(&self, topic: &TopicName) -> bool {
        self.state.env.hub().find(topic).is_some()
    }

    /// A slice of the hub's topics that `selection` matches, from behind `after`.
    pub fn topics(&self, selection: &mut Selection, after: Option<&Cursor>) -> Slice<Topic> {
        self.state.env.hub().slice(selection, after, NODES_PER_SLICE)
    }

    /// Begins to pace the topics of a session that has had no interval. [`SessionContext::pace_as_before`] has to
    /// follow for each of its subscriptions.
    pub fn begin_pacing(&mut self) {
        self.state.pacing.begin(self.slot, std::iter::empty());
        self.state.delivery.outgoing.use_slow_path(self.slot);
    }

    /// Notes that the older subscription to `pattern` has no interval.
    pub fn pace_as_before(&mut self, pattern: &Pattern) {
        self.state.pacing.set_interval(self.slot, pattern, None);
    }

    /// Ends the subscription to `pattern`. Returns `false` if there is none. [`SessionContext::begin_pruning`] has to
    /// follow.
    pub fn end_subscription(&mut self, pattern: &Pattern) -> bool {
        self.state.end_subscription(self.slot, pattern)
    }

    /// Notes that subscriptions of the session have ended. [`SessionContext::prune`] has to follow.
    pub fn begin_pruning(&mut self) {
        self.state.begin_pruning(self.slot);
    }

    /// Gives up replays and held messages that only the ended subscriptions `gone` matched, for at most `most` topics.
    /// Returns how many topics were examined; fewer than `most` means that all were.
    pub fn prune(&mut self, gone: &PatternSet, most: usize) -> usize {
        self.state.prune(self.slot, gone, most)
    }

    /// Ready once the search for the topics that the session's patterns match is complete.
    pub fn when_expanded(&mut self) -> Poll<()> {
        if self.state.catch_up.is_expanding(self.slot) { self.wait() } else { Poll::Ready(()) }
    }

    /// Takes the work that was done for the session beside its commands, in units of `topics_per_unit` examined topics.
    pub fn take_work(&mut self, topics_per_unit: usize) -> u32 {
        u32::try_from(self.state.uncharged.take(self.slot, topics_per_unit)).unwrap_or(u32::MAX)
    }
}
