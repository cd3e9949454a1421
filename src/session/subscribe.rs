//! Subscribing and unsubscribing: grants, positions, and where the replay begins.

use std::collections::HashSet;
use std::time::Duration;

use super::state::{Pending, Session, Unsubscribing};
use crate::codes::{CloseCode, ErrorCode};
use crate::dialect::{Event, RequestId, Since, SubscribedTopic};
use crate::hub::Wanted;
use crate::metrics::{CloseReason, LimitKey, Recovery};
use crate::shard::{Answer, Begun, SessionContext, SubscriptionOptions};
use crate::topic_name::{Pattern, TopicName, TopicNameError};

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

/// The topics of a command that were not done: one answer names them all, with the code of the first.
#[derive(Default)]
struct Refused {
    code: Option<ErrorCode>,
    reasons: Vec<String>,
}

impl Refused {
    fn add(&mut self, code: ErrorCode, reason: String) {
        self.code.get_or_insert(code);
        self.reasons.push(reason);
    }

    fn answer(self, id: Option<RequestId<'_>>, context: &mut SessionContext<'_>) {
        if let Some(code) = self.code {
            context.refuse(id, code, &self.reasons.join("; "));
        }
    }
}

/// One subscribe on its way: what was done and is to be told, then what is to be replayed.
struct Subscribing<'a> {
    options: &'a SubscribeOptions<'a>,
    entries: Vec<SubscribedTopic>,
    /// Topics that begin with this command, so that one is replayed once, whatever matches.
    begun: HashSet<TopicName>,
    to_begin: Vec<Begun>,
    /// Topics that this command names; each begins where its own entry says, not where a pattern's look found it.
    names: HashSet<TopicName>,
    /// What a pattern found of them, for the case that a name is refused.
    found_by_pattern: Vec<Begun>,
    /// Subscriptions from before this command; what they take is not begun again.
    before: Vec<Pattern>,
    refused: Refused,
    presence_off: Vec<TopicName>,
}

impl<'a> SubscribeOptions<'a> {
    fn since_of(&self, topic: &TopicName) -> Option<&Since<'a>> {
        self.since.iter().find(|since| since.topic == *topic)
    }

    fn wanted(&self, topic: &TopicName) -> Wanted<'_> {
        Wanted { since: self.since_of(topic).map(|since| (&*since.epoch, since.offset)), last: self.last }
    }

    fn options(&self) -> SubscriptionOptions {
        SubscriptionOptions { interval: self.interval, presence: self.presence }
    }
}

impl Session {
    /// Does the good topics and answers one error for the others.
    pub fn subscribe(
        &mut self,
        id: Option<RequestId<'_>>,
        topics: Vec<Result<Pattern, TopicNameError>>,
        options: &SubscribeOptions<'_>,
        context: &mut SessionContext<'_>,
    ) {
        let done = self.take_places(topics, options, context);
        if id.is_some() && !done.entries.is_empty() {
            context.say(&Event::Subscribed { id, topics: &done.entries });
        }
        finish(id, done, context);
    }

    /// What `?topics=` asks for; its answer comes without an `id`.
    pub fn subscribe_at_upgrade(
        &mut self,
        topics: Vec<Result<Pattern, TopicNameError>>,
        last: Option<usize>,
        context: &mut SessionContext<'_>,
    ) {
        let options = SubscribeOptions { last, ..SubscribeOptions::default() };
        let done = self.take_places(topics, &options, context);
        if !done.entries.is_empty() {
            context.say(&Event::Subscribed { id: None, topics: &done.entries });
        }
        finish(None, done, context);
    }

    /// The one topic of a raw session; the right to it was checked before the upgrade.
    pub fn subscribe_raw(&mut self, topic: &TopicName, last: Option<usize>, context: &mut SessionContext<'_>) {
        let options = SubscribeOptions { last, ..SubscribeOptions::default() };
        let mut done = self.take_places(vec![Ok(Pattern::from(topic.clone()))], &options, context);
        for begun in done.to_begin.drain(..) {
            context.begin(begun);
        }
        if let Some(reason) = done.refused.reasons.first() {
            context.close(CloseCode::Policy, reason, CloseReason::Policy);
        }
    }

