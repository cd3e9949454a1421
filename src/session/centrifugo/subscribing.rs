//! Subscribing and unsubscribing: what a session may, from where on it hears a topic, and what it is told of that.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::beginning::Beginning;
use super::commands::Centrifugo;
use super::held::HeldTopic;
use super::pending::{Pending, Unsubscribing};
use super::refusal::{Refusal, named};
use crate::codes::ErrorCode;
use crate::config::{OnSlow, Rule};
use crate::dialect::centrifugo::{
    Connect, Disconnect, ErrorReply, Expiry, Options, Place, Push, Reply, Subscribe, SubscribeResult, Unsubscribed,
};
use crate::hub::{Start, Wanted};
use crate::metrics::{CloseReason, LimitKey, Recovery};
use crate::position::{Offset, Position};
use crate::session_id::MemberInfo;
use crate::shard::{Answer, SessionContext};
use crate::topic_name::{Pattern, TopicName};

/// The bit of a subscribe's `flag` by which what can't be recovered is refused.
const REFUSE_UNRECOVERABLE: i64 = 2;

/// The one method of deltas that SDKs know. A reply that does not name it has payloads sent in full.
const FOSSIL: &str = "fossil";

/// Larger offsets are taken as this one: no topic gets there, and the next one is still a `u64`.
const OFFSET_MAX: u64 = i64::MAX as u64;

/// What a client's position in a topic is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recovering {
    /// The topic keeps no history.
    Nothing,
    /// Every message after it.
    Stream,
    /// The newest message alone: older ones mean nothing once it is there.
    Newest,
}

impl Recovering {
    fn of(rule: &Rule, interval: Option<Duration>) -> Self {
        match rule.on_slow {
            _ if rule.history == 0 => Self::Nothing,
            OnSlow::Conflate => Self::Newest,
            _ if interval.is_some() => Self::Newest,
            _ => Self::Stream,
        }
    }

    /// What is asked of the topic.
    fn wanted<'a>(self, place: &'a Place<'_>, last: Option<usize>) -> Wanted<'a> {
        let epoch = (!place.epoch.is_empty()).then_some(&*place.epoch);
        let since = place.recover.then_some((epoch, Offset(place.offset.min(OFFSET_MAX))));
        match self {
            Self::Nothing => Wanted { since: None, last },
            Self::Stream => Wanted { since, last },
            Self::Newest => Wanted { since, last: if place.recover { Some(1) } else { last } },
        }
    }

    /// What follows for a client that asks to recover or not, where the topic's log would have it begin at `start`.
    fn start(self, start: Start, recovers: bool) -> Start {
        match self {
            Self::Newest if recovers => Start { replay_from: start.replay_from.map(|_| start.position.offset), ..start },
            Self::Nothing | Self::Stream | Self::Newest => start,
        }
    }

    /// What the client is told. The position is the one right before the first message that follows: a connection that is lost on the
    /// way goes on there.
    fn result(self, start: &Start, recovers: bool) -> SubscribeResult {
        let offset = start.replay_from.map_or(start.position.offset, |first| Offset(first.0 - 1));
        let position = Some(Position { offset, ..start.position });
        match self {
            Self::Nothing => SubscribeResult::default(),
            Self::Stream => SubscribeResult {
                position,
                positioned: true,
                recovered: recovers && start.recovered == Some(true),
                was_recovering: recovers,
                ..SubscribeResult::default()
            },
            Self::Newest => {
                let recovered = recovers || start.replay_from.is_some();
                SubscribeResult { position, recovered, was_recovering: recovered, ..SubscribeResult::default() }
            }
        }
    }
}

impl Centrifugo {
    pub fn subscribe(&mut self, id: u32, asked: &Subscribe<'_>, context: &mut SessionContext<'_>) -> Result<(), Refusal> {
        let topic = named(&asked.channel)?;
        if !asked.delta.is_empty() && asked.delta != FOSSIL {
            return Err(Refusal::unreadable());
        }
        if asked.kind != 0 {
            return Err(Refusal::Error(ErrorReply::NOT_AVAILABLE, ErrorCode::UnknownOp));
        }
        if asked.has_filter {
            return Err(ErrorCode::BadRequest.into());
        }
        if context.is_subscribed(&Pattern::from(topic.clone())) {
            return Err(Refusal::Error(ErrorReply::ALREADY_SUBSCRIBED, ErrorCode::BadRequest));
        }
        let held = self.allowed_by(&topic, &asked.token, context)?;
        let beginning = self.begin(topic, asked, held, context)?;
        context.reply(&Reply::Subscribe { id, result: &beginning.result });
        beginning.go(context);
        Ok(())
    }

