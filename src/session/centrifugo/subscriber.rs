//! Who a session is and what it is subscribed to: what it may, and what its subscriptions rest on.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::beginning::Beginning;
use super::held::{Held, HeldTopic};
use super::recovering::Recovering;
use super::refusal::{Refusal, named};
use crate::codes::ErrorCode;
use crate::dialect::centrifugo::{Connect, Disconnect, ErrorReply, Expiry, Options, Push, Reply, Subscribe, SubscribeResult, Unsubscribed};
use crate::hub::Wanted;
use crate::metrics::{CloseReason, LimitKey, Recovery};
use crate::position::Offset;
use crate::session::principal::Principal;
use crate::session_id::{Member, MemberInfo};
use crate::shard::SessionContext;
use crate::topic_name::{Pattern, TopicName};

/// The bit of a subscribe's `flag` by which what can't be recovered is refused.
const REFUSE_UNRECOVERABLE: i64 = 2;

/// The one method of deltas that SDKs know. A reply that does not name it has payloads sent in full.
const FOSSIL: &str = "fossil";

/// How long a subscription outlives its token, and a session its own, so that an SDK that is late can bring a new one.
const EXPIRY_GRACE: Duration = Duration::from_secs(25);

/// The subscribing side of one session.
pub struct Subscriber {
    principal: Principal,
    /// Subscriptions that do not rest on its grants.
    held: Held,
}

impl Subscriber {
    /// Subscribed to nothing.
    pub fn new(principal: Principal) -> Self {
        Self { principal, held: Held::default() }
    }

    /// Who it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The same, to be another from now on, or to pay.
    pub fn principal_mut(&mut self) -> &mut Principal {
        &mut self.principal
    }

    /// The session as presence on `topic` shows it, and as its publications do.
    pub fn member(&self, topic: &TopicName) -> Member {
        let info = match self.held.get(topic).and_then(|held| held.info.as_ref()) {
            Some(info) => Some(Arc::clone(info)),
            None => self.principal.connection().and_then(|connection| connection.info.clone()),
        };
        Member { info, ..self.principal.member() }
    }

    /// Its user, but for the empty one, which is nobody's name.
    fn named_user(&self) -> Option<Arc<str>> {
        self.principal.user().filter(|user| !user.is_empty())
    }

    /// Whoever is subscribed to a topic, or may be, may read its history and presence.
    pub fn may_read(&self, topic: &TopicName, context: &SessionContext<'_>) -> bool {
        is_subscribed(topic, context) || self.principal.may_read(topic)
    }

    /// Who may publish by its grants does; so may who is subscribed, where the rule says so.
    pub fn may_publish(&self, topic: &TopicName, context: &SessionContext<'_>) -> bool {
        let by_rule = || context.config().rules.of(topic).publish_for_subscribers && !topic.is_own() && is_subscribed(topic, context);
        self.principal.may_publish(topic) || by_rule()
    }

    /// How long its token holds still.
    pub fn expiry(&self) -> Expiry {
        Expiry(self.principal.expires().map(|expires| self.principal.left_until(expires)))
    }

    /// How long the session may live still, past its token; `None`: without end.
    pub fn until_end(&self) -> Option<Duration> {
        Some(self.left_past(self.principal.expires()?))
    }

    /// How long it is until the session or a subscription is past its token.
    pub fn until_expiry(&self) -> Option<Duration> {
        let held = self.held.first_expiry().map(|expires| self.left_past(expires));
        [self.until_end(), held].into_iter().flatten().min()
    }

    /// The time until a token that expires at `seconds` is past its grace.
    fn left_past(&self, seconds: u64) -> Duration {
        self.principal.left_until(seconds.saturating_add(EXPIRY_GRACE.as_secs()))
    }

