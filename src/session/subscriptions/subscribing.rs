//! A subscribe as it is executed: admission, positions, and the entries of its answer.
//!
//! A long subscribe takes several of its session's turns. Before its answer the session is sent no message that only the new subscriptions
//! match.

use std::task::Poll;
use std::time::Duration;

use super::admission::{Admission, admit};
use super::entries::Entries;
use super::new_patterns::NewPatterns;
use super::refused_topics::RefusedTopics;
use super::subscribe_options::{LastSeen, SubscribeOptions, bytes_of};
use super::subscribe_outcome::SubscribeOutcome;
use crate::auth::Grants;
use crate::hub::{Cursor, ReplayRequest};
use crate::session_id::Member;
use crate::shard::{PatternSet, STEPS_PER_PART, SessionContext};
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// The cost of a topic that exists, in steps.
const STEPS_PER_NAME: usize = 4;

/// The cost of a topic that is made, in steps.
const STEPS_PER_NEW_NAME: usize = 8;

/// The cost of noting a subscription that the session had before, in steps.
const STEPS_PER_NOTE: usize = 2;

/// The nodes of the index of topics that are visited in one step.
const NODES_PER_STEP: usize = 16;

/// The memory of an entry of the answer, with the start of its topic, in bytes.
const ENTRY_BYTES: usize = 250;

/// A subscribe that is being executed. Each look-up is by key: no list is compared with another list.
pub struct Subscribing {
    topics: std::vec::IntoIter<Result<Pattern, TopicNameError>>,
    last: Option<usize>,
    interval: Option<Duration>,
    presence: bool,
    /// The positions that the client has.
    since: LastSeen,
    stage: Stage,
    /// The approximate number of steps, without those for `before`.
    size: usize,
    /// The approximate memory of the command, in bytes.
    asked_bytes: usize,
    /// Whether the command has a pattern with wildcards.
    is_wild: bool,
    /// Whether a turn ended after positions were read, so that messages may have been published since.
    is_interrupted: bool,
    /// Whether `before` is needed: the command may take several turns, or has patterns.
    notes_before: bool,
    /// The subscriptions that the session had before, without those that have ended since. Topics that they match do not begin again. The
    /// shard keeps them between two turns.
    before: PatternSet,
    /// Whether the command gives the session its first interval. The older subscriptions are then noted as having none.
    begins_pacing: bool,
    /// How many subscriptions the session has if none has ended meanwhile.
    subscriptions_expected: usize,
    entries: Entries,
    /// The patterns of the command that the session had before.
    renewed: PatternSet,
    /// The patterns of the command that are new.
    patterns: NewPatterns,
    refused: RefusedTopics,
    /// How many nodes of the index of topics were visited before the answer.
    visited: usize,
}

enum Stage {
    /// Nothing has been done yet.
    New,
    /// The subscriptions that the session had before are noted. The iterator has those that are left.
    Before(std::vec::IntoIter<Pattern>),
    /// The topics of the command are subscribed to.
    Topics,
    /// Each topic in `since` that only a new pattern matches gets an entry of its own. The number is the index of the next topic.
    Since(usize),
    /// The index of topics is searched for topics of new patterns that `since` does not name. An entry with such a topic is not recovered.
    Unnamed(Option<Cursor>),
    /// All is done but the answer.
    Done,
}

impl Subscribing {
    /// A command that has not begun.
    pub fn new(topics: Vec<Result<Pattern, TopicNameError>>, options: SubscribeOptions<'static>) -> Self {
        let SubscribeOptions { last, since, interval, presence } = options;
        let since = LastSeen::new(since);
        Self {
            size: topics.len() * STEPS_PER_NAME + since.len(),
            asked_bytes: bytes_of(&topics) + since.bytes(),
            is_wild: topics.iter().flatten().any(Pattern::is_wild),
            is_interrupted: false,
            notes_before: false,
            begins_pacing: false,
            subscriptions_expected: 0,
            entries: Entries::with_capacity(topics.len()),
            topics: topics.into_iter(),
            last,
            interval,
            presence,
            since,
            stage: Stage::New,
            before: PatternSet::default(),
            renewed: PatternSet::default(),
            patterns: NewPatterns::default(),
            refused: RefusedTopics::default(),
            visited: 0,
        }
    }

