//! Who a session is, what it may, for how long, and at what rate.

use std::sync::Arc;
use std::time::Duration;

use super::command_rate::{CommandRate, Verdict};
use super::opening::{Surroundings, Unidentified};
use crate::auth::{AuthError, Connection, Grants, Identity, SubscriptionToken};
use crate::clock::Moment;
use crate::codes::CloseCode;
use crate::hub::Extra;
use crate::metrics::CloseReason;
use crate::session_id::{Member, SessionId};
use crate::shard::SessionContext;
use crate::topic_name::{Pattern, TopicName};

/// The longest time to the next look at an expiry: a machine's clock may be set meanwhile.
const LOOK_AT_EXPIRY: Duration = Duration::from_secs(3600);

/// Who stands behind a session.
pub struct Principal {
    id: SessionId,
    /// `None`: nobody yet, and there are no anonymous grants.
    identity: Option<Arc<Identity>>,
    rate: CommandRate,
    surroundings: Arc<Surroundings>,
}

impl Principal {
    /// The session `id`, which begins as `identity`.
    pub fn new(id: SessionId, identity: Option<Arc<Identity>>, surroundings: &Arc<Surroundings>) -> Self {
        let rate = CommandRate::new(&surroundings.live.load().limits, surroundings.clock.moment());
        Self { id, identity, rate, surroundings: Arc::clone(surroundings) }
    }

    /// The session's name.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whether it is known who it is, if only as one of those who are anonymous.
    pub fn is_known(&self) -> bool {
        self.identity.is_some()
    }

    /// Its user: the token's `sub`, the key's name.
    pub fn user(&self) -> Option<Arc<str>> {
        self.identity.as_ref()?.user.clone()
    }

    /// The session as presence shows it.
    pub fn member(&self) -> Member {
        Member { session: self.id, user: self.user(), info: None }
    }

    /// What goes with its messages of `topic`: who it is, where the rule names that.
    pub fn extra(&self, topic: &TopicName, context: &SessionContext<'_>) -> Option<Arc<Extra>> {
        let named = context.config().rules.name_sender(topic);
        named.then(|| Arc::new(Extra { publisher: Some(self.member()), tags: Vec::new() }))
    }

    /// What its token says to Centrifugo's protocol.
    pub fn connection(&self) -> Option<&Connection> {
        self.identity.as_ref()?.connection.as_deref()
    }

    /// What it may; `None`: nobody yet, so nothing.
    pub fn grants(&self) -> Option<&Grants> {
        Some(&self.identity.as_ref()?.grants)
    }

    /// Whether it may subscribe to `pattern`.
    pub fn may_subscribe(&self, pattern: &Pattern) -> bool {
        self.grants().is_some_and(|grants| grants.may_subscribe(pattern))
    }

    /// Whether it may publish to `topic`.
    pub fn may_publish(&self, topic: &TopicName) -> bool {
        self.grants().is_some_and(|grants| grants.may_publish(topic))
    }

    /// Whether it may read the history and presence of `topic`.
    pub fn may_read(&self, topic: &TopicName) -> bool {
        self.may_subscribe(&Pattern::from(topic.clone()))
    }

    /// The rate's verdict on one command more.
    pub fn take_command(&mut self, context: &mut SessionContext<'_>) -> Verdict {
        self.rate.take(self.identity.as_deref(), context)
    }

    /// Charges work beyond a command's own unit, into debt if need be.
    pub fn charge(&mut self, units: u32, context: &SessionContext<'_>) {
        self.rate.charge(units, self.identity.as_deref(), context);
    }

    /// Who `credential` is, which the session has brought.
    pub fn identify(&self, credential: &str, context: &mut SessionContext<'_>) -> Result<Arc<Identity>, Unidentified> {
        self.surroundings.identify(credential, context)
    }

    /// What a subscription token says that the session has brought.
    pub fn subscription(&self, token: &str, context: &mut SessionContext<'_>) -> Result<SubscriptionToken, Unidentified> {
        self.surroundings.subscription(token, context)
    }

    /// The topic of a subscription token, if it is good.
    pub fn topic_of(&self, token: &str) -> Option<Box<str>> {
        Some(self.surroundings.auth.subscription(token).ok()?.channel)
    }

    /// The session is `identity` from now on. Its deadline may be an earlier one, so that is looked at soon.
    pub fn become_identity(&mut self, identity: Arc<Identity>, context: &mut SessionContext<'_>) {
        self.identity = Some(identity);
        context.wake_at(Some(context.now()));
    }

    /// Its credential holds until then, in Unix seconds; `false`: it has none.
    pub fn expire_at(&mut self, seconds: u64) -> bool {
        self.identity = self.identity.as_ref().map(|identity| Arc::new(identity.until(seconds)));
        self.identity.is_some()
    }

    /// Follows the configuration in force; an error: its credential is not good any more, and it stays who it was.
    pub fn renew(&mut self) -> Result<(), AuthError> {
        let auth = &self.surroundings.auth;
        self.identity = match &self.identity {
            Some(identity) => Some(auth.renew(identity)?),
            None => auth.anonymous(),
        };
        Ok(())
    }

    /// The subscriptions that its grants do not cover.
    pub fn uncovered(&self, context: &SessionContext<'_>) -> Vec<Pattern> {
        context.subscriptions().into_iter().filter(|pattern| !self.may_subscribe(pattern)).collect()
    }

    /// When its credential expires, in Unix seconds; `None`: never.
    pub fn expires(&self) -> Option<u64> {
        self.identity.as_ref()?.expires
    }

    /// The time until a moment of the wall clock, in Unix seconds.
    pub fn left_until(&self, seconds: u64) -> Duration {
        Duration::from_millis(seconds.saturating_mul(1_000).saturating_sub(self.surroundings.clock.now().0))
    }

    /// The wall clock, in Unix seconds.
    pub fn unix_seconds(&self) -> u64 {
        self.surroundings.clock.now().0 / 1_000
    }

    /// When its credential is to be looked at; `None`: not at all.
    pub fn expiry(&self, context: &SessionContext<'_>) -> Option<Moment> {
        self.expires().map(|expires| look_at(self.left_until(expires), context))
    }

    /// Ends the session if its credential has expired; whether it did.
    pub fn end_expired(&self, context: &mut SessionContext<'_>) -> bool {
        let is_over = self.expires().is_some_and(|expires| self.left_until(expires).is_zero());
        if is_over {
            context.close(CloseCode::TokenExpired, "the token has expired", CloseReason::TokenExpired);
        }
        is_over
    }
}

/// When an expiry is to be looked at that is so far away.
pub fn look_at(left: Duration, context: &SessionContext<'_>) -> Moment {
    context.now() + left.min(LOOK_AT_EXPIRY)
}