    /// Subscribes to what a command asks for.
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
        if is_subscribed(&topic, context) {
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
        let named = self.principal.connection().into_iter().flat_map(|connection| &connection.channels);
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
        let session = self.principal.connection().and_then(|connection| connection.info.as_ref()).and_then(|info| info.session.clone());
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
            None if self.principal.may_subscribe(&Pattern::from(topic.clone())) => Ok(None),
            _ => Err(ErrorCode::NotAllowed.into()),
        }
    }

    /// What a subscription token allows of `channel`. One for another topic, user or session ends the session.
    fn held_by(&self, channel: &str, token: &str, context: &mut SessionContext<'_>) -> Result<HeldTopic, Refusal> {
        let token = self.principal.subscription(token, context).map_err(|error| Refusal::from(error.code()))?;
        let is_ours = token.user.unwrap_or_default() == self.principal.user().unwrap_or_default()
            && *token.channel == *channel
            && token.client.is_none_or(|client| *client == self.principal.id().to_string());
        if !is_ours {
            return Err(Refusal::Disconnect(Disconnect::INVALID_TOKEN, CloseReason::TokenInvalid));
        }
        let info = token.info.map(|info| self.info_with(info));
        Ok(HeldTopic { by_gateway: false, expires: token.expires, info })
    }

    /// Renews what a subscription rests on. Some SDKs leave the channel out, which the token names too.
    pub fn refresh_subscription(&mut self, id: u32, channel: &str, token: &str, context: &mut SessionContext<'_>) -> Result<(), Refusal> {
        let claimed = if channel.is_empty() { self.principal.topic_of(token) } else { None };
        let channel = claimed.as_deref().unwrap_or(channel);
        let topic = named(channel)?;
        if !is_subscribed(&topic, context) {
            return Err(ErrorCode::NotSubscribed.into());
        }
        let held = self.held_by(channel, token, context)?;
        context.reply(&Reply::SubRefresh { id, expiry: self.expiry_of(&held) });
        self.hold(topic, held, context);
        Ok(())
    }

    fn expiry_of(&self, held: &HeldTopic) -> Expiry {
        Expiry(held.expires.map(|expires| self.principal.left_until(expires)))
    }

    /// Notes what a subscription rests on. The session's deadline may be an earlier one with that, so it is looked at soon.
    fn hold(&mut self, topic: TopicName, held: HeldTopic, context: &mut SessionContext<'_>) {
        if held.expires.is_some() {
            context.wake_at(Some(context.now()));
        }
        self.held.put(topic, held);
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
        if let Some(held) = held {
            self.hold(topic.clone(), held, context);
        }
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

    /// Ends the subscription to `topic`, if there is one.
    pub fn unsubscribe(&mut self, topic: TopicName, context: &mut SessionContext<'_>) {
        self.held.remove(&topic);
        context.unsubscribe(&[Pattern::from(topic)]);
    }

    /// Ends the subscriptions that the session's grants do not cover any more, each told.
    pub fn end_uncovered(&mut self, context: &mut SessionContext<'_>) {
        let mut uncovered = self.principal.uncovered(context);
        uncovered.retain(|pattern| pattern.as_name().is_none_or(|topic| self.held.get(&topic).is_none()));
        self.end(&uncovered, Unsubscribed::NOT_ALLOWED, context);
    }

    /// Ends subscriptions, each told why.
    pub fn end(&mut self, ended: &[Pattern], why: Unsubscribed, context: &mut SessionContext<'_>) {
        if ended.is_empty() {
            return;
        }
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

    /// Ends the subscriptions that are past their token.
    pub fn end_expired(&mut self, context: &mut SessionContext<'_>) {
        let seconds = self.principal.unix_seconds().saturating_sub(EXPIRY_GRACE.as_secs());
        let expired: Vec<Pattern> = self.held.expired(seconds).into_iter().map(Pattern::from).collect();
        self.end(&expired, Unsubscribed::EXPIRED, context);
    }
}

fn is_subscribed(topic: &TopicName, context: &SessionContext<'_>) -> bool {
    context.is_subscribed(&Pattern::from(topic.clone()))
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
