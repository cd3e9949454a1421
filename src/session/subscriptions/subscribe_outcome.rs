//! A subscribe that is complete but for its answer, and the replays that begin behind the answer.

use foldhash::HashSet;

use super::entries::Entries;
use super::refused_topics::RefusedTopics;
use crate::codes::ErrorCode;
use crate::dialect::{Event, RequestId, StreamPosition};
use crate::hub::{Selection, TopicStart};
use crate::position::{Offset, Position};
use crate::shard::{Expansion, PatternSet, SessionContext};
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// A subscribe that is complete but for its answer.
pub struct SubscribeOutcome {
    entries: Entries,
    last: Option<usize>,
    before: PatternSet,
    /// The new patterns; `None`: there are none.
    selection: Option<Box<Selection>>,
    /// The topics that the session begins to receive.
    starts: Vec<TopicStart>,
    /// Their names. The search for the patterns' topics skips them.
    names: HashSet<TopicName>,
    refused: RefusedTopics,
}

impl SubscribeOutcome {
    /// The result with these `entries`, for a session that had the subscriptions `before` and asks for the `last` messages of each topic.
    pub fn new(
        mut entries: Entries,
        selection: Option<Box<Selection>>,
        before: PatternSet,
        last: Option<usize>,
        refused: RefusedTopics,
        context: &mut SessionContext<'_>,
    ) -> Self {
        let starts = entries.take_starts();
        let names = HashSet::with_capacity_and_hasher(starts.len(), Default::default());
        let mut done = Self { entries, last, before, selection, starts: Vec::with_capacity(starts.len()), names, refused };
        starts.for_each(|(start, was_covered)| done.add(start, was_covered, context));
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
        for TopicStart { topic, start } in &self.starts {
            let before = start.replay_from.map_or(start.position.offset, |next| Offset(next.0.saturating_sub(1)));
            let before = Position { offset: before, ..start.position };
            announced.advance(topic.name(), if start.recovered == Some(true) { before } else { start.position });
            before_replay.advance(topic.name(), before);
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
        self.starts.drain(..).for_each(|start| context.begin(start));
        if let Some(selection) = self.selection.take() {
            let (before, names) = (std::mem::take(&mut self.before), std::mem::take(&mut self.names));
            context.expand(Expansion::new(selection, before, names, self.last));
        }
    }

    /// Adds a topic, unless the session receives it already. A topic that an older subscription matches (`was_covered`) continues as it
    /// was, unless it was recovered.
    fn add(&mut self, TopicStart { topic, start }: TopicStart, was_covered: bool, context: &mut SessionContext<'_>) {
        let (name, recovered) = (topic.name(), start.recovered);
        let goes_on = recovered != Some(true) && was_covered;
        if goes_on || context.is_replaying(name) || !self.names.insert(name.clone()) {
            return;
        }
        if let Some(recovered) = recovered {
            context.count_recovery(recovered);
        }
        if recovered == Some(true) {
            context.conflate_held(name);
        }
        self.starts.push(TopicStart { topic, start });
    }
}