    fn take_places<'a>(
        &mut self,
        topics: Vec<Result<Pattern, TopicNameError>>,
        options: &'a SubscribeOptions<'a>,
        context: &mut SessionContext<'_>,
    ) -> Subscribing<'a> {
        let mut subscribing = Subscribing {
            options,
            entries: Vec::with_capacity(topics.len()),
            begun: HashSet::new(),
            to_begin: Vec::new(),
            names: topics.iter().flatten().filter_map(Pattern::as_name).collect(),
            found_by_pattern: Vec::new(),
            before: context.subscriptions(),
            refused: Refused::default(),
            presence_off: Vec::new(),
        };
        for topic in topics {
            match topic {
                Ok(pattern) => self.take_place_for(&pattern, &mut subscribing, context),
                Err(error) => subscribing.refused.add(error.code(), error.to_string()),
            }
        }
        for begun in std::mem::take(&mut subscribing.found_by_pattern) {
            subscribing.begin(begun, context);
        }
        subscribing.recover_covered(context);
        subscribing
    }

    fn take_place_for(&mut self, pattern: &Pattern, subscribing: &mut Subscribing<'_>, context: &mut SessionContext<'_>) {
        if !self.grants().is_some_and(|grants| grants.may_subscribe(pattern)) {
            let reason = format!("subscribing to {pattern} is not allowed for this session");
            return subscribing.refused.add(ErrorCode::NotAllowed, reason);
        }
        if context.is_subscribed(pattern) {
            return subscribing.replace_options(pattern, context);
        }
        let most = context.config().limits.subscriptions_per_session;
        let taken = context.subscription_count();
        if taken >= most {
            context.limit_hit(LimitKey::SubscriptionsPerSession);
            let reason = format!("{pattern}: this session has {taken} subscriptions already, the most is {most}");
            return subscribing.refused.add(ErrorCode::TooManySubscriptions, reason);
        }
        if !context.take_place() {
            context.limit_hit(LimitKey::SubscriptionsTotal);
            let reason = format!("{pattern}: the gateway has as many subscriptions as limits.subscriptions_total allows");
            return subscribing.refused.add(ErrorCode::TooManySubscriptions, reason);
        }
        match pattern.as_name() {
            Some(name) => subscribing.by_name(&name, &self.member(), context),
            None => subscribing.by_pattern(pattern, context),
        }
    }

    /// Ends the subscriptions that it has and answers one error for those that it hasn't; once what was published before
    /// has gone out.
    pub fn unsubscribe(&mut self, unsubscribing: Unsubscribing, context: &mut SessionContext<'_>) {
        if context.taken(unsubscribing.pushed) == Answer::Pending {
            self.pending = Some(Box::new(Pending::Unsubscribe(unsubscribing)));
            return;
        }
        let Unsubscribing { topics, id, .. } = unsubscribing;
        let id = id.as_deref().map(RequestId);
        let mut refused = Refused::default();
        let mut done = Vec::with_capacity(topics.len());
        for topic in topics {
            match topic {
                Ok(pattern) if context.unsubscribe(&pattern) => done.push(pattern),
                Ok(pattern) => refused.add(ErrorCode::NotSubscribed, format!("this session is not subscribed to {pattern}")),
                Err(error) => refused.add(error.code(), error.to_string()),
            }
        }
        if id.is_some() && !done.is_empty() {
            context.say(&Event::Unsubscribed { id, topics: &done });
        }
        refused.answer(id, context);
    }
}

