//! Subscribing and unsubscribing: grants, positions, and where the replay begins.

use std::collections::HashSet;
use std::time::Duration;

use super::standing::{Pending, Session, Unsubscribing};
use crate::codes::{CloseCode, ErrorCode};
use crate::dialect::{Event, RequestId, Since, SubscribedTopic};
use crate::hub::Wanted;
use crate::metrics::{CloseReason, LimitKey, Recovery};
use crate::shard::{Begun, Options, Seat};
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// What a subscribe asks for beside its topics.
#[derive(Debug, Default)]
pub struct Wish<'a> {
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

    fn answer(self, id: Option<RequestId<'_>>, seat: &mut dyn Seat) {
        if let Some(code) = self.code {
            seat.refuse(id, code, &self.reasons.join("; "));
        }
    }
}

/// One subscribe on its way: what was done and is to be told, then what is to be replayed.
struct Subscribing<'a> {
    wish: &'a Wish<'a>,
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

impl<'a> Wish<'a> {
    fn since_of(&self, topic: &TopicName) -> Option<&Since<'a>> {
        self.since.iter().find(|since| since.topic == *topic)
    }

    fn wanted(&self, topic: &TopicName) -> Wanted<'_> {
        Wanted { since: self.since_of(topic).map(|since| (&*since.epoch, since.offset)), last: self.last }
    }

    fn options(&self) -> Options {
        Options { interval: self.interval, presence: self.presence }
    }
}

impl Session {
    /// Does the good topics and answers one error for the others.
    pub fn subscribe(
        &mut self,
        id: Option<RequestId<'_>>,
        topics: Vec<Result<Pattern, TopicNameError>>,
        wish: &Wish<'_>,
        seat: &mut dyn Seat,
    ) {
        let done = self.take_seats(topics, wish, seat);
        if id.is_some() && !done.entries.is_empty() {
            seat.say(&Event::Subscribed { id, topics: &done.entries });
        }
        finish(id, done, seat);
    }

    /// What `?topics=` asks for; its answer comes without an `id`.
    pub fn subscribe_at_upgrade(&mut self, topics: Vec<Result<Pattern, TopicNameError>>, last: Option<usize>, seat: &mut dyn Seat) {
        let wish = Wish { last, ..Wish::default() };
        let done = self.take_seats(topics, &wish, seat);
        if !done.entries.is_empty() {
            seat.say(&Event::Subscribed { id: None, topics: &done.entries });
        }
        finish(None, done, seat);
    }

    /// The one topic of a raw session; the right to it was checked before the upgrade.
    pub fn subscribe_raw(&mut self, topic: &TopicName, last: Option<usize>, seat: &mut dyn Seat) {
        let wish = Wish { last, ..Wish::default() };
        let mut done = self.take_seats(vec![Ok(Pattern::from(topic.clone()))], &wish, seat);
        for begun in done.to_begin.drain(..) {
            seat.begin(begun);
        }
        if let Some(reason) = done.refused.reasons.first() {
            seat.close(CloseCode::Policy, reason, CloseReason::Policy);
        }
    }

    fn take_seats<'a>(&mut self, topics: Vec<Result<Pattern, TopicNameError>>, wish: &'a Wish<'a>, seat: &mut dyn Seat) -> Subscribing<'a> {
        let mut subscribing = Subscribing {
            wish,
            entries: Vec::with_capacity(topics.len()),
            begun: HashSet::new(),
            to_begin: Vec::new(),
            names: topics.iter().flatten().filter_map(Pattern::as_name).collect(),
            found_by_pattern: Vec::new(),
            before: seat.subscriptions(),
            refused: Refused::default(),
            presence_off: Vec::new(),
        };
        for topic in topics {
            match topic {
                Ok(pattern) => self.take_seat(&pattern, &mut subscribing, seat),
                Err(error) => subscribing.refused.add(error.code(), error.to_string()),
            }
        }
        for begun in std::mem::take(&mut subscribing.found_by_pattern) {
            subscribing.begin(begun, seat);
        }
        subscribing.recover_covered(seat);
        subscribing
    }

    fn take_seat(&mut self, pattern: &Pattern, subscribing: &mut Subscribing<'_>, seat: &mut dyn Seat) {
        if !self.grants().is_some_and(|grants| grants.may_subscribe(pattern)) {
            let reason = format!("subscribing to {pattern} is not allowed for this session");
            return subscribing.refused.add(ErrorCode::NotAllowed, reason);
        }
        if seat.is_subscribed(pattern) {
            return subscribing.replace_options(pattern, seat);
        }
        let most = seat.config().limits.subscriptions_per_session;
        let taken = seat.subscription_count();
        if taken >= most {
            seat.limit_hit(LimitKey::SubscriptionsPerSession);
            let reason = format!("{pattern}: this session has {taken} subscriptions already, the most is {most}");
            return subscribing.refused.add(ErrorCode::TooManySubscriptions, reason);
        }
        if !seat.take_place() {
            seat.limit_hit(LimitKey::SubscriptionsTotal);
            let reason = format!("{pattern}: the gateway has as many subscriptions as limits.subscriptions_total allows");
            return subscribing.refused.add(ErrorCode::TooManySubscriptions, reason);
        }
        match pattern.as_name() {
            Some(name) => subscribing.by_name(&name, &self.member(), seat),
            None => subscribing.by_pattern(pattern, seat),
        }
    }

