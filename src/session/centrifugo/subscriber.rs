//! The subscriptions of a session of Centrifugo's protocol: what authorizes them, how they begin, and when they expire.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::authorizations::{Authorization, Authorizations};
use super::new_subscription::NewSubscription;
use super::recovery_mode::RecoveryMode;
use super::refusal::{Refusal, topic_of};
use crate::codes::ErrorCode;
use crate::dialect::centrifugo::{Connect, Disconnect, ErrorReply, Expiry, Options, Push, Reply, Subscribe, SubscribeResult, Unsubscribed};
use crate::hub::ReplayRequest;
use crate::metrics::{CloseReason, LimitKey};
use crate::position::Offset;
use crate::session::principal::Principal;
use crate::session_id::{Member, MemberInfo};
use crate::shard::SessionContext;
use crate::topic_name::{Pattern, TopicName};

/// The bit of a subscribe's `flag` that has an unrecoverable subscribe refused.
const REFUSE_UNRECOVERABLE: i64 = 2;

/// The only method of deltas that SDKs know. A reply that does not name it means that payloads are sent in full.
const FOSSIL: &str = "fossil";

/// How long a subscription or a session outlives its token, so that a late SDK can send a new token.
const EXPIRY_GRACE: Duration = Duration::from_secs(25);

/// The principal of one session, and the authorizations of its subscriptions.
pub struct Subscriber {
    principal: Principal,
    /// The authorizations of subscriptions that the grants do not cover.
    authorizations: Authorizations,
}

impl Subscriber {
    /// No subscriptions yet.
    pub fn new(principal: Principal) -> Self {
        Self { principal, authorizations: Authorizations::default() }
    }

    /// The principal.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The principal, to change its identity or to charge work.
    pub fn principal_mut(&mut self) -> &mut Principal {
        &mut self.principal
    }

    /// The session as presence and publications of `topic` show it.
    pub fn member(&self, topic: &TopicName) -> Member {
        let info = match self.authorizations.get(topic).and_then(|authorization| authorization.info.as_ref()) {
            Some(info) => Some(Arc::clone(info)),
            None => self.principal.connection_claims().and_then(|connection| connection.info.clone()),
        };
        Member { info, ..self.principal.member() }
    }

    /// The user; `None` also for the empty one.
    fn named_user(&self) -> Option<Arc<str>> {
        self.principal.user().filter(|user| !user.is_empty())
    }

    /// Whether the session may read the history and presence of `topic`: it is subscribed to the topic, or may subscribe to it.
    pub fn may_read(&self, topic: &TopicName, context: &SessionContext<'_>) -> bool {
        is_subscribed(topic, context) || self.principal.may_read(topic)
    }

    /// Whether the session may publish to `topic`: by its grants, or as a subscriber if the rule has `publish_for_subscribers` on.
    pub fn may_publish(&self, topic: &TopicName, context: &SessionContext<'_>) -> bool {
        let by_rule = || context.config().rules.of(topic).publish_for_subscribers && !topic.is_own() && is_subscribed(topic, context);
        self.principal.may_publish(topic) || by_rule()
    }

    /// The time that is left to the token.
    pub fn expiry(&self) -> Expiry {
        Expiry(self.principal.expires().map(|expires| self.principal.time_until(expires)))
    }

    /// The time until the session ends, after its token's grace; `None`: the token does not expire.
    pub fn until_end(&self) -> Option<Duration> {
        Some(self.time_until_grace_end(self.principal.expires()?))
    }

    /// The time until the session or a subscription ends, after the grace of its token.
    pub fn until_expiry(&self) -> Option<Duration> {
        let authorization = self.authorizations.first_expiry().map(|expires| self.time_until_grace_end(expires));
        [self.until_end(), authorization].into_iter().flatten().min()
    }

    /// The time until the grace of a token ends that expires at `seconds`.
    fn time_until_grace_end(&self, seconds: u64) -> Duration {
        self.principal.time_until(seconds.saturating_add(EXPIRY_GRACE.as_secs()))
    }

