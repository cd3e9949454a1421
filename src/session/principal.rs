//! The principal of a session: its identity, its grants, the expiry of its credential and the rate of its commands.

use std::sync::Arc;
use std::time::Duration;

use super::command_rate::{CommandRate, Verdict};
use super::services::{IdentifyError, Services};
use crate::auth::{AuthError, ConnectionClaims, Grants, Identity, SubscriptionToken};
use crate::clock::Moment;
use crate::codes::CloseCode;
use crate::dialect::Event;
use crate::hub::Extra;
use crate::metrics::CloseReason;
use crate::session_id::{Member, SessionId};
use crate::shard::SessionContext;
use crate::topic_name::{Pattern, TopicName};

/// The longest time between two checks of an expiry. The machine's clock may be set meanwhile.
const CHECK_INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// The identity of one session, with what it may do.
pub struct Principal {
    id: SessionId,
    /// `None`: the client has not authenticated yet, and there are no anonymous grants.
    identity: Option<Arc<Identity>>,
    rate: CommandRate,
    /// Valid commands that a rate of the API key's own has allowed.
    own_commands: u64,
    services: Arc<Services>,
}

impl Principal {
    /// The session `id`, which begins as `identity`.
    pub fn new(id: SessionId, identity: Option<Arc<Identity>>, services: &Arc<Services>) -> Self {
        let rate = CommandRate::new(services.clock.moment());
        Self { id, identity, rate, own_commands: 0, services: Arc::clone(services) }
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whether the session has an identity, which may be the anonymous one.
    pub fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// The user: the token's `sub` (RFC 7519 §4.1.2), or the API key's name.
    pub fn user(&self) -> Option<Arc<str>> {
        self.identity.as_ref()?.user.clone()
    }

    /// The session as presence shows it.
    pub fn member(&self) -> Member {
        Member { session: self.id, user: self.user(), info: None }
    }

    /// Sends the first event of a native session.
    pub fn send_welcome(&self, context: &mut SessionContext<'_>) {
        let config = context.config();
        let (ping_interval, max_message_bytes) = (config.limits.ping_interval, config.limits.message_bytes);
        context.send(&Event::Welcome { session: self.id, ping_interval, max_message_bytes });
    }

    /// The metadata of its messages on `topic`: the publisher, if the topic's rule has `sender` on.
    pub fn extra(&self, topic: &TopicName, context: &SessionContext<'_>) -> Option<Arc<Extra>> {
        let named = context.config().rules.name_sender(topic);
        named.then(|| Arc::new(Extra { publisher: Some(self.member()), tags: Vec::new() }))
    }

    /// How many valid commands a rate of the API key's own has allowed. Their frames don't count in `limits.frames_per_second`, which
    /// would end the session below the key's rate.
    pub fn own_commands(&self) -> u64 {
        self.own_commands
    }

    /// Counts a valid command that [`Self::take_command`] allowed.
    pub fn count_valid(&mut self) {
        let has_own_rate = self.identity.as_ref().is_some_and(|identity| identity.commands_per_second.is_some());
        self.own_commands += u64::from(has_own_rate);
    }

    /// The claims of its token for Centrifugo's protocol.
    pub fn connection_claims(&self) -> Option<&ConnectionClaims> {
        self.identity.as_ref()?.connection.as_deref()
    }

    /// The grants; `None`: the client has not authenticated, and has none.
    pub fn grants(&self) -> Option<&Grants> {
        Some(&self.identity.as_ref()?.grants)
    }

    /// Whether the grants cover a subscription to `pattern`.
    pub fn may_subscribe(&self, pattern: &Pattern) -> bool {
        self.grants().is_some_and(|grants| grants.may_subscribe(pattern))
    }

    /// Whether the grants cover a publish to `topic`.
    pub fn may_publish(&self, topic: &TopicName) -> bool {
        self.grants().is_some_and(|grants| grants.may_publish(topic))
    }

    /// Whether the grants cover reading the history and presence of `topic`.
    pub fn may_read(&self, topic: &TopicName) -> bool {
        self.may_subscribe(&Pattern::from(topic.clone()))
    }

    /// Takes one command from the rate.
    pub fn take_command(&mut self, context: &mut SessionContext<'_>) -> Verdict {
        self.rate.take(self.identity.as_deref(), context)
    }

    /// Does what [`Self::take_command`] does, for a command that is known to be valid.
    pub fn take_valid_command(&mut self, context: &mut SessionContext<'_>) -> Verdict {
        let verdict = self.take_command(context);
        if verdict == Verdict::Allowed {
            self.count_valid();
        }
        verdict
    }

    /// Charges `units` of work beyond the one unit of each command.
    pub fn charge(&mut self, units: u32, context: &SessionContext<'_>) {
        self.rate.charge(units, self.identity.as_deref(), context);
    }

    /// Verifies `credential`, which the session sent.
    pub fn identify(&self, credential: &str, context: &mut SessionContext<'_>) -> Result<Arc<Identity>, IdentifyError> {
        self.services.identify(credential, context)
    }

    /// Verifies a subscription token that the session sent.
    pub fn verify_subscription(&self, token: &str, context: &mut SessionContext<'_>) -> Result<SubscriptionToken, IdentifyError> {
        self.services.verify_subscription(token, context)
    }

    /// The channel of a subscription token; `None`: the token is invalid.
    pub fn channel_of(&self, token: &str) -> Option<Box<str>> {
        Some(self.services.auth.subscription(token).ok()?.channel)
    }

    /// Sets the identity. Its expiry may be earlier than the session's deadline, so the deadline is computed anew.
    pub fn set_identity(&mut self, identity: Arc<Identity>, context: &mut SessionContext<'_>) {
        self.identity = Some(identity);
        context.set_deadline(Some(context.now()));
    }

    /// Sets the expiry of the credential, in Unix seconds; `false`: the session has no identity.
    pub fn expire_at(&mut self, seconds: u64) -> bool {
        self.identity = self.identity.as_ref().map(|identity| Arc::new(identity.until(seconds)));
        self.identity.is_some()
    }

    /// Computes the identity anew under the configuration in force. After an error the credential is no longer valid, and the identity is
    /// unchanged.
    pub fn renew(&mut self) -> Result<(), AuthError> {
        let auth = &self.services.auth;
        self.identity = match &self.identity {
            Some(identity) => Some(auth.renew(identity)?),
            None => auth.anonymous(),
        };
        Ok(())
    }

    /// The subscriptions of the session that its grants do not cover.
    pub fn uncovered(&self, context: &SessionContext<'_>) -> Vec<Pattern> {
        context.subscriptions().into_iter().filter(|pattern| !self.may_subscribe(pattern)).collect()
    }

    /// When the credential expires, in Unix seconds; `None`: never.
    pub fn expires(&self) -> Option<u64> {
        self.identity.as_ref()?.expires
    }

    /// The time from now until `seconds`, a moment of the wall clock in Unix seconds.
    pub fn time_until(&self, seconds: u64) -> Duration {
        Duration::from_millis(seconds.saturating_mul(1_000).saturating_sub(self.services.clock.now().0))
    }

    /// The wall clock, in Unix seconds.
    pub fn unix_seconds(&self) -> u64 {
        self.services.clock.now().0 / 1_000
    }

    /// When the expiry of the credential is to be checked next; `None`: the credential does not expire.
    pub fn expiry(&self, context: &SessionContext<'_>) -> Option<Moment> {
        self.expires().map(|expires| next_check(self.time_until(expires), context))
    }

    /// Closes the session if its credential has expired. Returns whether it did.
    pub fn end_expired(&self, context: &mut SessionContext<'_>) -> bool {
        let is_over = self.expires().is_some_and(|expires| self.time_until(expires).is_zero());
        if is_over {
            context.close(CloseCode::TokenExpired, "the token has expired", CloseReason::TokenExpired);
        }
        is_over
    }
}

/// When to check an expiry that is `left` away.
pub fn next_check(left: Duration, context: &SessionContext<'_>) -> Moment {
    context.now() + left.min(CHECK_INTERVAL_MAX)
}