    /// The topics that the gateway subscribes the session to as it connects, those of its token and its own, with what they rest on.
    pub fn own_topics(&self, context: &SessionContext<'_>) -> Vec<(TopicName, HeldTopic)> {
        let config = context.config();
        let personal = self.named_user().map(|user| config.centrifugo.personal.replace("{user}", &user));
        let personal = personal.as_deref().map(|name| (name, None));
        let named = self.connection().into_iter().flat_map(|connection| &connection.channels);
        let named = named.map(|channel| (&*channel.name, channel.info.as_deref()));
        let mut seen = HashSet::new();
        let topics = personal.into_iter().chain(named).filter_map(|(name, info)| Some((TopicName::parse(name).ok()?, info)));
        topics.filter(|(topic, _)| seen.insert(topic.clone())).map(|(topic, info)| (topic, self.held_by_gateway(info))).collect()
    }

    /// What a subscription rests on that the gateway makes; presence and publications show `info` of the session there.
    pub fn held_by_gateway(&self, info: Option<&str>) -> HeldTopic {
        HeldTopic { by_gateway: true, expires: None, info: info.map(|info| self.info_with(info.into())) }
    }

    /// Subscribes the session to a topic of its own; nothing where a limit is in the way.
    pub fn subscribe_by_itself(
        &mut self,
        (topic, held): (TopicName, HeldTopic),
        connect: &Connect<'_>,
        context: &mut SessionContext<'_>,
    ) -> Option<Beginning> {
        let place = connect.subs.iter().find(|(channel, _)| *channel == topic.as_str()).map(|(_, place)| place.clone());
        let asked = Subscribe { place: place.unwrap_or_default(), ..Subscribe::default() };
        self.begin(topic, &asked, Some(held), context).ok()
    }

    /// What is shown of the session where a subscription says more of it than its connection.
    fn info_with(&self, info: Box<str>) -> Arc<MemberInfo> {
        let session = self.connection().and_then(|connection| connection.info.as_ref()).and_then(|info| info.session.clone());
        Arc::new(MemberInfo { session, topic: Some(info) })
    }

    /// What the subscription to `topic` rests on, if that is not the session's grants; an error where nothing allows it.
    fn allowed_by(&self, topic: &TopicName, token: &str, context: &mut SessionContext<'_>) -> Result<Option<HeldTopic>, Refusal> {
        if !token.is_empty() {
            return self.held_by(topic.as_str(), token, context).map(Some);
        }
        let listed = topic.as_str().rsplit_once('#').filter(|_| context.config().rules.of(topic).user_channels);
        let is_listed = |users: &str| self.named_user().is_some_and(|user| users.split(',').any(|listed| *listed == *user));
        match listed {
            Some((_, users)) if is_listed(users) => Ok(Some(HeldTopic::default())),
            None if self.may_subscribe(&Pattern::from(topic.clone())) => Ok(None),
            _ => Err(ErrorCode::NotAllowed.into()),
        }
    }

    /// What a subscription token allows of `channel`. One for another topic, user or session ends the session.
    fn held_by(&self, channel: &str, token: &str, context: &mut SessionContext<'_>) -> Result<HeldTopic, Refusal> {
        let token = self.surroundings().subscription(token, context).map_err(|error| Refusal::from(error.code()))?;
        let is_ours = token.user.unwrap_or_default() == self.user().unwrap_or_default()
            && *token.channel == *channel
            && token.client.is_none_or(|client| *client == self.id().to_string());
        if !is_ours {
            return Err(Refusal::Disconnect(Disconnect::INVALID_TOKEN, CloseReason::TokenInvalid));
        }
        let info = token.info.map(|info| self.info_with(info));
        Ok(HeldTopic { by_gateway: false, expires: token.expires, info })
    }

    /// Renews what a subscription rests on. Some SDKs leave the channel out, which the token names too.
    pub fn refresh_subscription(&mut self, id: u32, channel: &str, token: &str, context: &mut SessionContext<'_>) -> Result<(), Refusal> {
        let claimed = if channel.is_empty() { self.surroundings().auth.subscription(token).ok().map(|token| token.channel) } else { None };
        let channel = claimed.as_deref().unwrap_or(channel);
        let topic = named(channel)?;
        if !context.is_subscribed(&Pattern::from(topic.clone())) {
            return Err(ErrorCode::NotSubscribed.into());
        }
        let held = self.held_by(channel, token, context)?;
        context.reply(&Reply::SubRefresh { id, expiry: self.expiry_of(&held) });
        self.held.put(topic, held);
        Ok(())
    }

    fn expiry_of(&self, held: &HeldTopic) -> Expiry {
        Expiry(held.expires.map(|expires| self.left_until(expires)))
    }