    /// Executes a `subscribe` command.
    pub fn subscribe(&mut self, id: u32, request: &Subscribe<'_>, context: &mut SessionContext<'_>) -> Result<(), Refusal> {
        let topic = topic_of(&request.channel)?;
        if !request.delta.is_empty() && request.delta != FOSSIL {
            return Err(Refusal::unreadable());
        }
        if request.kind != 0 {
            return Err(Refusal::Error(ErrorReply::NOT_AVAILABLE, ErrorCode::UnknownOp));
        }
        if request.has_filter {
            return Err(ErrorCode::BadRequest.into());
        }
        if is_subscribed(&topic, context) {
            return Err(Refusal::Error(ErrorReply::ALREADY_SUBSCRIBED, ErrorCode::BadRequest));
        }
        let authorization = self.authorize(&topic, &request.token, context)?;
        let subscription = self.new_subscription(topic, request, authorization, context)?;
        context.reply(&Reply::Subscribe { id, result: &subscription.result });
        subscription.begin(context);
        Ok(())
    }

    /// The topics that the gateway subscribes the session to at `connect`: the personal channel, and the channels of the token.
    pub fn server_side_topics(&self, context: &SessionContext<'_>) -> Vec<(TopicName, Authorization)> {
        let config = context.config();
        let personal = self.named_user().map(|user| config.centrifugo.personal.replace("{user}", &user));
        let personal = personal.as_deref().map(|name| (name, None));
        let topic_of = self.principal.connection_claims().into_iter().flat_map(|connection| &connection.channels);
        let topic_of = topic_of.map(|channel| (&*channel.name, channel.info.as_deref()));
        let mut seen = HashSet::new();
        let topics = personal.into_iter().chain(topic_of).filter_map(|(name, info)| Some((TopicName::parse(name).ok()?, info)));
        topics.filter(|(topic, _)| seen.insert(topic.clone())).map(|(topic, info)| (topic, self.gateway_authorization(info))).collect()
    }

    /// The authorization of a subscription that the gateway makes. Presence and publications of its topic show `info`.
    pub fn gateway_authorization(&self, info: Option<&str>) -> Authorization {
        Authorization { by_gateway: true, expires: None, info: info.map(|info| self.info_with(info.into())) }
    }

    /// Subscribes the session to one of [`Subscriber::server_side_topics`]; `None`: a limit prevents it.
    pub fn subscribe_server_side(
        &mut self,
        (topic, authorization): (TopicName, Authorization),
        connect: &Connect<'_>,
        context: &mut SessionContext<'_>,
    ) -> Option<NewSubscription> {
        let position = connect.subs.iter().find(|(channel, _)| *channel == topic.as_str()).map(|(_, position)| position.clone());
        let request = Subscribe { position: position.unwrap_or_default(), ..Subscribe::default() };
        self.new_subscription(topic, &request, Some(authorization), context).ok()
    }

    /// The information of the session with the `info` of one subscription.
    fn info_with(&self, info: Box<str>) -> Arc<MemberInfo> {
        let session =
            self.principal.connection_claims().and_then(|connection| connection.info.as_ref()).and_then(|info| info.session.clone());
        Arc::new(MemberInfo { session, topic: Some(info) })
    }

    /// The authorization of a subscription to `topic`; `None`: the session's grants cover the topic.
    fn authorize(&self, topic: &TopicName, token: &str, context: &mut SessionContext<'_>) -> Result<Option<Authorization>, Refusal> {
        if !token.is_empty() {
            return self.token_authorization(topic.as_str(), token, context).map(Some);
        }
        let listed = topic.as_str().rsplit_once('#').filter(|_| context.config().rules.of(topic).user_channels);
        let is_listed = |users: &str| self.named_user().is_some_and(|user| users.split(',').any(|listed| *listed == *user));
        match listed {
            Some((_, users)) if is_listed(users) => Ok(Some(Authorization::default())),
            None if self.principal.may_subscribe(&Pattern::from(topic.clone())) => Ok(None),
            _ => Err(ErrorCode::NotAllowed.into()),
        }
    }