    /// Continues the command until it is done or its session's turn is over. The session has these `grants`, and presence shows it as `member`.
    /// Once the answer is ready, [`Subscribing::finish`] is to follow at once.
    pub fn resume(&mut self, grants: Option<&Grants>, member: &Member, context: &mut SessionContext<'_>) -> Poll<()> {
        self.before = context.take_before().unwrap_or_default();
        if matches!(self.stage, Stage::New) {
            // A session runs one search of the index at a time.
            if self.is_wild && context.when_expanded().is_pending() {
                return Poll::Pending;
            }
            self.notes_before = self.is_wild || self.size > STEPS_PER_PART || self.begins_to_be_paced(context);
            if self.size > STEPS_PER_PART && context.begins_late() {
                return context.wait_for_turn();
            }
        }
        loop {
            self.run_part(grants, member, context);
            if matches!(self.stage, Stage::Done) {
                return Poll::Ready(());
            }
            if context.is_turn_over() {
                break;
            }
        }
        self.is_interrupted = !matches!(self.stage, Stage::Before(_));
        context.keep_before(std::mem::take(&mut self.before), self.is_interrupted);
        context.wait_for_turn()
    }

    /// Takes some steps. A command without `before` can't be interrupted; it is small.
    fn run_part(&mut self, grants: Option<&Grants>, member: &Member, context: &mut SessionContext<'_>) {
        let mut steps = 0;
        while (steps < STEPS_PER_PART || !self.notes_before) && !matches!(self.stage, Stage::Done) {
            steps += self.step(grants, member, context);
        }
    }

    /// The approximate memory of the command, in bytes.
    pub fn bytes(&self) -> usize {
        self.asked_bytes + self.entries.len() * ENTRY_BYTES
    }

    /// How many nodes of the index of topics were visited.
    pub fn visited(&self) -> usize {
        self.visited
    }

    /// Completes the command. The positions of the answer are those of this moment.
    pub fn finish(mut self, context: &mut SessionContext<'_>) -> SubscribeOutcome {
        if self.is_interrupted {
            let wanted = |topic: &TopicName| ReplayRequest { since: self.since.of(topic), last: self.last };
            self.entries.reread(wanted, &self.before);
        }
        self.entries.renew(self.presence, context);
        if self.is_interrupted && context.subscription_count() != self.subscriptions_expected {
            self.remove_ended(context);
        }
        self.set_options(context);
        let selection = self.patterns.into_selection();
        let done = SubscribeOutcome::new(self.entries, selection, self.before, self.last, self.refused, context);
        context.adapt_intervals(); // last, so that no message that this releases is replayed as well
        done
    }

    /// Whether the command gives the session its first interval.
    fn begins_to_be_paced(&self, context: &SessionContext<'_>) -> bool {
        self.interval.is_some() && !context.is_paced()
    }

    /// Takes one step. Returns the cost, in steps.
    fn step(&mut self, grants: Option<&Grants>, member: &Member, context: &mut SessionContext<'_>) -> usize {
        match &mut self.stage {
            Stage::New => {
                self.subscriptions_expected = context.subscription_count();
                let before = if self.notes_before { context.patterns() } else { Vec::new() };
                self.begins_pacing = self.begins_to_be_paced(context);
                if self.begins_pacing {
                    context.begin_pacing();
                }
                self.stage = Stage::Before(before.into_iter());
                0
            }
            Stage::Before(before) => match before.next() {
                Some(pattern) if !context.is_subscribed(&pattern) => 1,
                Some(pattern) => {
                    self.before.insert(&pattern);
                    if self.begins_pacing {
                        context.pace_as_before(&pattern);
                    }
                    STEPS_PER_NOTE
                }
                None => {
                    self.stage = Stage::Topics;
                    0
                }
            },
            Stage::Topics => match self.topics.next() {
                Some(topic) => self.subscribe(topic, grants, member, context),
                None => {
                    self.stage = Stage::Since(0);
                    0
                }
            },
            Stage::Since(index) => {
                let at = *index;
                *index += 1;
                if let Some(topic) = self.since.topic(at).cloned() {
                    self.recover_matched(topic, context);
                    return 1;
                }
                self.stage = if self.since.len() == 0 || self.patterns.are_noted() { Stage::Done } else { Stage::Unnamed(None) };
                0
            }
            Stage::Unnamed(after) => {
                let slice = context.topics(self.patterns.selection(), after.as_ref());
                *after = slice.next;
                if after.is_none() {
                    self.stage = Stage::Done;
                }
                slice.topics.iter().for_each(|topic| self.note_unnamed(topic.name()));
                if self.patterns.are_noted() {
                    self.stage = Stage::Done;
                }
                self.visited += slice.visited;
                slice.visited / NODES_PER_STEP
            }
            Stage::Done => 0,
        }
    }

