//! One subscribe as it is done: who hears what from which position, what is answered, and what is replayed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::refused::Refused;
use crate::codes::ErrorCode;
use crate::dialect::{Event, RequestId, Since, SubscribedTopic};
use crate::hub::Wanted;
use crate::metrics::Recovery;
use crate::position::Position;
use crate::session_id::Member;
use crate::shard::{Begun, PatternSet, SessionContext, SubscriptionOptions};
use crate::topic_name::{Pattern, TopicName};

/// What a subscribe asks for beside its topics.
#[derive(Debug, Default)]
pub struct SubscribeOptions<'a> {
    /// The newest messages of each topic; its rule's where it says nothing.
    pub last: Option<usize>,
    /// Where the client says it was.
    pub since: Vec<Since<'a>>,
    /// At most one message per topic in that time.
    pub interval: Option<Duration>,
    /// Whether joins and leaves are told.
    pub presence: bool,
}

/// What a command's topics come to, in their order.
pub struct Plan {
    pub steps: Vec<Step>,
    pub refused: Refused,
}

/// What one topic of a command comes to.
pub enum Step {
    /// It is subscribed to; a place was taken for it.
    Add(Pattern),
    /// The session has it: it gets this command's options.
    Replace(Pattern),
}

/// What a subscribe has done. Nothing here is found by comparing it with all of something else.
pub struct Subscribed<'a> {
    options: &'a SubscribeOptions<'a>,
    since: HashMap<&'a TopicName, &'a Since<'a>>,
    /// Subscriptions from before this command; what they take is not begun again.
    before: PatternSet,
    entries: Vec<SubscribedTopic>,
    /// The topics and patterns of `entries`.
    told: PatternSet,
    /// Those of them that the session had before.
    renewed: PatternSet,
    /// Topics that begin with this command, so that one is replayed once, whatever matches.
    begun: HashSet<TopicName>,
    to_begin: Vec<Begun>,
    refused: Refused,
    presence_off: Vec<TopicName>,
    /// Topics that its patterns matched.
    matched: usize,
}

impl<'a> SubscribeOptions<'a> {
    fn of_subscription(&self) -> SubscriptionOptions {
        SubscriptionOptions { interval: self.interval, presence: self.presence }
    }
}

impl<'a> Subscribed<'a> {
    /// Does what `plan` says for `member`.
    pub fn by(plan: Plan, options: &'a SubscribeOptions<'a>, member: &Member, context: &mut SessionContext<'_>) -> Self {
        let mut since = HashMap::with_capacity(options.since.len());
        for of_topic in &options.since {
            since.entry(&of_topic.topic).or_insert(of_topic);
        }
        let mut done = Self {
            options,
            since,
            before: context.subscription_set(),
            entries: Vec::with_capacity(plan.steps.len()),
            told: PatternSet::default(),
            renewed: PatternSet::default(),
            begun: HashSet::new(),
            to_begin: Vec::new(),
            refused: plan.refused,
            presence_off: Vec::new(),
            matched: 0,
        };
        // A topic that this command names begins where its own entry says, not where a pattern's look found it.
        let named: HashSet<TopicName> = plan.steps.iter().filter_map(|step| step.pattern().as_name()).collect();
        let mut found_by_pattern = Vec::new();
        for step in plan.steps {
            match step {
                Step::Replace(pattern) => done.replace_options(pattern, context),
                Step::Add(pattern) => match pattern.as_name() {
                    Some(name) => done.by_name(&name, member, context),
                    None => done.by_pattern(pattern, &named, &mut found_by_pattern, context),
                },
            }
        }
        context.follow_intervals();
        found_by_pattern.into_iter().for_each(|begun| done.begin(begun, context));
        done.recover_covered(context);
        done
    }

    /// How many topics its patterns matched.
    pub fn matched(&self) -> usize {
        self.matched
    }

    /// Says what was done, if anything was.
    pub fn answer(&self, id: Option<RequestId<'_>>, context: &mut SessionContext<'_>) {
        if !self.entries.is_empty() {
            context.say(&Event::Subscribed { id, topics: &self.entries });
        }
    }

    /// After the answer: what begins, then what was refused.
    pub fn begin_all(self, id: Option<RequestId<'_>>, context: &mut SessionContext<'_>) {
        self.to_begin.into_iter().for_each(|begun| context.begin(begun));
        self.refused.answer(id, context);
        if !self.presence_off.is_empty() {
            let names: Vec<&str> = self.presence_off.iter().map(TopicName::as_str).collect();
            let message = format!("subscribed, but without joins and leaves, which the rule has off: {}", names.join(", "));
            context.refuse(id, ErrorCode::PresenceOff, &message);
        }
    }

    /// What begins where no word can be said; the reason, if it was refused.
    pub fn begin_raw(self, context: &mut SessionContext<'_>) -> Result<(), String> {
        self.to_begin.into_iter().for_each(|begun| context.begin(begun));
        self.refused.first().map_or(Ok(()), |reason| Err(reason.to_owned()))
    }

