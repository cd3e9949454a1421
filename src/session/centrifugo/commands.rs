//! One session of Centrifugo's protocol: its commands, from a frame of several to their effects and replies. What carries the frames is
//! no business of its own.

use std::sync::Arc;
use std::time::Duration;

use super::beginning::Beginning;
use super::held::Held;
use super::label::op;
use super::pending::{Pending, Unsubscribing};
use super::refusal::{Refusal, named, named_if_any};
use super::spoken_for::ByRequests;
use crate::auth::{AuthError, Connection, Grants, Identity};
use crate::clock::Moment;
use crate::codes::{CloseCode, ErrorCode};
use crate::dialect::centrifugo::{
    Asked, Command, Connect, ConnectResult, Disconnect, ErrorReply, Expiry, Reply, SpokenFor, SubscribeResult, Wire,
};
use crate::metrics::{CloseReason, LimitKey};
use crate::session::command_rate::{CommandRate, Verdict};
use crate::session::opening::{Surroundings, Unidentified};
use crate::session::waiting::Waiting;
use crate::session_id::{Member, SessionId};
use crate::shard::SessionContext;
use crate::topic_name::{Pattern, TopicName};

/// Commands of one session that are acted on in one turn, so that the others get theirs.
const COMMANDS_PER_TURN: u32 = 256;

/// How many `limits.auth_timeout` a session may take to its `connect`: some SDKs open the connection first and then fetch a token.
const AUTH_TIMEOUTS: u32 = 3;

/// How long a session outlives its token, so that an SDK that is late can bring a new one.
const EXPIRY_GRACE: Duration = Duration::from_secs(25);

/// For so long after `connect` a subscribe is no command to the rate: an SDK that comes back has them all in its first frame.
const RETURNING: Duration = Duration::from_secs(10);

/// One session.
pub struct Centrifugo {
    id: SessionId,
    pub wire: Wire,
    surroundings: Arc<Surroundings>,
    /// Who it is; `None`: nobody yet, and there are no anonymous grants.
    identity: Option<Arc<Identity>>,
    stage: Stage,
    rate: CommandRate,
    /// Subscribes that count as none, for as long as the session is [`RETURNING`].
    free_subscribes: usize,
    /// Subscriptions that do not rest on its grants.
    pub held: Held,
    /// A command that can't be done yet, and the answers to publishes: their `id`s.
    pub waiting: Waiting<Pending, u32>,
    /// The commands behind it in its frame, or those of another turn.
    unread: Vec<u8>,
    /// By what requests speak for it, where its connection has one direction alone.
    by_requests: Option<ByRequests>,
}

/// A session's way to its `connect`, since when it is there.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// `connect` is due.
    Opened(Moment),
    /// It was refused: nothing else is heard.
    Refused(Moment),
    /// It was answered.
    Connected(Moment),
}

impl Centrifugo {
    /// A session that opens now, as `identity` if it brought a credential already.
    pub fn new(
        id: SessionId,
        wire: Wire,
        identity: Option<Arc<Identity>>,
        by_requests: Option<ByRequests>,
        surroundings: &Arc<Surroundings>,
    ) -> Self {
        let (now, limits) = (surroundings.clock.moment(), &surroundings.live.load().limits);
        let (rate, free_subscribes) = (CommandRate::new(limits, now), limits.subscriptions_per_session);
        Self {
            id,
            wire,
            surroundings: Arc::clone(surroundings),
            identity,
            stage: Stage::Opened(now),
            rate,
            free_subscribes,
            held: Held::default(),
            waiting: Waiting::default(),
            unread: Vec::new(),
            by_requests,
        }
    }

    /// Acts on the commands of one frame; keeps those that have to wait.
    pub fn hear(&mut self, frame: &[u8], context: &mut SessionContext<'_>) {
        let used = self.act_on(frame, context);
        if used < frame.len() && context.is_open() {
            self.unread = frame[used..].to_vec();
        }
    }

