//! A session of Centrifugo's protocol: splits frames into commands, executes them and answers them.

use std::sync::Arc;
use std::time::Duration;

use super::beginning::Beginning;
use super::label::op;
use super::orders;
use super::pending::{History, Pending, Presence, Unsubscribe};
use super::refusal::{Refusal, named, named_if_any};
use super::spoken_for::ByRequests;
use super::subscriber::Subscriber;
use crate::auth::AuthError;
use crate::clock::Moment;
use crate::codes::{CloseCode, ErrorCode};
use crate::config::Limits;
use crate::dialect::centrifugo::{Asked, Command, Connect, ConnectResult, Disconnect, ErrorReply, Reply, SpokenFor, SubscribeResult, Wire};
use crate::dialect::json_read::is_json_text;
use crate::hub::{Extra, PayloadKind, Publication, PublishError};
use crate::metrics::{CloseReason, LimitKey, PublishSource};
use crate::position::Position;
use crate::session::command_rate::Verdict;
use crate::session::opening::Unidentified;
use crate::session::principal::{Principal, next_check};
use crate::session::protocol::Protocol;
use crate::session::publishes::Publishes;
use crate::session::work;
use crate::session_id::MemberInfo;
use crate::shard::{Answer, HeldInput, Order, SessionContext};
use crate::topic_name::TopicName;

/// The most commands of one session that are executed in one call, so that other sessions are served.
const COMMANDS_PER_READ: u32 = 256;

/// The time to `connect` is this multiple of `limits.auth_timeout`, because some SDKs open the connection before they fetch a token.
const AUTH_TIMEOUTS: u32 = 3;

/// For this long after `connect`, subscribes are not counted by the rate: a returning SDK sends all of them in its first frame.
const RETURNING: Duration = Duration::from_secs(10);

/// The protocol of one session.
pub struct Centrifugo {
    wire: Wire,
    subscriber: Subscriber,
    stage: Stage,
    /// How many more subscribes are not counted by the rate, within [`RETURNING`].
    free_subscribes: usize,
    /// A command whose answer is pending. No later command is executed before it is answered.
    pending: Option<Box<Pending>>,
    /// Publishes, by the `id`s of their commands.
    publishes: Publishes<u32>,
    /// The commands of a frame that are not executed yet.
    unread: Vec<u8>,
    /// The address of an emulated session, whose commands come in requests.
    by_requests: Option<ByRequests>,
}

/// The stage of a session, with the moment at which the stage began.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// No `connect` has come yet.
    Opened(Moment),
    /// `connect` was refused. All further commands are ignored.
    Refused(Moment),
    /// `connect` was accepted.
    Connected(Moment),
}

impl Centrifugo {
    /// A session that opens at `now`.
    pub fn new(wire: Wire, principal: Principal, by_requests: Option<ByRequests>, limits: &Limits, now: Moment) -> Self {
        Self {
            wire,
            subscriber: Subscriber::new(principal),
            stage: Stage::Opened(now),
            free_subscribes: limits.subscriptions_per_session,
            pending: None,
            publishes: Publishes::default(),
            unread: Vec::new(),
            by_requests,
        }
    }

    /// Whether the next command may be executed.
    fn may_go_on(&self) -> bool {
        self.pending.is_none() && self.publishes.has_room()
    }

    /// Executes commands of `frame`. Returns how many bytes of the frame they took.
    fn act_on(&mut self, frame: &[u8], context: &mut SessionContext<'_>) -> usize {
        let (mut used, mut acted) = (0, 0);
        loop {
            let Ok((text, taken)) = self.wire.split(&frame[used..]) else {
                disconnect_as_unreadable(context);
                return frame.len();
            };
            used += taken;
            acted += 1;
            self.act(text, context);
            if used == frame.len() || !self.may_go_on() || !context.is_open() {
                return used;
            }
            if acted == COMMANDS_PER_READ || !context.can_go_on() {
                context.hold();
                return used;
            }
        }
    }