    /// Ends the subscriptions that it has and answers one error for those that it hasn't; once what was published before
    /// has gone out.
    pub fn unsubscribe(&mut self, unsubscribing: Unsubscribing, seat: &mut dyn Seat) {
        if !seat.has_taken(unsubscribing.pushed) {
            seat.pause_for_a_turn();
            self.pending = Some(Box::new(Pending::Unsubscribe(unsubscribing)));
            return;
        }
        let Unsubscribing { topics, id, .. } = unsubscribing;
        let id = id.as_deref().map(RequestId);
        let mut refused = Refused::default();
        let mut done = Vec::with_capacity(topics.len());
        for topic in topics {
            match topic {
                Ok(pattern) if seat.unsubscribe(&pattern) => done.push(pattern),
                Ok(pattern) => refused.add(ErrorCode::NotSubscribed, format!("this session is not subscribed to {pattern}")),
                Err(error) => refused.add(error.code(), error.to_string()),
            }
        }
        if id.is_some() && !done.is_empty() {
            seat.say(&Event::Unsubscribed { id, topics: &done });
        }
        refused.answer(id, seat);
    }
}

impl Subscribing<'_> {
    /// A subscription that the session has gets this command's options; nothing is replayed.
    fn replace_options(&mut self, pattern: &Pattern, seat: &mut dyn Seat) {
        seat.set_options(pattern, self.wish.options());
        let position = pattern.as_name().and_then(|name| seat.hub().topic(&name)).map(|info| info.position);
        self.tell(pattern.clone(), position, None);
        if let Some(name) = pattern.as_name().filter(|_| self.wish.presence) {
            self.note_presence(&name, seat.config().rules.of(&name).presence);
        }
    }

    fn by_name(&mut self, name: &TopicName, member: &crate::session_id::Member, seat: &mut dyn Seat) {
        match seat.subscribe(name, self.wish.options(), member, self.wish.wanted(name)) {
            Ok((begun, presence)) => {
                self.tell(Pattern::from(name.clone()), Some(begun.start.position), begun.start.recovered);
                self.begin(begun, seat);
                if self.wish.presence {
                    self.note_presence(name, presence);
                }
            }
            Err(error) => {
                seat.give_place_back();
                self.refused.add(error.code(), format!("{name}: {error}"));
            }
        }
    }

    /// Each living topic of the pattern that `since` does not name begins by `last` alone.
    fn by_pattern(&mut self, pattern: &Pattern, seat: &mut dyn Seat) {
        seat.subscribe_pattern(pattern, self.wish.options());
        let starts = seat.hub().starts(pattern, Wanted { since: None, last: self.wish.last });
        let mut unnamed = false;
        for (topic, start) in starts {
            if self.wish.since_of(topic.name()).is_some() {
                continue;
            }
            unnamed = true;
            match self.names.contains(topic.name()) {
                true => self.found_by_pattern.push(Begun { topic, start }),
                false => self.begin(Begun { topic, start }, seat),
            }
        }
        self.tell(pattern.clone(), None, (unnamed && !self.wish.since.is_empty()).then_some(false));
    }

    /// A topic in `since` that only a pattern of this command takes gets an entry of its own.
    fn recover_covered(&mut self, seat: &mut dyn Seat) {
        let wish = self.wish;
        for since in &wish.since {
            let told = self.entries.iter().any(|entry| entry.topic.as_str() == since.topic.as_str());
            let covered = self.entries.iter().any(|entry| entry.topic.is_wild() && entry.topic.matches(&since.topic));
            let had =
                self.before.iter().any(|pattern| self.entries.iter().any(|entry| entry.topic == *pattern) && pattern.matches(&since.topic));
            if told || !covered || had {
                continue;
            }
            let begun = seat.hub().start(&since.topic, wish.wanted(&since.topic));
            let position = begun.as_ref().map(|(_, start)| start.position);
            let recovered = begun.as_ref().and_then(|(_, start)| start.recovered).unwrap_or(false);
            self.tell(Pattern::from(since.topic.clone()), position, Some(recovered));
            match begun {
                Some((topic, start)) => self.begin(Begun { topic, start }, seat),
                None => seat.tally().recovery(Recovery::Lost),
            }
        }
    }

    /// Has a topic begin, unless it has already; one that an older subscription takes goes on as it was.
    fn begin(&mut self, begun: Begun, seat: &mut dyn Seat) {
        let name = begun.topic.name().clone();
        let goes_on = begun.start.recovered != Some(true) && self.before.iter().any(|pattern| pattern.matches(&name));
        if goes_on || seat.is_replaying(&name) || !self.begun.insert(name) {
            return;
        }
        if let Some(recovered) = begun.start.recovered {
            seat.tally().recovery(if recovered { Recovery::Recovered } else { Recovery::Lost });
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
fn finish(id: Option<RequestId<'_>>, done: Subscribing<'_>, seat: &mut dyn Seat) {
    for begun in done.to_begin {
        seat.begin(begun);
    }
    done.refused.answer(id, seat);
    if !done.presence_off.is_empty() {
        let names: Vec<&str> = done.presence_off.iter().map(TopicName::as_str).collect();
        let message = format!("subscribed, but without joins and leaves, which the rule has off: {}", names.join(", "));
        seat.refuse(id, ErrorCode::PresenceOff, &message);
    }
}
