//! One subscribe as it is done: who hears what from which position, what is answered, and what is replayed.
//!
//! It is done in slices, and nothing new is given to the session before its answer. What only a small command asks for takes one slice.

use std::sync::Arc;
use std::time::Duration;

use super::admission::{Admission, admit};
use super::entries::Entries;
use super::new_patterns::NewPatterns;
use super::refused::Refused;
use super::steps::{STEPS_OF_SMALL, STEPS_PER_SLICE};
use super::subscribe_options::{LastSeen, SubscribeOptions, bytes_of};
use super::subscribed::Subscribed;
use crate::auth::Grants;
use crate::hub::{Cursor, Wanted};
use crate::metrics::Recovery;
use crate::session_id::Member;
use crate::shard::{Answer, PatternSet, SessionContext};
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// What a topic costs that lives, in steps.
const STEPS_PER_NAME: usize = 4;

/// What a topic costs that comes to life, in steps.
const STEPS_PER_NEW_NAME: usize = 8;

/// What it costs to note a subscription from before, in steps.
const STEPS_PER_NOTE: usize = 2;

/// Places in the index of topics that are looked at in a step.
const PLACES_PER_STEP: usize = 16;

/// What a topic takes that is done, with its entry in the answer and where it begins, in bytes.
const ENTRY_BYTES: usize = 250;

/// A subscribe that is being done. Nothing here is found by comparing it with all of something else.
pub struct Subscribing {
    topics: std::vec::IntoIter<Result<Pattern, TopicNameError>>,
    last: Option<usize>,
    interval: Option<Duration>,
    presence: bool,
    /// Where the client says it was.
    since: LastSeen,
    stage: Stage,
    /// About how many steps it takes, but for what the session had before.
    size: usize,
    /// About how much memory takes what it was asked for.
    asked_bytes: usize,
    /// Whether a pattern is among its topics.
    is_wild: bool,
    /// Whether it was interrupted: messages may have been published since its topics were looked at.
    is_sliced: bool,
    /// Whether `before` is needed: the command takes several turns, or topics are looked for.
    notes_before: bool,
    /// Subscriptions from before this command; what they take is not begun again.
    before: Arc<PatternSet>,
    /// Whether the session has had no intervals before, so that what it had is noted as having none.
    begins_pacing: bool,
    /// How many subscriptions the session should have by now.
    had: usize,
    entries: Entries,
    /// The patterns that the session had before.
    renewed: PatternSet,
    /// The patterns that it had not.
    patterns: NewPatterns,
    refused: Refused,
    /// Places in the index of topics that were looked at before the answer.
    looked_at: usize,
}

enum Stage {
    /// Its turn has not come yet.
    Waits,
    /// What the session had before is noted; these are left.
    Before(std::vec::IntoIter<Pattern>),
    /// Its topics are subscribed to.
    Topics,
    /// A topic in `since` that only a new pattern of this command takes gets an entry of its own. The index of the next.
    Since(usize),
    /// Each new pattern is to tell whether it has topics that `since` does not name.
    Unnamed(Option<Cursor>),
    /// Nothing is left to do but the answer.
    Done,
}

impl Subscribing {
    /// Nothing is done yet.
    pub fn new(topics: Vec<Result<Pattern, TopicNameError>>, options: SubscribeOptions<'static>) -> Self {
        let SubscribeOptions { last, since, interval, presence } = options;
        let since = LastSeen::new(since);
        Self {
            size: topics.len() * STEPS_PER_NAME + since.len(),
            asked_bytes: bytes_of(&topics) + since.bytes(),
            is_wild: topics.iter().flatten().any(Pattern::is_wild),
            is_sliced: false,
            notes_before: false,
            begins_pacing: false,
            had: 0,
            entries: Entries::with_capacity(topics.len()),
            topics: topics.into_iter(),
            last,
            interval,
            presence,
            since,
            stage: Stage::Waits,
            before: Arc::default(),
            renewed: PatternSet::default(),
            patterns: NewPatterns::default(),
            refused: Refused::default(),
            looked_at: 0,
        }
    }