    /// Subscribes to a topic that the session may have, which rests on its grants or on what is `held`.
    pub fn begin(
        &mut self,
        topic: TopicName,
        asked: &Subscribe<'_>,
        held: Option<HeldTopic>,
        context: &mut SessionContext<'_>,
    ) -> Result<Beginning, Refusal> {
        let config = context.config();
        let rule = config.rules.of(&topic);
        let own = Options::of(asked.data);
        let recovering = Recovering::of(rule, own.interval);
        let wanted = recovering.wanted(&asked.place, own.last);
        if recovering == Recovering::Stream && asked.flag & REFUSE_UNRECOVERABLE != 0 && !is_recoverable(&topic, wanted, context) {
            context.count_recovery(Recovery::Lost);
            return Err(Refusal::Error(ErrorReply::UNRECOVERABLE_POSITION, ErrorCode::BadRequest));
        }
        let pattern = Pattern::from(topic.clone());
        take_place(&pattern, context)?;
        let expiry = held.as_ref().map_or(Expiry(None), |held| self.expiry_of(held));
        held.into_iter().for_each(|held| self.held.put(topic.clone(), held));
        let watches = (asked.join_leave || rule.pushes_joins) && rule.presence;
        let member = self.member(&topic);
        let (mut begun, _) = context.subscribe(&topic, &member, wanted, own.interval).map_err(|error| {
            context.give_place_back(&pattern);
            self.held.remove(&topic);
            Refusal::from(error.code())
        })?;
        context.set_interval(&pattern, own.interval);
        context.watch(&pattern, watches);
        if own.interval.is_some() {
            context.follow_intervals();
        }
        if let Some(recovered) = begun.start.recovered {
            context.count_recovery(if recovered { Recovery::Recovered } else { Recovery::Lost });
        }
        begun.start = recovering.start(begun.start, asked.place.recover);
        let result = SubscribeResult { expiry, ..recovering.result(&begun.start, asked.place.recover) };
        Ok(Beginning { topic, result, joined: watches.then_some(member), begun })
    }

    /// Ends a subscription, once what was published before has gone out; answered also where there is none.
    pub fn unsubscribe(&mut self, unsubscribing: Unsubscribing, context: &mut SessionContext<'_>) {
        if context.taken(unsubscribing.pushed) == Answer::Pending {
            self.waiting.hold(Pending::Unsubscribe(unsubscribing));
            return;
        }
        if let Some(topic) = unsubscribing.topic {
            self.held.remove(&topic);
            context.unsubscribe(&[Pattern::from(topic)]);
        }
        context.reply(&Reply::Unsubscribe { id: unsubscribing.id });
    }

    /// Ends the subscriptions that the session's grants do not cover any more, each told.
    pub fn end_uncovered(&mut self, context: &mut SessionContext<'_>) {
        let is_held = |pattern: &Pattern| pattern.as_name().is_some_and(|topic| self.held.get(&topic).is_some());
        let is_uncovered = |pattern: &Pattern| !self.may_subscribe(pattern) && !is_held(pattern);
        let uncovered: Vec<Pattern> = context.subscriptions().into_iter().filter(is_uncovered).collect();
        self.end(&uncovered, Unsubscribed::NOT_ALLOWED, context);
    }

    /// Ends subscriptions, each told why.
    pub fn end(&mut self, ended: &[Pattern], why: Unsubscribed, context: &mut SessionContext<'_>) {
        ended.iter().filter_map(Pattern::as_name).for_each(|topic| self.held.remove(&topic));
        context.unsubscribe(ended);
        for pattern in ended {
            context.reply(&Reply::Push { channel: pattern.as_str(), push: Push::Unsubscribe(why) });
        }
    }

    /// A subscription has ended because messages were lost. The client subscribes anew; where it can't, it has to connect anew.
    pub fn lapsed(&mut self, topic: &TopicName, context: &mut SessionContext<'_>) {
        if self.held.get(topic).is_some_and(|held| held.by_gateway) {
            context.disconnect(Disconnect::INSUFFICIENT_STATE, CloseReason::Slow);
        }
        self.held.remove(topic);
    }

    /// Ends the subscriptions whose token has expired before `seconds`, Unix time.
    pub fn end_expired(&mut self, seconds: u64, context: &mut SessionContext<'_>) {
        let expired: Vec<Pattern> = self.held.expired(seconds).into_iter().map(Pattern::from).collect();
        self.end(&expired, Unsubscribed::EXPIRED, context);
    }
}

/// Takes a place for one more subscription of the session.
fn take_place(pattern: &Pattern, context: &mut SessionContext<'_>) -> Result<(), Refusal> {
    let full = |context: &mut SessionContext<'_>, limit| {
        context.limit_hit(limit);
        Err(ErrorCode::TooManySubscriptions.into())
    };
    if context.subscription_count() >= context.config().limits.subscriptions_per_session {
        return full(context, LimitKey::SubscriptionsPerSession);
    }
    context.take_place(pattern).or_else(|limit| full(context, limit))
}

/// Whether all after the position that is asked for can be replayed. A topic that does not live has nothing behind its beginning.
fn is_recoverable(topic: &TopicName, wanted: Wanted<'_>, context: &SessionContext<'_>) -> bool {
    match context.start(topic, wanted) {
        Some(begun) => begun.start.recovered != Some(false),
        None => matches!(wanted.since, None | Some((None, Offset(0)))),
    }
}