    fn act(&mut self, text: &[u8], context: &mut SessionContext<'_>) {
        let Ok(Command { id, asked }) = self.wire.command(text) else { return disconnect_as_unreadable(context) };
        match (self.stage, &asked) {
            (Stage::Refused(_), _) | (_, Asked::Nothing) if id == 0 => return,
            (Stage::Refused(_), _) => return,
            (Stage::Opened(_), Asked::Connect(_)) if id > 0 => {}
            (Stage::Opened(_), _) | (Stage::Connected(_), Asked::Connect(_)) => return disconnect_as_unreadable(context),
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
        if let Err(refusal) = self.execute(id, asked, context) {
            refusal.answer(id, context);
        }
    }

    /// Whether the rate allows the command. If not, the command was refused, or the session closed.
    fn may_command(&mut self, id: u32, asked: &Asked<'_>, context: &mut SessionContext<'_>) -> bool {
        let found = context.take_work(work::TOPICS_PER_UNIT);
        self.subscriber.principal_mut().charge(found, context);
        let is_returning = matches!(self.stage, Stage::Connected(since) if context.now().since(since) < RETURNING);
        if matches!(asked, Asked::Subscribe(_)) && is_returning && self.free_subscribes > 0 {
            self.free_subscribes -= 1;
            return true;
        }
        match self.subscriber.principal_mut().take_command(context) {
            Verdict::Allowed => return true,
            Verdict::Refused { .. } => Refusal::from(ErrorCode::RateLimited).answer(id, context),
            Verdict::Excess => context.close(CloseCode::RateLimited, "too many commands", CloseReason::RateLimited),
        }
        false
    }

    /// Executes a command, or returns why it is refused.
    fn execute(&mut self, id: u32, asked: Asked<'_>, context: &mut SessionContext<'_>) -> Result<(), Refusal> {
        match asked {
            Asked::Connect(connect) => return self.connect(id, &connect, context),
            Asked::Send => return Err(Refusal::Disconnect(Disconnect::NOT_AVAILABLE, CloseReason::Policy)),
            _ if id == 0 => {}
            Asked::Subscribe(asked) => return self.subscriber.subscribe(id, &asked, context),
            Asked::Unsubscribe { channel } => {
                let topic = named_if_any(&channel)?;
                self.begin(Pending::Unsubscribe(Unsubscribe::new(id, topic, context)), context);
            }
            Asked::Publish { channel, data } => return self.publish(id, &named(&channel)?, data, context),
            Asked::Presence { channel } => {
                let presence = Presence::new(id, named(&channel)?, false, &self.subscriber, context)?;
                self.begin(Pending::Presence(presence), context);
            }
            Asked::PresenceStats { channel } => {
                let presence = Presence::new(id, named(&channel)?, true, &self.subscriber, context)?;
                self.begin(Pending::Presence(presence), context);
            }
            Asked::History(asked) => {
                let history = History::new(id, &asked, &self.subscriber, context)?;
                self.begin(Pending::History(history), context);
            }
            Asked::Refresh { token } => return self.refresh(id, &token, context),
            Asked::SubRefresh { channel, token } => return self.subscriber.refresh_subscription(id, &channel, &token, context),
            Asked::Ping | Asked::Rpc => return Err(Refusal::Error(ErrorReply::NOT_AVAILABLE, ErrorCode::UnknownOp)),
            Asked::Nothing => return Err(Refusal::unreadable()),
        }
        Ok(())
    }

    /// Executes a command, or keeps it while its answer is pending.
    fn begin(&mut self, command: Pending, context: &mut SessionContext<'_>) {
        self.pending = command.go_on(&mut self.subscriber, context).map(Box::new);
    }

    fn publish(&mut self, id: u32, topic: &TopicName, data: &[u8], context: &mut SessionContext<'_>) -> Result<(), Refusal> {
        if data.is_empty() {
            return Err(ErrorCode::BadRequest.into());
        }
        if !self.subscriber.may_publish(topic, context) {
            return Err(ErrorCode::NotAllowed.into());
        }
        let kind = match self.wire {
            Wire::Json => PayloadKind::Json, // the data was parsed as a part of the command's JSON
            Wire::Protobuf if is_json_text(data) => PayloadKind::Json,
            Wire::Protobuf if str::from_utf8(data).is_ok() => PayloadKind::Text,
            Wire::Protobuf => PayloadKind::Binary,
        };
        let extra = Arc::new(Extra { publisher: Some(self.subscriber.member(topic)), tags: Vec::new() });
        let publication = Publication { extra: Some(&extra), ..Publication::new(data, kind, PublishSource::Session) };
        match self.publishes.publish(topic, &publication, || id, 0, context) {
            Answer::Ready(published) => tell_published(id, published, context),
            Answer::Pending => self.tell_answers(context),
        }
        Ok(())
    }

    /// Sends the answers to publishes that are ready.
    fn tell_answers(&mut self, context: &mut SessionContext<'_>) {
        while context.is_open()
            && let Some((id, published)) = self.publishes.next_answer(context)
        {
            tell_published(id, published, context);
        }
    }

    fn connect(&mut self, id: u32, connect: &Connect<'_>, context: &mut SessionContext<'_>) -> Result<(), Refusal> {
        if !connect.token.is_empty() {
            let identity = self.subscriber.principal().identify(&connect.token, context);
            let identity = identity.map_err(|error| self.refused(&error, context))?;
            self.subscriber.principal_mut().become_identity(identity, context);
        }
        if !self.subscriber.principal().is_known() {
            return Err(Refusal::unreadable());
        }
        self.stage = Stage::Connected(context.now());
        context.wake_at(Some(context.now())); // computes the deadline anew, for the new stage
        let ping = context.heartbeat_interval();
        let own = self.subscriber.own_topics(context).into_iter();
        let begun: Vec<Beginning> = own.filter_map(|topic| self.subscriber.subscribe_by_itself(topic, connect, context)).collect();
        let subs: Vec<(&str, SubscribeResult)> = begun.iter().map(|beginning| (beginning.topic.as_str(), beginning.result)).collect();
        let session = self.by_requests.as_ref().map(|by_requests| by_requests.session(context));
        let node = self.by_requests.as_ref().map_or("", |by_requests| by_requests.node());
        let spoken_for = session.as_deref().map(|session| SpokenFor { session, node });
        let (client, expiry) = (self.subscriber.principal().id(), self.subscriber.expiry());
        context.reply(&Reply::Connect { id, result: &ConnectResult { client, expiry, subs: &subs, ping, spoken_for } });
        begun.into_iter().for_each(|beginning| beginning.go(context));
        Ok(())
    }

    /// The refusal of `connect` with an invalid token. A client whose token has expired may fetch another and connect again.
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
        let user = self.subscriber.principal().user();
        let identity = match self.subscriber.principal().identify(token, context) {
            Ok(identity) if identity.user.as_deref().unwrap_or_default() == user.as_deref().unwrap_or_default() => identity,
            Ok(_) | Err(Unidentified::Refused(AuthError::Invalid(_))) => return Err(invalid),
            Err(Unidentified::Refused(AuthError::Expired)) => {
                return Err(Refusal::Disconnect(Disconnect::EXPIRED, CloseReason::TokenExpired));
            }
            Err(too_many @ Unidentified::TooMany) => return Err(too_many.code().into()),
        };
        self.subscriber.principal_mut().become_identity(identity, context);
        let (client, expiry) = (self.subscriber.principal().id(), self.subscriber.expiry());
        context.reply(&Reply::Refresh { id, client, expiry });
        self.subscriber.end_uncovered(context);
        Ok(())
    }
}