    /// The authorization that a subscription token gives for `channel`. A token for another channel, user or session ends the session.
    fn token_authorization(&self, channel: &str, token: &str, context: &mut SessionContext<'_>) -> Result<Authorization, Refusal> {
        let token = self.principal.verify_subscription(token, context).map_err(|error| Refusal::from(error.code()))?;
        let is_ours = token.user.unwrap_or_default() == self.principal.user().unwrap_or_default()
            && *token.channel == *channel
            && token.client.is_none_or(|client| *client == self.principal.id().to_string());
        if !is_ours {
            return Err(Refusal::Disconnect(Disconnect::INVALID_TOKEN, CloseReason::TokenInvalid));
        }
        let info = token.info.map(|info| self.info_with(info));
        Ok(Authorization { by_gateway: false, expires: token.expires, info })
    }

    /// Executes a `sub_refresh` command. Some SDKs leave out the channel, which the token names too.
    pub fn refresh_subscription(&mut self, id: u32, channel: &str, token: &str, context: &mut SessionContext<'_>) -> Result<(), Refusal> {
        let claimed = if channel.is_empty() { self.principal.channel_of(token) } else { None };
        let channel = claimed.as_deref().unwrap_or(channel);
        let topic = topic_of(channel)?;
        if !is_subscribed(&topic, context) {
            return Err(ErrorCode::NotSubscribed.into());
        }
        let authorization = self.token_authorization(channel, token, context)?;
        context.reply(&Reply::SubRefresh { id, expiry: self.expiry_of(&authorization) });
        self.set_authorization(topic, authorization, context);
        Ok(())
    }

    fn expiry_of(&self, authorization: &Authorization) -> Expiry {
        Expiry(authorization.expires.map(|expires| self.principal.time_until(expires)))
    }

    /// Sets the authorization of a subscription. Its expiry may be earlier than the session's deadline, so the deadline is computed anew.
    fn set_authorization(&mut self, topic: TopicName, authorization: Authorization, context: &mut SessionContext<'_>) {
        if authorization.expires.is_some() {
            context.set_deadline(Some(context.now()));
        }
        self.authorizations.put(topic, authorization);
    }

    /// Subscribes to `topic`, for which the session has an authorization or grants. Delivery begins with [`NewSubscription::begin`].
    pub fn new_subscription(
        &mut self,
        topic: TopicName,
        request: &Subscribe<'_>,
        authorization: Option<Authorization>,
        context: &mut SessionContext<'_>,
    ) -> Result<NewSubscription, Refusal> {
        let config = context.config();
        let rule = config.rules.of(&topic);
        let own = Options::of(request.data);
        let recovery = RecoveryMode::of(rule, own.interval);
        let wanted = recovery.wanted(&request.position, own.last);
        if recovery == RecoveryMode::Stream && request.flag & REFUSE_UNRECOVERABLE != 0 && !is_recoverable(&topic, wanted, context) {
            context.count_recovery(false);
            return Err(Refusal::Error(ErrorReply::UNRECOVERABLE_POSITION, ErrorCode::BadRequest));
        }
        let pattern = Pattern::from(topic.clone());
        reserve_subscription(&pattern, context)?;
        let expiry = authorization.as_ref().map_or(Expiry(None), |authorization| self.expiry_of(authorization));
        if let Some(authorization) = authorization {
            self.set_authorization(topic.clone(), authorization, context);
        }
        let watches = (request.join_leave || rule.pushes_joins) && rule.presence;
        let member = self.member(&topic);
        let mut subscribed = context.subscribe(&topic, &member, wanted, own.interval).map_err(|error| {
            context.release_subscription(&pattern);
            self.authorizations.remove(&topic);
            Refusal::from(error.code())
        })?;
        context.set_interval(&pattern, own.interval);
        context.watch(&pattern, watches);
        if own.interval.is_some() {
            context.adapt_intervals();
        }
        if let Some(recovered) = subscribed.start.recovered {
            context.count_recovery(recovered);
        }
        subscribed.start = recovery.start(subscribed.start, request.position.recover);
        let result = SubscribeResult { expiry, ..recovery.result(&subscribed.start, request.position.recover) };
        Ok(NewSubscription { topic, result, joined: watches.then_some(member), start: subscribed })
    }