    /// Goes on with what had to wait; `true`: nothing waits any more.
    pub fn go_on(&mut self, context: &mut SessionContext<'_>) -> bool {
        self.tell_answers(context);
        match self.waiting.take() {
            Some(Pending::Publish(unpublished)) => self.publish_again(unpublished, context),
            Some(Pending::Unsubscribe(unsubscribing)) => self.unsubscribe(unsubscribing, context),
            Some(Pending::History(asked)) => self.tell_history(asked, context),
            Some(Pending::Presence(asked)) => self.tell_presence(asked, context),
            None => {}
        }
        if self.waiting.is_over() && !self.unread.is_empty() {
            let mut frame = std::mem::take(&mut self.unread);
            let used = self.act_on(&frame, context);
            frame.drain(..used);
            self.unread = if frame.is_empty() { Vec::new() } else { frame };
        }
        self.waits_for_nothing()
    }

    /// Whether another frame may be heard.
    pub fn waits_for_nothing(&self) -> bool {
        self.waiting.is_over() && self.unread.is_empty()
    }

    /// The room that commands take which are not read yet, in bytes.
    pub fn unread_bytes(&self) -> usize {
        self.unread.capacity()
    }

    /// What the command takes that can't be done yet, in bytes.
    pub fn pending_bytes(&self) -> usize {
        self.waiting.bytes(Pending::bytes)
    }

    /// Its next time-out, if it has one.
    pub fn deadline(&self, context: &SessionContext<'_>) -> Option<Moment> {
        match self.stage {
            Stage::Opened(since) | Stage::Refused(since) => Some(since + context.config().limits.auth_timeout * AUTH_TIMEOUTS),
            // A machine's clock may be set meanwhile, so a far expiry is looked at again within the hour.
            Stage::Connected(_) => {
                let held = self.held.first_expiry().map(|expires| self.left_past(expires));
                let first = [self.until_end(), held].into_iter().flatten().min();
                first.map(|left| context.now() + left.min(Duration::from_secs(3600)))
            }
        }
    }

    /// Ends the session if its time is over, and the subscriptions whose time is.
    pub fn look_at_time(&mut self, context: &mut SessionContext<'_>) {
        match self.stage {
            Stage::Opened(_) | Stage::Refused(_) if self.deadline(context).is_some_and(|at| context.now() >= at) => {
                context.limit_hit(LimitKey::AuthTimeout);
                context.disconnect(Disconnect::STALE, CloseReason::Policy);
            }
            Stage::Connected(_) if self.until_end() == Some(Duration::ZERO) => {
                context.disconnect(Disconnect::EXPIRED, CloseReason::TokenExpired);
            }
            Stage::Connected(_) => {
                let now = self.surroundings.clock.now().0 / 1_000;
                self.end_expired(now.saturating_sub(EXPIRY_GRACE.as_secs()), context);
            }
            Stage::Opened(_) | Stage::Refused(_) => {}
        }
    }

    /// Follows the configuration in force.
    pub fn reload(&mut self, context: &mut SessionContext<'_>) {
        match &self.identity {
            Some(identity) => match self.surroundings.auth.renew(identity) {
                Ok(renewed) => {
                    self.identity = Some(renewed);
                    self.end_uncovered(context);
                }
                // It lives on for the grace, and may bring another.
                Err(AuthError::Expired) => {}
                Err(AuthError::Invalid(_)) => context.disconnect(Disconnect::INVALID_TOKEN, CloseReason::TokenInvalid),
            },
            None => self.identity = self.surroundings.auth.anonymous(),
        }
    }

    /// Its user, `None` when anonymous.
    pub fn user(&self) -> Option<Arc<str>> {
        self.identity.as_ref()?.user.clone()
    }

    /// Acts on commands of `frame` and says how many bytes of it they had.
    fn act_on(&mut self, frame: &[u8], context: &mut SessionContext<'_>) -> usize {
        let (mut used, mut acted) = (0, 0);
        loop {
            let Ok((text, taken)) = self.wire.split(&frame[used..]) else {
                self.disconnect_as_unreadable(context);
                return frame.len();
            };
            used += taken;
            acted += 1;
            self.act(text, context);
            if used == frame.len() || !self.waiting.is_over() || !context.is_open() {
                return used;
            }
            if acted == COMMANDS_PER_TURN || !context.can_go_on() {
                context.hold();
                return used;
            }
        }
    }

