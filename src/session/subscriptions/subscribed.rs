//! What a subscribe has done: its answer, and what begins with that.

use std::sync::Arc;

use foldhash::HashSet;

use super::entries::Entries;
use super::refused::Refused;
use crate::codes::ErrorCode;
use crate::dialect::{Event, RequestId, StreamPosition};
use crate::hub::Selection;
use crate::metrics::Recovery;
use crate::position::{Offset, Position};
use crate::shard::{Begun, Expansion, PatternSet, SessionContext};
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// What a subscribe has done.
pub struct Subscribed {
    entries: Entries,
    last: Option<usize>,
    before: Arc<PatternSet>,
    /// The patterns that the session had not; `None`: there are none.
    selection: Option<Box<Selection>>,
    /// Topics that begin by themselves, whatever matches.
    begun: HashSet<TopicName>,
    to_begin: Vec<Begun>,
    refused: Refused,
}

impl Subscribed {
    /// What `entries` tell, where the session had `before` and has asked for the `last` messages of each topic.
    pub fn new(
        mut entries: Entries,
        selection: Option<Box<Selection>>,
        before: Arc<PatternSet>,
        last: Option<usize>,
        refused: Refused,
        context: &mut SessionContext<'_>,
    ) -> Self {
        let begins = entries.take_begins();
        let count = begins.len();
        let begun = HashSet::with_capacity_and_hasher(count, Default::default());
        let mut done = Self { entries, last, before, selection, begun, to_begin: Vec::with_capacity(count), refused };
        begins.for_each(|(begun, was_taken)| done.begin(begun, was_taken, context));
        done
    }

    /// What is told of each topic.
    #[cfg(test)]
    pub fn told(&self) -> &[crate::dialect::SubscribedTopic] {
        self.entries.told()
    }

    /// Says what was done, if anything was.
    pub fn answer(&self, id: Option<RequestId<'_>>, context: &mut SessionContext<'_>) {
        if !self.entries.told().is_empty() {
            context.say(&Event::Subscribed { id, topics: self.entries.told() });
        }
    }

    /// After the answer: what begins, then what was refused.
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

    /// Where a stream of `topics` stands that begins with this: what its first `id` tells, and where it really is, before what is
    /// replayed. What a stream goes on from is told as it is: whoever is torn off before the replay comes back there.
    pub fn stands(&self, topics: &[Result<Pattern, TopicNameError>]) -> (StreamPosition, StreamPosition) {
        let mut told = StreamPosition::new(topics.iter().map(|topic| topic.clone().ok()));
        let mut stands = told.clone();
        for begun in &self.to_begin {
            let (name, start) = (begun.topic.name(), &begun.start);
            let before = start.replay_from.map_or(start.position.offset, |next| Offset(next.0.saturating_sub(1)));
            let before = Position { offset: before, ..start.position };
            told.advance(name, if start.recovered == Some(true) { before } else { start.position });
            stands.advance(name, before);
        }
        (told, stands)
    }

    /// Says what was done as a stream does, if anything was; `told` and `stands` are its [`Subscribed::stands`].
    pub fn begin_stream(&self, told: &StreamPosition, stands: &StreamPosition, context: &mut SessionContext<'_>) {
        if !self.entries.told().is_empty() {
            context.say(&Event::StreamBegun { topics: self.entries.told(), told, stands });
        }
    }

    /// What begins where no word can be said; the reason, if it was refused.
    pub fn begin_raw(mut self, context: &mut SessionContext<'_>) -> Result<(), String> {
        self.begin_topics(context);
        self.refused.first().map_or(Ok(()), |reason| Err(reason.to_owned()))
    }

    /// What was named is replayed before what patterns match.
    fn begin_topics(&mut self, context: &mut SessionContext<'_>) {
        self.to_begin.drain(..).for_each(|begun| context.begin(begun));
        if let Some(selection) = self.selection.take() {
            let begun = std::mem::take(&mut self.begun);
            context.expand(Expansion::new(selection, Arc::clone(&self.before), begun, self.last));
        }
    }

    /// Has a topic begin, unless it has already; one that an older subscription takes (`was_taken`) goes on as it was.
    fn begin(&mut self, begun: Begun, was_taken: bool, context: &mut SessionContext<'_>) {
        let name = begun.topic.name().clone();
        let goes_on = begun.start.recovered != Some(true) && was_taken;
        if goes_on || context.is_replaying(&name) || !self.begun.insert(name) {
            return;
        }
        if let Some(recovered) = begun.start.recovered {
            context.count_recovery(if recovered { Recovery::Recovered } else { Recovery::Lost });
        }
        if begun.start.recovered == Some(true) {
            context.give_up_held(begun.topic.name());
        }
        self.to_begin.push(begun);
    }
}