    fn subscribe(
        &mut self,
        topic: Result<Pattern, TopicNameError>,
        grants: Option<&Grants>,
        member: &Member,
        context: &mut SessionContext<'_>,
    ) -> usize {
        let pattern = match topic {
            Ok(pattern) => pattern,
            Err(error) => {
                self.refused.add(error.code(), error.name(), error.to_string());
                return 1;
            }
        };
        match (admit(grants, &pattern, context), pattern.as_name()) {
            (Ok(Admission::Existing), _) => {
                if pattern.is_wild() {
                    self.renewed.insert(&pattern);
                }
                self.entries.add_renewed(pattern);
            }
            (Ok(Admission::Reserved), Some(name)) => {
                let steps = if context.lives(&name) { STEPS_PER_NAME } else { STEPS_PER_NEW_NAME };
                self.by_name(&name, member, context);
                return steps;
            }
            (Ok(Admission::Reserved), None) => {
                context.subscribe_pattern(&pattern, self.interval);
                self.subscriptions_expected += 1;
                self.patterns.add(&pattern, self.entries.len());
                self.entries.add(pattern, None);
            }
            (Err((code, reason)), _) => self.refused.add(code, pattern.as_str(), reason),
        }
        2
    }

    fn wanted(&self, topic: &TopicName) -> ReplayRequest<'_> {
        ReplayRequest { since: self.since.of(topic), last: self.last }
    }

    /// Sets the options of all topics and patterns of the command.
    fn set_options(&self, context: &mut SessionContext<'_>) {
        // All at once, so that no held message is sent behind a newer one whose interval has ended.
        if self.interval.is_some() || context.is_paced() {
            self.entries.topics().for_each(|topic| context.set_interval(topic, self.interval));
        }
        if self.presence || context.is_watching() {
            self.entries.topics().for_each(|topic| context.watch(topic, self.presence));
        }
    }

    fn by_name(&mut self, name: &TopicName, member: &Member, context: &mut SessionContext<'_>) {
        // Without `before`, the command has no patterns, and each covering subscription is an older one.
        let was_covered = if self.notes_before { self.before.matches(name) } else { context.covers(name) };
        match context.subscribe(name, member, self.wanted(name), self.interval) {
            Ok(start) => {
                self.subscriptions_expected += 1;
                self.entries.add_start(start, was_covered);
                if self.presence && !context.config().rules.of(name).presence {
                    self.entries.add_presence_off(name.clone());
                }
            }
            Err(error) => {
                context.release_subscription(&Pattern::from(name.clone()));
                self.refused.add(error.code(), name.as_str(), format!("{name}: {error}"));
            }
        }
    }

    /// Adds an entry for a topic in `since`, if only new patterns match the topic.
    fn recover_matched(&mut self, topic: TopicName, context: &mut SessionContext<'_>) {
        if !self.patterns.match_unnoted(&topic) || self.entries.has(&topic) || self.renewed.matches(&topic) {
            return;
        }
        match context.start(&topic, self.wanted(&topic)) {
            Some(mut found) => {
                found.start.recovered.get_or_insert(false);
                let was_covered = self.before.matches(&topic);
                self.entries.add_start(found, was_covered);
            }
            None => {
                self.entries.add(Pattern::from(topic), Some(false));
                context.count_recovery(false);
            }
        }
    }

    /// Notes a topic that the search for the new patterns found.
    fn note_unnamed(&mut self, topic: &TopicName) {
        if self.since.of(topic).is_none() {
            self.patterns.note(topic).into_iter().for_each(|entry| self.entries.mark_not_recovered(entry));
        }
    }

    /// Removes entries of subscriptions that have ended between two turns, as when grants end.
    fn remove_ended(&mut self, context: &SessionContext<'_>) {
        let is_kept = |topic: &Pattern| topic.as_name().map_or_else(|| context.is_subscribed(topic), |name| context.covers(&name));
        self.patterns.retain(is_kept);
        self.entries.retain(is_kept);
    }
}

#[cfg(test)]
mod tests;