    fn act(&mut self, text: &[u8], context: &mut SessionContext<'_>) {
        let Ok(Command { id, asked }) = self.wire.command(text) else { return self.disconnect_as_unreadable(context) };
        match (self.stage, &asked) {
            (Stage::Refused(_), _) | (_, Asked::Nothing) if id == 0 => return,
            (Stage::Refused(_), _) => return,
            (Stage::Opened(_), Asked::Connect(_)) if id > 0 => {}
            (Stage::Opened(_), _) | (Stage::Connected(_), Asked::Connect(_)) => return self.disconnect_as_unreadable(context),
            (Stage::Connected(_), _) => {}
        }
        context.count_command(op(&asked));
        if text.len() > context.config().limits.message_bytes {
            context.limit_hit(LimitKey::MessageBytes);
            return Refusal::from(ErrorCode::MessageTooLarge).answer(id, context);
        }
        if !self.may_command(id, &asked, context) {
            return;
        }
        if let Err(refusal) = self.obey(id, asked, context) {
            refusal.answer(id, context);
        }
    }

    /// Whether the rate allows one more command; if not, it was answered, or the session closed.
    fn may_command(&mut self, id: u32, asked: &Asked<'_>, context: &mut SessionContext<'_>) -> bool {
        let is_returning = matches!(self.stage, Stage::Connected(since) if context.now().since(since) < RETURNING);
        if matches!(asked, Asked::Subscribe(_)) && is_returning && self.free_subscribes > 0 {
            self.free_subscribes -= 1;
            return true;
        }
        match self.rate.take(self.identity.as_deref(), context) {
            Verdict::Done => return true,
            Verdict::Refused { .. } => Refusal::from(ErrorCode::RateLimited).answer(id, context),
            Verdict::Excess => context.close(CloseCode::RateLimited, "too many commands", CloseReason::RateLimited),
        }
        false
    }

    /// Charges work beyond a command's own unit, into debt if need be.
    pub fn charge(&mut self, units: u32, context: &SessionContext<'_>) {
        self.rate.charge(units, self.identity.as_deref(), context);
    }

    /// Does what is asked, or says why not.
    fn obey(&mut self, id: u32, asked: Asked<'_>, context: &mut SessionContext<'_>) -> Result<(), Refusal> {
        match asked {
            Asked::Connect(connect) => self.connect(id, &connect, context),
            Asked::Send => Err(Refusal::Disconnect(Disconnect::NOT_AVAILABLE, CloseReason::Policy)),
            _ if id == 0 => Ok(()),
            Asked::Subscribe(asked) => self.subscribe(id, &asked, context),
            Asked::Unsubscribe { channel } => {
                let topic = named_if_any(&channel)?;
                self.unsubscribe(Unsubscribing { topic, id, pushed: context.pushed() }, context);
                Ok(())
            }
            Asked::Publish { channel, data } => self.publish(id, &named(&channel)?, data, context),
            Asked::Presence { channel } => self.presence(id, named(&channel)?, false, context),
            Asked::PresenceStats { channel } => self.presence(id, named(&channel)?, true, context),
            Asked::History(asked) => self.history(id, &asked, context),
            Asked::Refresh { token } => self.refresh(id, &token, context),
            Asked::SubRefresh { channel, token } => self.refresh_subscription(id, &channel, &token, context),
            Asked::Ping | Asked::Rpc => Err(Refusal::Error(ErrorReply::NOT_AVAILABLE, ErrorCode::UnknownOp)),
            Asked::Nothing => Err(Refusal::unreadable()),
        }
    }

    fn connect(&mut self, id: u32, connect: &Connect<'_>, context: &mut SessionContext<'_>) -> Result<(), Refusal> {
        if !connect.token.is_empty() {
            let identity = self.surroundings.identify(&connect.token, context);
            self.identity = Some(identity.map_err(|error| self.refused(&error, context))?);
        }
        if self.identity.is_none() {
            return Err(Refusal::unreadable());
        }
        self.stage = Stage::Connected(context.now());
        let ping = context.heartbeat_interval();
        let begun: Vec<Beginning> =
            self.own_topics(context).into_iter().filter_map(|topic| self.subscribe_by_itself(topic, connect, context)).collect();
        let subs: Vec<(&str, SubscribeResult)> = begun.iter().map(|beginning| (beginning.topic.as_str(), beginning.result)).collect();
        let session = self.by_requests.as_ref().map(|by_requests| by_requests.session(context));
        let node = self.by_requests.as_ref().map_or("", |by_requests| by_requests.node());
        let spoken_for = session.as_deref().map(|session| SpokenFor { session, node });
        let result = ConnectResult { client: self.id, expiry: self.expiry(), subs: &subs, ping, spoken_for };
        context.reply(&Reply::Connect { id, result: &result });
        begun.into_iter().for_each(|beginning| beginning.go(context));
        Ok(())
    }