impl Protocol for Centrifugo {
    const LONGEST_MESSAGE: LimitKey = LimitKey::FrameBytes;

    fn principal(&self) -> &Principal {
        self.subscriber.principal()
    }

    fn open(&mut self, context: &mut SessionContext<'_>) {
        self.reload(context); // a reload after the session was granted did not reach it
    }

    /// Executes the commands of one frame. Keeps those behind a pending command.
    fn hear(&mut self, frame: &[u8], _: bool, context: &mut SessionContext<'_>) {
        let used = self.act_on(frame, context);
        if used < frame.len() && context.is_open() {
            self.unread = frame[used..].to_vec();
        }
    }

    fn go_on(&mut self, context: &mut SessionContext<'_>) -> bool {
        self.publishes.go_on(context);
        self.tell_answers(context);
        if let Some(command) = self.pending.take() {
            self.begin(*command, context);
        }
        if self.may_go_on() && !self.unread.is_empty() {
            let mut frame = std::mem::take(&mut self.unread);
            let used = self.act_on(&frame, context);
            frame.drain(..used);
            self.unread = if frame.is_empty() { Vec::new() } else { frame };
        }
        self.accepts_messages()
    }

    fn accepts_messages(&self) -> bool {
        self.may_go_on() && self.unread.is_empty()
    }