impl Subscribing<'_> {
    /// A subscription that the session has gets this command's options; nothing is replayed.
    fn replace_options(&mut self, pattern: &Pattern, context: &mut SessionContext<'_>) {
        context.set_options(pattern, self.options.options());
        let position = pattern.as_name().and_then(|name| context.position(&name));
        self.tell(pattern.clone(), position, None);
        if let Some(name) = pattern.as_name().filter(|_| self.options.presence) {
            self.note_presence(&name, context.config().rules.of(&name).presence);
        }
    }

    fn by_name(&mut self, name: &TopicName, member: &crate::session_id::Member, context: &mut SessionContext<'_>) {
        match context.subscribe(name, self.options.options(), member, self.options.wanted(name)) {
            Ok((begun, presence)) => {
                self.tell(Pattern::from(name.clone()), Some(begun.start.position), begun.start.recovered);
                self.begin(begun, context);
                if self.options.presence {
                    self.note_presence(name, presence);
                }
            }
            Err(error) => {
                context.give_place_back();
                self.refused.add(error.code(), format!("{name}: {error}"));
            }
        }
    }

    /// Each living topic of the pattern that `since` does not name begins by `last` alone.
    fn by_pattern(&mut self, pattern: &Pattern, context: &mut SessionContext<'_>) {
        context.subscribe_pattern(pattern, self.options.options());
        let starts = context.starts(pattern, Wanted { since: None, last: self.options.last });
        let mut unnamed = false;
        for begun in starts {
            let topic = begun.topic.name();
            if self.options.since_of(topic).is_some() {
                continue;
            }
            unnamed = true;
            match self.names.contains(topic) {
                true => self.found_by_pattern.push(begun),
                false => self.begin(begun, context),
            }
        }
        self.tell(pattern.clone(), None, (unnamed && !self.options.since.is_empty()).then_some(false));
    }

    /// A topic in `since` that only a pattern of this command takes gets an entry of its own.
    fn recover_covered(&mut self, context: &mut SessionContext<'_>) {
        let options = self.options;
        for since in &options.since {
            let told = self.entries.iter().any(|entry| entry.topic.as_str() == since.topic.as_str());
            let covered = self.entries.iter().any(|entry| entry.topic.is_wild() && entry.topic.matches(&since.topic));
            let had =
                self.before.iter().any(|pattern| self.entries.iter().any(|entry| entry.topic == *pattern) && pattern.matches(&since.topic));
            if told || !covered || had {
                continue;
            }
            let begun = context.start(&since.topic, options.wanted(&since.topic));
            let position = begun.as_ref().map(|begun| begun.start.position);
            let recovered = begun.as_ref().and_then(|begun| begun.start.recovered).unwrap_or(false);
            self.tell(Pattern::from(since.topic.clone()), position, Some(recovered));
            match begun {
                Some(begun) => self.begin(begun, context),
                None => context.count_recovery(Recovery::Lost),
            }
        }
    }

    /// Has a topic begin, unless it has already; one that an older subscription takes goes on as it was.
    fn begin(&mut self, begun: Begun, context: &mut SessionContext<'_>) {
        let name = begun.topic.name().clone();
        let goes_on = begun.start.recovered != Some(true) && self.before.iter().any(|pattern| pattern.matches(&name));
        if goes_on || context.is_replaying(&name) || !self.begun.insert(name) {
            return;
        }
        if let Some(recovered) = begun.start.recovered {
            context.count_recovery(if recovered { Recovery::Recovered } else { Recovery::Lost });
        }
        self.to_begin.push(begun);
    }

    fn tell(&mut self, topic: Pattern, position: Option<crate::position::Position>, recovered: Option<bool>) {
        self.entries.push(SubscribedTopic { topic, position, recovered });
    }

    fn note_presence(&mut self, name: &TopicName, knows_presence: bool) {
        if !knows_presence {
            self.presence_off.push(name.clone());
        }
    }
}

/// After the answer: what begins, then what was refused.
fn finish(id: Option<RequestId<'_>>, done: Subscribing<'_>, context: &mut SessionContext<'_>) {
    for begun in done.to_begin {
        context.begin(begun);
    }
    done.refused.answer(id, context);
    if !done.presence_off.is_empty() {
        let names: Vec<&str> = done.presence_off.iter().map(TopicName::as_str).collect();
        let message = format!("subscribed, but without joins and leaves, which the rule has off: {}", names.join(", "));
        context.refuse(id, ErrorCode::PresenceOff, &message);
    }
}