    /// What a token of `connect` that is not good comes to: a client with an expired one may fetch another and connect anew.
    fn refused(&mut self, error: &Unidentified, context: &SessionContext<'_>) -> Refusal {
        self.stage = match self.stage {
            Stage::Opened(since) => Stage::Refused(since),
            _ => Stage::Refused(context.now()),
        };
        match error {
            Unidentified::Refused(AuthError::Invalid(_)) => Refusal::Disconnect(Disconnect::INVALID_TOKEN, CloseReason::TokenInvalid),
            Unidentified::Refused(AuthError::Expired) | Unidentified::TooMany => error.code().into(),
        }
    }

    fn refresh(&mut self, id: u32, token: &str, context: &mut SessionContext<'_>) -> Result<(), Refusal> {
        let invalid = Refusal::Disconnect(Disconnect::INVALID_TOKEN, CloseReason::TokenInvalid);
        let identity = match self.surroundings.identify(token, context) {
            Ok(identity) if identity.user.as_deref().unwrap_or_default() == self.user().as_deref().unwrap_or_default() => identity,
            Ok(_) | Err(Unidentified::Refused(AuthError::Invalid(_))) => return Err(invalid),
            Err(Unidentified::Refused(AuthError::Expired)) => {
                return Err(Refusal::Disconnect(Disconnect::EXPIRED, CloseReason::TokenExpired));
            }
            Err(too_many @ Unidentified::TooMany) => return Err(too_many.code().into()),
        };
        self.identity = Some(identity);
        context.reply(&Reply::Refresh { id, client: self.id, expiry: self.expiry() });
        self.end_uncovered(context);
        Ok(())
    }

    /// Whether its `connect` was answered.
    pub fn is_connected(&self) -> bool {
        matches!(self.stage, Stage::Connected(_))
    }

    /// Its credential holds until then, in Unix seconds; `false`: it has none.
    pub fn expire_at(&mut self, seconds: u64) -> bool {
        self.identity = self.identity.as_ref().map(|identity| Arc::new(identity.until(seconds)));
        self.identity.is_some()
    }

    /// Its name.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Who knows tokens, and counts those that are wrong.
    pub fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// The session as presence on `topic` shows it, and as its publications do.
    pub fn member(&self, topic: &TopicName) -> Member {
        let info = match self.held.get(topic).and_then(|held| held.info.as_ref()) {
            Some(info) => Some(Arc::clone(info)),
            None => self.connection().and_then(|connection| connection.info.clone()),
        };
        Member { session: self.id, user: self.user(), info }
    }

    /// What its connection token says beside its user.
    pub fn connection(&self) -> Option<&Connection> {
        self.identity.as_ref()?.connection.as_deref()
    }

    /// Its user, but for the empty one, which is nobody's name.
    pub fn named_user(&self) -> Option<Arc<str>> {
        self.user().filter(|user| !user.is_empty())
    }

    pub fn grants(&self) -> Option<&Grants> {
        Some(&self.identity.as_ref()?.grants)
    }

    pub fn may_subscribe(&self, pattern: &Pattern) -> bool {
        self.grants().is_some_and(|grants| grants.may_subscribe(pattern))
    }

    /// How long its token holds still.
    fn expiry(&self) -> Expiry {
        let expires = self.identity.as_ref().and_then(|identity| identity.expires);
        Expiry(expires.map(|expires| self.left_until(expires)))
    }

    /// How long the session may live still, past its token.
    fn until_end(&self) -> Option<Duration> {
        let expires = self.identity.as_ref()?.expires?;
        Some(self.left_past(expires))
    }

    /// The time until a token that expires at `seconds` is past its grace.
    fn left_past(&self, seconds: u64) -> Duration {
        self.left_until(seconds.saturating_add(EXPIRY_GRACE.as_secs()))
    }

    /// The time until a moment of the wall clock, in Unix seconds.
    pub fn left_until(&self, seconds: u64) -> Duration {
        Duration::from_millis(seconds.saturating_mul(1_000).saturating_sub(self.surroundings.clock.now().0))
    }

    fn disconnect_as_unreadable(&self, context: &mut SessionContext<'_>) {
        context.disconnect(Disconnect::BAD_REQUEST, CloseReason::Protocol);
    }
}