    fn held(&self) -> HeldInput {
        let command = self.pending.as_deref().map_or(0, size_of_val) + self.publishes.bytes();
        HeldInput { unfinished: self.unread.capacity(), command }
    }

    fn deadline(&self, context: &SessionContext<'_>) -> Option<Moment> {
        match self.stage {
            Stage::Opened(since) | Stage::Refused(since) => Some(since + context.config().limits.auth_timeout * AUTH_TIMEOUTS),
            Stage::Connected(_) => self.subscriber.until_expiry().map(|left| next_check(left, context)),
        }
    }

    fn on_deadline(&mut self, context: &mut SessionContext<'_>) {
        match self.stage {
            Stage::Opened(_) | Stage::Refused(_) if self.deadline(context).is_some_and(|at| context.now() >= at) => {
                context.limit_hit(LimitKey::AuthTimeout);
                context.disconnect(Disconnect::STALE, CloseReason::Policy);
            }
            Stage::Opened(_) | Stage::Refused(_) => {}
            Stage::Connected(_) if self.subscriber.until_end() == Some(Duration::ZERO) => {
                context.disconnect(Disconnect::EXPIRED, CloseReason::TokenExpired);
            }
            Stage::Connected(_) => self.subscriber.end_expired(context),
        }
    }

    fn order(&mut self, order: &Order, context: &mut SessionContext<'_>) -> bool {
        matches!(self.stage, Stage::Connected(_)) && orders::execute(&mut self.subscriber, order, context)
    }

    fn reload(&mut self, context: &mut SessionContext<'_>) {
        match self.subscriber.principal_mut().renew() {
            Ok(()) => self.subscriber.end_uncovered(context),
            // The session continues for the grace, in which the client may send another token.
            Err(AuthError::Expired) => {}
            Err(AuthError::Invalid(_)) => context.disconnect(Disconnect::INVALID_TOKEN, CloseReason::TokenInvalid),
        }
    }

    fn lapsed(&mut self, topic: &TopicName, context: &mut SessionContext<'_>) {
        self.subscriber.lapsed(topic, context);
    }

    fn info(&self, topic: &TopicName) -> Option<Arc<MemberInfo>> {
        self.subscriber.member(topic).info
    }
}

fn tell_published(id: u32, published: Result<Position, PublishError>, context: &mut SessionContext<'_>) {
    match published {
        Ok(_) => context.reply(&Reply::Publish { id }),
        Err(error) => Refusal::from(error.code()).answer(id, context),
    }
}

fn disconnect_as_unreadable(context: &mut SessionContext<'_>) {
    context.disconnect(Disconnect::BAD_REQUEST, CloseReason::Protocol);
}
