//! What a session may do in its shard where its work takes several turns.

use std::sync::Arc;

use super::answer::Answer;
use super::catchup::Expansion;
use super::context::SessionContext;
use super::pattern_set::PatternSet;
use crate::hub::{Cursor, Selection, Slice, Start, Topic, Wanted};
use crate::topic_name::{Pattern, TopicName};

/// Places in the index of topics that are looked at in one slice.
const PLACES_PER_SLICE: usize = 256;

impl SessionContext<'_> {
    /// What `expansion` looks for begins, slice by slice; the first at once where the tick has steps left. Where that is all, no message
    /// behind the answer is taken for one to be replayed, however late the next tick is.
    pub fn expand(&mut self, expansion: Expansion) {
        let searches = expansion.may_find(&self.state.env.config.rules);
        let (pushed, taken) = (self.pushed(), self.state.env.taken());
        if self.state.catch_up.expand(self.slot, expansion, searches, pushed, taken) {
            if self.state.slices.has_steps()
                && let Some(work) = self.state.look_on(self.slot)
            {
                self.spend_steps(work.max(1));
            }
            self.state.delivery.look_closer(self.slot);
            self.state.table.look_again(self.slot);
        }
    }

    /// Whether a slice of long work may be done now. A small one needs no turn.
    pub fn take_turn(&mut self, is_small: bool) -> Answer<()> {
        if is_small || self.state.slices.takes_turn(self.slot) { Answer::Ready(()) } else { self.wait_for_turn() }
    }

    /// So many steps of about a microsecond were taken.
    pub fn spend_steps(&mut self, steps: usize) {
        self.state.slices.spend(steps);
    }

    /// The session has more to do, in its next turn.
    pub fn wait_for_turn(&mut self) -> Answer<()> {
        self.state.slices.wait(self.slot);
        self.wait()
    }

    /// From now on the session is given nothing that only subscriptions bring which are not in `before`: what it has asked for is not
    /// answered yet.
    pub fn withhold_new(&mut self, before: &Arc<PatternSet>) {
        self.state.catch_up.withhold_new(self.slot, before);
        self.state.delivery.look_closer(self.slot);
    }

    /// The answer follows now.
    pub fn end_withholding(&mut self) {
        self.state.catch_up.end_withholding(self.slot, self.state.env.taken());
    }

    /// Whether a topic lives.
    pub fn lives(&self, topic: &TopicName) -> bool {
        self.state.env.hub().find(topic).is_some()
    }

    /// A slice of the living topics that `selection` takes, from behind `after`.
    pub fn topics(&self, selection: &mut Selection, after: Option<&Cursor>) -> Slice<Topic> {
        self.state.env.hub().slice(selection, after, PLACES_PER_SLICE)
    }

    /// The session's topics are paced from now on. It has had no interval; [`SessionContext::pace_as_before`] is to follow for each
    /// subscription that it has.
    pub fn begin_pacing(&mut self) {
        self.state.pacing.begin(self.slot, std::iter::empty());
        self.state.delivery.look_closer(self.slot);
    }

    /// What `pattern` takes, a subscription without an interval, is paced as before.
    pub fn pace_as_before(&mut self, pattern: &Pattern) {
        self.state.pacing.set_interval(self.slot, pattern, None);
    }

    /// Ends one subscription; `false`: the session has none such. [`SessionContext::begin_to_leave`] is to follow.
    pub fn end_subscription(&mut self, pattern: &Pattern) -> bool {
        self.state.end_subscription(self.slot, pattern)
    }

    /// Subscriptions of the session have ended; [`SessionContext::leave`] is to follow.
    pub fn begin_to_leave(&mut self) {
        self.state.begin_to_leave(self.slot);
    }

    /// What `gone`, subscriptions that have ended, alone have brought is not replayed or held back any more: a part of no more than `most`
    /// topics. How many there were; fewer than `most`: that was all.
    pub fn leave(&mut self, gone: &PatternSet, most: usize) -> usize {
        self.state.leave(self.slot, gone, most)
    }

    /// How the session begins on `topic` as of now; `None`: it has died.
    pub fn start_on(&self, topic: &Topic, wanted: Wanted<'_>) -> Option<Start> {
        self.state.env.hub().start_on(topic, wanted)
    }

    /// Ready once all topics that the session's patterns match have begun.
    pub fn expanded(&mut self) -> Answer<()> {
        if self.state.catch_up.is_expanding(self.slot) { self.wait() } else { Answer::Ready(()) }
    }

    /// Takes the units of work that was done for the session beside its commands: one for `topics_per_unit` topics that were looked at.
    pub fn take_work(&mut self, topics_per_unit: usize) -> u32 {
        u32::try_from(self.state.slices.unpaid().take(self.slot, topics_per_unit)).unwrap_or(u32::MAX)
    }
}