    /// Ends the subscription to `topic`, if there is one.
    pub fn unsubscribe(&mut self, topic: TopicName, context: &mut SessionContext<'_>) {
        self.authorizations.remove(&topic);
        context.unsubscribe(&[Pattern::from(topic)]);
    }

    /// Ends the subscriptions that the session's grants no longer cover, with a push for each.
    pub fn end_uncovered(&mut self, context: &mut SessionContext<'_>) {
        let mut uncovered = self.principal.uncovered(context);
        uncovered.retain(|pattern| pattern.as_name().is_none_or(|topic| self.authorizations.get(&topic).is_none()));
        self.end(&uncovered, Unsubscribed::NOT_ALLOWED, context);
    }

    /// Ends subscriptions, with a push for each.
    pub fn end(&mut self, ended: &[Pattern], why: Unsubscribed, context: &mut SessionContext<'_>) {
        if ended.is_empty() {
            return;
        }
        ended.iter().filter_map(Pattern::as_name).for_each(|topic| self.authorizations.remove(&topic));
        context.unsubscribe(ended);
        for pattern in ended {
            context.reply(&Reply::Push { channel: pattern.as_str(), push: Push::Unsubscribe(why) });
        }
    }

    /// A subscription has ended because messages were lost. The client subscribes again. If the gateway made the subscription, the client
    /// has to connect again.
    pub fn on_lapse(&mut self, topic: &TopicName, context: &mut SessionContext<'_>) {
        if self.authorizations.get(topic).is_some_and(|authorization| authorization.by_gateway) {
            context.disconnect(Disconnect::INSUFFICIENT_STATE, CloseReason::Slow);
        }
        self.authorizations.remove(topic);
    }

    /// Ends the subscriptions whose tokens have expired, after the grace.
    pub fn end_expired(&mut self, context: &mut SessionContext<'_>) {
        let seconds = self.principal.unix_seconds().saturating_sub(EXPIRY_GRACE.as_secs());
        let expired: Vec<Pattern> = self.authorizations.expired(seconds).into_iter().map(Pattern::from).collect();
        self.end(&expired, Unsubscribed::EXPIRED, context);
    }
}

fn is_subscribed(topic: &TopicName, context: &SessionContext<'_>) -> bool {
    context.is_subscribed(&Pattern::from(topic.clone()))
}

/// Reserves one more subscription of the session.
fn reserve_subscription(pattern: &Pattern, context: &mut SessionContext<'_>) -> Result<(), Refusal> {
    let full = |context: &mut SessionContext<'_>, limit| {
        context.limit_hit(limit);
        Err(ErrorCode::TooManySubscriptions.into())
    };
    if context.subscription_count() >= context.config().limits.subscriptions_per_session {
        return full(context, LimitKey::SubscriptionsPerSession);
    }
    context.reserve_subscription(pattern).or_else(|limit| full(context, limit))
}

/// Whether all messages behind the requested position can be replayed. A topic that does not exist has no messages, so only its beginning
/// can be recovered.
fn is_recoverable(topic: &TopicName, wanted: ReplayRequest<'_>, context: &SessionContext<'_>) -> bool {
    match context.start(topic, wanted) {
        Some(found) => found.start.recovered != Some(false),
        None => matches!(wanted.since, None | Some((None, Offset(0)))),
    }
}
