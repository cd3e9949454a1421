//! A subscribe that is complete but for its answer, and the replays that begin behind the answer.

use std::sync::Arc;

use foldhash::HashSet;

use super::entries::Entries;
use super::refused_topics::RefusedTopics;
use crate::codes::ErrorCode;
use crate::dialect::{Event, RequestId, StreamPosition};
use crate::hub::{Selection, TopicStart};
use crate::metrics::Recovery;
use crate::position::{Offset, Position};
use crate::shard::{Expansion, PatternSet, SessionContext};
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// A subscribe that is complete but for its answer.
pub struct SubscribeOutcome {
    entries: Entries,
    last: Option<usize>,
    before: Arc<PatternSet>,
    /// The new patterns; `None`: there are none.
    selection: Option<Box<Selection>>,
    /// Topics in `to_begin`. The search for the patterns' topics skips them.
    begun: HashSet<TopicName>,
    to_begin: Vec<TopicStart>,
    refused: RefusedTopics,
}

impl SubscribeOutcome {
    /// The result with these `entries`, for a session that had the subscriptions `before` and asks for the `last` messages of each topic.
    pub fn new(
        mut entries: Entries,
        selection: Option<Box<Selection>>,
        before: Arc<PatternSet>,
        last: Option<usize>,
        refused: RefusedTopics,
        context: &mut SessionContext<'_>,
    ) -> Self {
        let begins = entries.take_begins();
        let count = begins.len();
        let begun = HashSet::with_capacity_and_hasher(count, Default::default());
        let mut done = Self { entries, last, before, selection, begun, to_begin: Vec::with_capacity(count), refused };
        begins.for_each(|(begun, was_covered)| done.begin(begun, was_covered, context));
        done
    }

    /// The entries of the answer.
    #[cfg(test)]
    pub fn entries(&self) -> &[crate::dialect::SubscribedTopic] {
        self.entries.list()
    }

    /// Sends `subscribed`, if there are entries.
    pub fn answer(&self, id: Option<RequestId<'_>>, context: &mut SessionContext<'_>) {
        if !self.entries.list().is_empty() {
            context.send(&Event::Subscribed { id, topics: self.entries.list() });
        }
    }

    /// Called after the answer: begins the topics, then sends the errors.
    pub fn begin_all(mut self, id: Option<RequestId<'_>>, context: &mut SessionContext<'_>) {
        self.begin_topics(context);
        self.refused.answer(id, context);
        let presence_off = self.entries.presence_off();
        if !presence_off.is_empty() {
            let names: Vec<&str> = presence_off.iter().map(TopicName::as_str).collect();
            let message = format!("subscribed, but without joins and leaves, which the rule has off: {}", names.join(", "));
            context.refuse(id, ErrorCode::PresenceOff, &message);
        }
    }

    /// The positions of a stream of `topics` that begins with this subscribe: the one that its first `id` tells, and the actual one, before
    /// the replay. Both agree for topics that were recovered, so that a client that is disconnected during the replay resumes there.
    pub fn stream_positions(&self, topics: &[Result<Pattern, TopicNameError>]) -> (StreamPosition, StreamPosition) {
        let mut announced = StreamPosition::new(topics.iter().map(|topic| topic.clone().ok()));
        let mut before_replay = announced.clone();
        for begun in &self.to_begin {
            let (name, start) = (begun.topic.name(), &begun.start);
            let before = start.replay_from.map_or(start.position.offset, |next| Offset(next.0.saturating_sub(1)));
            let before = Position { offset: before, ..start.position };
            announced.advance(name, if start.recovered == Some(true) { before } else { start.position });
            before_replay.advance(name, before);
        }
        (announced, before_replay)
    }

    /// Sends the first event of a stream, if there are entries. `announced` and `before_replay` are the [`SubscribeOutcome::stream_positions`].
    pub fn begin_stream(&self, announced: &StreamPosition, before_replay: &StreamPosition, context: &mut SessionContext<'_>) {
        if !self.entries.list().is_empty() {
            context.send(&Event::StreamBegun { topics: self.entries.list(), announced, before_replay });
        }
    }

    /// Begins the topic of a raw session, which gets no answer. An error is the reason of a refusal.
    pub fn begin_raw(mut self, context: &mut SessionContext<'_>) -> Result<(), String> {
        self.begin_topics(context);
        self.refused.first().map_or(Ok(()), |reason| Err(reason.to_owned()))
    }

    /// Begins the topics that were named, then the search for those that patterns match. Replays follow this order.
    fn begin_topics(&mut self, context: &mut SessionContext<'_>) {
        self.to_begin.drain(..).for_each(|begun| context.begin(begun));
        if let Some(selection) = self.selection.take() {
            let begun = std::mem::take(&mut self.begun);
            context.expand(Expansion::new(selection, Arc::clone(&self.before), begun, self.last));
        }
    }

    /// Notes a topic that begins, unless it has begun already. A topic that an older subscription matches (`was_covered`) continues as it
    /// was, unless it was recovered.
    fn begin(&mut self, begun: TopicStart, was_covered: bool, context: &mut SessionContext<'_>) {
        let name = begun.topic.name().clone();
        let goes_on = begun.start.recovered != Some(true) && was_covered;
        if goes_on || context.is_replaying(&name) || !self.begun.insert(name) {
            return;
        }
        if let Some(recovered) = begun.start.recovered {
            context.count_recovery(if recovered { Recovery::Recovered } else { Recovery::Lost });
        }
        if begun.start.recovered == Some(true) {
            context.conflate_held(begun.topic.name());
        }
        self.to_begin.push(begun);
    }
}