    fn wanted(&self, topic: &TopicName) -> Wanted<'a> {
        Wanted { since: self.since.get(topic).map(|since| (&*since.epoch, since.offset)), last: self.options.last }
    }

    /// A subscription that the session has gets this command's options; nothing is replayed.
    fn replace_options(&mut self, pattern: Pattern, context: &mut SessionContext<'_>) {
        context.set_options(&pattern, self.options.of_subscription());
        let name = pattern.as_name();
        let position = name.as_ref().and_then(|name| context.position(name));
        self.renewed.insert(&pattern);
        self.tell(pattern, position, None);
        if let Some(name) = name.filter(|_| self.options.presence) {
            self.note_presence(&name, context.config().rules.of(&name).presence);
        }
    }

    fn by_name(&mut self, name: &TopicName, member: &Member, context: &mut SessionContext<'_>) {
        match context.subscribe(name, self.options.of_subscription(), member, self.wanted(name)) {
            Ok((begun, presence)) => {
                self.tell(Pattern::from(name.clone()), Some(begun.start.position), begun.start.recovered);
                self.begin(begun, context);
                if self.options.presence {
                    self.note_presence(name, presence);
                }
            }
            Err(error) => {
                context.give_place_back();
                self.refused.add(error.code(), name.as_str(), format!("{name}: {error}"));
            }
        }
    }

    /// Each living topic of the pattern that `since` does not name begins by `last` alone. Those that this command names are
    /// `found`, for the case that the name is refused.
    fn by_pattern(&mut self, pattern: Pattern, named: &HashSet<TopicName>, found: &mut Vec<Begun>, context: &mut SessionContext<'_>) {
        context.subscribe_pattern(&pattern, self.options.of_subscription());
        let mut unnamed = false;
        for begun in context.starts(&pattern, Wanted { since: None, last: self.options.last }) {
            self.matched += 1;
            let topic = begun.topic.name();
            if self.since.contains_key(topic) {
                continue;
            }
            unnamed = true;
            match named.contains(topic) {
                true => found.push(begun),
                false => self.begin(begun, context),
            }
        }
        self.tell(pattern, None, (unnamed && !self.since.is_empty()).then_some(false));
    }

    /// A topic in `since` that only a new pattern of this command takes gets an entry of its own.
    fn recover_covered(&mut self, context: &mut SessionContext<'_>) {
        for since in &self.options.since {
            let topic = &since.topic;
            if self.told.has_name(topic) || !self.told.matches_wild(topic) || self.renewed.matches(topic) {
                continue;
            }
            let begun = context.start(topic, self.wanted(topic));
            let position = begun.as_ref().map(|begun| begun.start.position);
            let recovered = begun.as_ref().and_then(|begun| begun.start.recovered).unwrap_or(false);
            self.tell(Pattern::from(topic.clone()), position, Some(recovered));
            match begun {
                Some(begun) => self.begin(begun, context),
                None => context.count_recovery(Recovery::Lost),
            }
        }
    }

    /// Has a topic begin, unless it has already; one that an older subscription takes goes on as it was.
    fn begin(&mut self, begun: Begun, context: &mut SessionContext<'_>) {
        let name = begun.topic.name().clone();
        let goes_on = begun.start.recovered != Some(true) && self.before.matches(&name);
        if goes_on || context.is_replaying(&name) || !self.begun.insert(name) {
            return;
        }
        if let Some(recovered) = begun.start.recovered {
            context.count_recovery(if recovered { Recovery::Recovered } else { Recovery::Lost });
        }
        self.to_begin.push(begun);
    }

    fn tell(&mut self, topic: Pattern, position: Option<Position>, recovered: Option<bool>) {
        self.told.insert(&topic);
        self.entries.push(SubscribedTopic { topic, position, recovered });
    }

    fn note_presence(&mut self, name: &TopicName, knows_presence: bool) {
        if !knows_presence {
            self.presence_off.push(name.clone());
        }
    }
}

impl Step {
    /// Its topic or pattern.
    fn pattern(&self) -> &Pattern {
        match self {
            Self::Add(pattern) | Self::Replace(pattern) => pattern,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Offset;
    use crate::session_id::SessionId;
    use crate::shard::tests::bench::Bench;
    use crate::topic_name::COMPARISONS;

    fn done(topics: &[String], options: &SubscribeOptions<'_>, bench: &mut Bench) -> usize {
        let steps: Vec<Step> = topics.iter().map(|topic| Step::Add(Pattern::parse(topic).unwrap())).collect();
        let mut context = bench.context();
        steps.iter().for_each(|_| assert!(context.take_place()));
        let member = Member { session: SessionId::random(), user: None };
        let done = Subscribed::by(Plan { steps, refused: Refused::default() }, options, &member, &mut context);
        let entries = done.entries.len();
        done.begin_all(None, &mut context);
        entries
    }

    /// Issue 14, row 4: a subscribe with many topics in `since`, by a session with many subscriptions, compares none of these with each
    /// of those. (It was `since` times what the session had, times the entries of the answer.)
    #[test]
    fn what_a_since_costs_does_not_grow_with_the_subscriptions() {
        const TOPICS: usize = 1_000;
        let mut bench = Bench::new();
        let before: Vec<String> = (0..TOPICS).map(|number| format!("a.{number}.*")).collect();
        assert_eq!(done(&before, &SubscribeOptions::default(), &mut bench), TOPICS);
        (0..TOPICS).for_each(|number| bench.publish(&format!("h.{number}")));
        let since = |number| Since { topic: TopicName::parse(&format!("h.{number}")).unwrap(), epoch: "another".into(), offset: Offset(1) };
        let options = SubscribeOptions { since: (0..TOPICS).map(since).collect(), ..SubscribeOptions::default() };
        let compared = COMPARISONS.get();
        assert_eq!(done(&["h.*".to_owned()], &options, &mut bench), 1 + TOPICS);
        let compared = COMPARISONS.get() - compared;
        assert!(compared <= 10 * TOPICS, "{compared} comparisons");
    }
}