    /// Goes on, for a session with these `grants` that presence shows as `member`. Once it is ready, [`Subscribing::finish`] is to follow
    /// at once.
    pub fn go_on(&mut self, grants: Option<&Grants>, member: &Member, context: &mut SessionContext<'_>) -> Answer<()> {
        if matches!(self.stage, Stage::Waits) {
            // One expansion at a time bounds what a session has under way.
            if self.is_wild && context.expanded() == Answer::Pending {
                return Answer::Pending;
            }
            self.notes_before = self.is_wild || self.size > STEPS_OF_SMALL || self.begins_to_be_paced(context);
        }
        let is_small = self.size + if self.notes_before { context.subscription_count() } else { 0 } <= STEPS_OF_SMALL;
        if context.take_turn(is_small) == Answer::Pending {
            return Answer::Pending;
        }
        let mut steps = 0;
        // Without what the session had before, it can't be interrupted; it is small then.
        while (steps < STEPS_PER_SLICE || !self.notes_before) && !matches!(self.stage, Stage::Done) {
            steps += self.step(grants, member, context);
        }
        context.spend_steps(steps);
        if matches!(self.stage, Stage::Done) {
            return Answer::Ready(());
        }
        if !matches!(self.stage, Stage::Before(_)) {
            self.is_sliced = true;
            context.withhold_new(&self.before);
        }
        context.wait_for_turn()
    }

    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.asked_bytes + self.entries.len() * ENTRY_BYTES
    }

    /// How many places in the index of topics were looked at for the answer.
    pub fn looked_at(&self) -> usize {
        self.looked_at
    }

    /// What was done, as of now.
    pub fn finish(mut self, context: &mut SessionContext<'_>) -> Subscribed {
        if self.is_sliced {
            context.end_withholding();
            let wanted = |topic: &TopicName| Wanted { since: self.since.of(topic), last: self.last };
            self.entries.look_anew(wanted, context);
        }
        self.entries.renew(self.presence, context);
        if self.is_sliced && context.subscription_count() != self.had {
            self.leave_out_ended(context);
        }
        self.set_options(context);
        let selection = self.patterns.into_selection();
        let done = Subscribed::new(self.entries, selection, self.before, self.last, self.refused, context);
        context.follow_intervals(); // last: of what it frees, nothing is replayed
        done
    }

    /// Whether the session has no intervals yet and gets one with this.
    fn begins_to_be_paced(&self, context: &SessionContext<'_>) -> bool {
        self.interval.is_some() && !context.is_paced()
    }

    /// One step; what it cost.
    fn step(&mut self, grants: Option<&Grants>, member: &Member, context: &mut SessionContext<'_>) -> usize {
        match &mut self.stage {
            Stage::Waits => {
                self.had = context.subscription_count();
                let before = if self.notes_before { context.patterns() } else { Vec::new() };
                self.begins_pacing = self.begins_to_be_paced(context);
                if self.begins_pacing {
                    context.begin_pacing();
                }
                self.stage = Stage::Before(before.into_iter());
                0
            }
            Stage::Before(before) => match before.next() {
                Some(pattern) => {
                    Arc::get_mut(&mut self.before).into_iter().for_each(|before| before.insert(&pattern));
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
                    self.recover_covered(topic, context);
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
                self.looked_at += slice.visited;
                slice.visited / PLACES_PER_STEP
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
            (Ok(Admission::Has), _) => {
                if pattern.is_wild() {
                    self.renewed.insert(&pattern);
                }
                self.entries.add_renewed(pattern);
            }
            (Ok(Admission::Place), Some(name)) => {
                let steps = if context.lives(&name) { STEPS_PER_NAME } else { STEPS_PER_NEW_NAME };
                self.by_name(&name, member, context);
                return steps;
            }
            (Ok(Admission::Place), None) => {
                context.subscribe_pattern(&pattern, self.interval);
                self.had += 1;
                self.patterns.add(&pattern, self.entries.len());
                self.entries.add(pattern, None);
            }
            (Err((code, reason)), _) => self.refused.add(code, pattern.as_str(), reason),
        }
        2
    }

    fn wanted(&self, topic: &TopicName) -> Wanted<'_> {
        Wanted { since: self.since.of(topic), last: self.last }
    }

    /// What the command names has its options from now on, and joins and leaves are told, or no more.
    fn set_options(&self, context: &mut SessionContext<'_>) {
        // All at once: what is held may not go out behind what has no interval any more.
        if self.interval.is_some() || context.is_paced() {
            self.entries.topics().for_each(|topic| context.set_interval(topic, self.interval));
        }
        if self.presence || context.is_watching() {
            self.entries.topics().for_each(|topic| context.watch(topic, self.presence));
        }
    }

    fn by_name(&mut self, name: &TopicName, member: &Member, context: &mut SessionContext<'_>) {
        // Where it is not noted, none of its own patterns takes the topic.
        let was_taken = if self.notes_before { self.before.matches(name) } else { context.takes(name) };
        match context.subscribe(name, member, self.wanted(name), self.interval) {
            Ok((begun, presence)) => {
                self.had += 1;
                self.entries.add_begun(begun, was_taken);
                if self.presence && !presence {
                    self.entries.add_presence_off(name.clone());
                }
            }
            Err(error) => {
                context.give_place_back(&Pattern::from(name.clone()));
                self.refused.add(error.code(), name.as_str(), format!("{name}: {error}"));
            }
        }
    }

    fn recover_covered(&mut self, topic: TopicName, context: &mut SessionContext<'_>) {
        if !self.patterns.take(&topic) || self.entries.has(&topic) || self.renewed.matches(&topic) {
            return;
        }
        match context.start(&topic, self.wanted(&topic)) {
            Some(mut begun) => {
                begun.start.recovered = begun.start.recovered.or(Some(false));
                let was_taken = self.before.matches(&topic);
                self.entries.add_begun(begun, was_taken);
            }
            None => {
                self.entries.add(Pattern::from(topic), Some(false));
                context.count_recovery(Recovery::Lost);
            }
        }
    }

    /// A topic was found that new patterns of this command take.
    fn note_unnamed(&mut self, topic: &TopicName) {
        if self.since.of(topic).is_none() {
            self.patterns.note(topic).into_iter().for_each(|entry| self.entries.is_not_recovered(entry));
        }
    }

    /// Subscriptions may have ended since, as grants do.
    fn leave_out_ended(&mut self, context: &SessionContext<'_>) {
        let is_kept = |topic: &Pattern| topic.as_name().map_or_else(|| context.is_subscribed(topic), |name| context.takes(&name));
        self.patterns.retain(is_kept);
        self.entries.retain(is_kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GrantLists;
    use crate::dialect::Since;
    use crate::position::Offset;
    use crate::session_id::SessionId;
    use crate::shard::tests::bench::Bench;
    use crate::topic_name::{COMPARISONS, Scope};

    /// A subscribe of somebody who may have all.
    fn begin(topics: impl IntoIterator<Item = String>, options: SubscribeOptions<'static>) -> Subscribing {
        Subscribing::new(topics.into_iter().map(|topic| Pattern::parse(&topic)).collect(), options)
    }

    /// Does a slice in the session's next turn.
    fn go_on(subscribing: &mut Subscribing, bench: &mut Bench) -> Answer<()> {
        let member = Member { session: SessionId::random(), user: None, info: None };
        let all = GrantLists { subscribe: vec![Scope::parse(">").unwrap()], publish: Vec::new() };
        subscribing.go_on(Some(&Grants::of(&all, None)), &member, &mut bench.context_in_turn())
    }

    /// How many entries the answer has.
    fn done(topics: impl IntoIterator<Item = String>, options: SubscribeOptions<'static>, bench: &mut Bench) -> usize {
        let mut subscribing = begin(topics, options);
        while go_on(&mut subscribing, bench) == Answer::Pending {}
        let done = subscribing.finish(&mut bench.context());
        let entries = done.told().len();
        done.begin_all(None, &mut bench.context());
        entries
    }

    /// Issue 14, row 8: a subscribe of 1,000 new names is done in slices, and what is published meanwhile is neither lost nor told before
    /// the answer. (It held its shard for some milliseconds.)
    #[test]
    fn a_long_subscribe_is_done_in_slices() {
        const TOPICS: usize = 1_000;
        let mut bench = Bench::new();
        let mut subscribing = begin((0..TOPICS).map(|number| format!("h.{number}")), SubscribeOptions::default());
        let mut slices = 0;
        while go_on(&mut subscribing, &mut bench) == Answer::Pending {
            slices += 1;
            bench.publish("h.0");
            assert!(bench.state().delivery.owes_nothing(0), "a message before the answer");
        }
        assert!(slices >= TOPICS * STEPS_PER_NEW_NAME / STEPS_PER_SLICE - 1, "{slices} slices");
        let done = subscribing.finish(&mut bench.context());
        let told = done.told().first().and_then(|entry| entry.position);
        assert_eq!((done.told().len(), told.map(|position| position.offset.0)), (TOPICS, Some(slices as u64)));
        done.begin_all(None, &mut bench.context());
        bench.publish("h.0");
        assert!(!bench.state().delivery.owes_nothing(0), "what is published behind the answer is live");
    }

    /// A subscription that ends while a long subscribe is being done has no entry, and what the session had before is told as it is now.
    /// (Its entry was looked for where it was before the other left, and a last one was past the end: the shard ended.)
    #[test]
    fn what_ends_meanwhile_has_no_entry() {
        const TOPICS: u64 = 1_000;
        let mut bench = Bench::new();
        let last = format!("h.{}", TOPICS - 1);
        bench.subscribe(&last);
        let mut subscribing = begin((0..TOPICS).map(|number| format!("h.{number}")), SubscribeOptions::default());
        while go_on(&mut subscribing, &mut bench) == Answer::Pending {
            bench.context().unsubscribe(&[Pattern::parse("h.0").unwrap()]);
        }
        bench.publish(&last);
        let done = subscribing.finish(&mut bench.context());
        let (first, last) = (done.told().first().unwrap(), done.told().last().unwrap());
        assert_eq!((done.told().len() as u64, first.topic.as_str()), (TOPICS - 1, "h.1"));
        assert_eq!(last.position.unwrap().offset, Offset(1));
    }

    /// A long subscribe that ends the pacing of a topic ends it with its answer: what is held goes out before newer messages. (It went out
    /// behind those that came between two slices.)
    #[test]
    fn pacing_ends_with_the_answer() {
        let mut bench = Bench::new();
        let paced = SubscribeOptions { interval: Some(Duration::from_secs(1)), ..SubscribeOptions::default() };
        done(["c.*".to_owned()], paced, &mut bench);
        (0..2).for_each(|_| bench.publish("c.1"));
        bench.flush();
        let mut subscribing = begin((1..1_000).map(|number| format!("c.{number}")), SubscribeOptions::default());
        while go_on(&mut subscribing, &mut bench) == Answer::Pending {
            bench.publish("c.1");
            assert!(bench.state().delivery.owes_nothing(0) && bench.state().pacing.bytes(0) > 0, "the newest is held still");
        }
        subscribing.finish(&mut bench.context()).begin_all(None, &mut bench.context());
        assert_eq!(bench.state().pacing.bytes(0), 0, "and goes out now");
    }

    /// Issue 14, row 4: a subscribe with many topics in `since`, by a session with many subscriptions, compares none of these with each
    /// of those. (It was `since` times what the session had, times the entries of the answer.)
    #[test]
    fn what_a_since_costs_does_not_grow_with_the_subscriptions() {
        const TOPICS: usize = 1_000;
        let mut bench = Bench::new();
        let before = (1..TOPICS).map(|number| format!("a.{number}.*"));
        assert_eq!(done(before, SubscribeOptions::default(), &mut bench), TOPICS - 1);
        (0..TOPICS).for_each(|number| bench.publish(&format!("h.{number}")));
        let since = |number| Since { topic: TopicName::parse(&format!("h.{number}")).unwrap(), epoch: "another".into(), offset: Offset(1) };
        let options = SubscribeOptions { since: (0..TOPICS).map(since).collect(), ..SubscribeOptions::default() };
        let compared = COMPARISONS.get();
        assert_eq!(done(["h.*".to_owned()], options, &mut bench), 1 + TOPICS);
        let compared = COMPARISONS.get() - compared;
        assert!(compared <= 10 * TOPICS, "{compared} comparisons");
    }
}
