//! A session of Centrifugo's protocol: splits frames into commands, executes them and answers them.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::admin;
use super::label::op;
use super::new_subscription::NewSubscription;
use super::pending::{History, Pending, Presence, Unsubscribe};
use super::refusal::{Refusal, topic_if_valid, topic_of};
use super::session_address::EmulatedAddress;
use super::subscriber::Subscriber;
use crate::auth::AuthError;
use crate::clock::Moment;
use crate::codes::{CloseCode, ErrorCode};
use crate::config::Limits;
use crate::dialect::centrifugo::{
    Command, Connect, ConnectResult, Disconnect, EmulationKeys, ErrorReply, Operation, Reply, SubscribeResult, Wire,
};
use crate::dialect::is_json_text;
use crate::hub::{Extra, PayloadKind, Publication, PublishError};
use crate::metrics::{CloseReason, LimitKey, PublishSource};
use crate::position::Position;
use crate::session::command_rate::Verdict;
use crate::session::principal::{Principal, next_check};
use crate::session::protocol::Protocol;
use crate::session::publishes::Publishes;
use crate::session::services::IdentifyError;
use crate::session::work;
use crate::session_id::MemberInfo;
use crate::shard::{AdminCommand, SessionContext, UnusedInput};
use crate::topic_name::TopicName;

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
    unread: UnusedInput,
    /// The address of an emulated session, whose commands come in requests.
    emulated_address: Option<EmulatedAddress>,
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
    pub fn new(wire: Wire, principal: Principal, emulated_address: Option<EmulatedAddress>, limits: &Limits, now: Moment) -> Self {
        Self {
            wire,
            subscriber: Subscriber::new(principal),
            stage: Stage::Opened(now),
            free_subscribes: limits.subscriptions_per_session,
            pending: None,
            publishes: Publishes::default(),
            unread: UnusedInput::default(),
            emulated_address,
        }
    }

    /// Whether the next command may be executed.
    fn may_execute_next(&self) -> bool {
        self.pending.is_none() && self.publishes.has_room()
    }

    /// Executes commands of `frame`. Returns how many bytes of the frame they took.
    fn execute_frame(&mut self, frame: &[u8], context: &mut SessionContext<'_>) -> usize {
        let mut used = 0;
        loop {
            let Ok((text, taken)) = self.wire.split(&frame[used..]) else {
                disconnect_as_unreadable(context);
                return frame.len();
            };
            used += taken;
            self.execute_command(text, context);
            if used == frame.len() || !self.may_execute_next() || !context.is_open() {
                return used;
            }
            if context.is_turn_over() || !context.may_execute() {
                context.call_again();
                return used;
            }
        }
    }

    fn execute_command(&mut self, text: &[u8], context: &mut SessionContext<'_>) {
        let Ok(Command { id, operation }) = self.wire.command(text) else { return disconnect_as_unreadable(context) };
        match (self.stage, &operation) {
            (Stage::Refused(_), _) | (_, Operation::Nothing) if id == 0 => return,
            (Stage::Refused(_), _) => return,
            (Stage::Opened(_), Operation::Connect(_)) if id > 0 => {}
            (Stage::Opened(_), _) | (Stage::Connected(_), Operation::Connect(_)) => return disconnect_as_unreadable(context),
            (Stage::Connected(_), _) => {}
        }
        context.count_command(op(&operation));
        if text.len() > context.config().limits.message_bytes {
            context.limit_hit(LimitKey::MessageBytes);
            return Refusal::from(ErrorCode::MessageTooLarge).answer(id, context);
        }
        if !self.may_command(id, &operation, context) {
            return;
        }
        if let Err(refusal) = self.execute(id, operation, context) {
            refusal.answer(id, context);
        }
    }

    /// Whether the rate allows the command. If not, the command was refused, or the session closed.
    fn may_command(&mut self, id: u32, operation: &Operation<'_>, context: &mut SessionContext<'_>) -> bool {
        let found = context.take_work(work::TOPICS_PER_UNIT);
        self.subscriber.principal_mut().charge(found, context);
        let is_returning = matches!(self.stage, Stage::Connected(since) if context.now().since(since) < RETURNING);
        if matches!(operation, Operation::Subscribe(_)) && is_returning && self.free_subscribes > 0 {
            self.free_subscribes -= 1;
            return true;
        }
        match self.subscriber.principal_mut().take_valid_command(context) {
            Verdict::Allowed => return true,
            Verdict::Refused { .. } => Refusal::from(ErrorCode::RateLimited).answer(id, context),
            Verdict::Excess => context.close(CloseCode::RateLimited, "too many commands", CloseReason::RateLimited),
        }
        false
    }

    /// Executes a command, or returns why it is refused.
    fn execute(&mut self, id: u32, operation: Operation<'_>, context: &mut SessionContext<'_>) -> Result<(), Refusal> {
        let stats = matches!(operation, Operation::PresenceStats { .. });
        match operation {
            Operation::Connect(connect) => return self.connect(id, &connect, context),
            Operation::Send => return Err(Refusal::Disconnect(Disconnect::NOT_AVAILABLE, CloseReason::Policy)),
            _ if id == 0 => {}
            Operation::Subscribe(subscribe) => return self.subscriber.subscribe(id, &subscribe, context),
            Operation::Unsubscribe { channel } => {
                let topic = topic_if_valid(&channel)?;
                self.begin(Pending::Unsubscribe(Unsubscribe::new(id, topic, context)), context);
            }
            Operation::Publish { channel, data } => return self.publish(id, &topic_of(&channel)?, data, context),
            Operation::Presence { channel } | Operation::PresenceStats { channel } => {
                let presence = Presence::new(id, topic_of(&channel)?, stats, &self.subscriber, context)?;
                self.begin(Pending::Presence(presence), context);
            }
            Operation::History(history) => {
                let history = History::new(id, &history, &self.subscriber, context)?;
                self.begin(Pending::History(history), context);
            }
            Operation::Refresh { token } => return self.refresh(id, &token, context),
            Operation::SubRefresh { channel, token } => return self.subscriber.refresh_subscription(id, &channel, &token, context),
            Operation::Ping | Operation::Rpc => return Err(Refusal::Error(ErrorReply::NOT_AVAILABLE, ErrorCode::UnknownOp)),
            Operation::Nothing => return Err(Refusal::unreadable()),
        }
        Ok(())
    }

    /// Executes a command, or keeps it while its answer is pending.
    fn begin(&mut self, command: Pending, context: &mut SessionContext<'_>) {
        self.pending = command.resume(&mut self.subscriber, context).map(Box::new);
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
            Poll::Ready(published) => send_published(id, published, context),
            Poll::Pending => self.send_answers(context),
        }
        Ok(())
    }

    /// Sends the answers to publishes that are ready.
    fn send_answers(&mut self, context: &mut SessionContext<'_>) {
        while context.is_open()
            && let Some((id, published)) = self.publishes.next_answer(context)
        {
            send_published(id, published, context);
        }
    }

    fn connect(&mut self, id: u32, connect: &Connect<'_>, context: &mut SessionContext<'_>) -> Result<(), Refusal> {
        if !connect.token.is_empty() {
            let identity = self.subscriber.principal().identify(&connect.token, context);
            let identity = identity.map_err(|error| self.refused(&error, context))?;
            self.subscriber.principal_mut().set_identity(identity, context);
        }
        if !self.subscriber.principal().has_identity() {
            return Err(Refusal::unreadable());
        }
        self.stage = Stage::Connected(context.now());
        context.set_deadline(Some(context.now())); // computes the deadline anew, for the new stage
        let ping = context.heartbeat_interval();
        let own = self.subscriber.server_side_topics(context).into_iter();
        let subscriptions: Vec<NewSubscription> =
            own.filter_map(|topic| self.subscriber.subscribe_server_side(topic, connect, context)).collect();
        let subs: Vec<(&str, SubscribeResult)> =
            subscriptions.iter().map(|subscription| (subscription.topic.as_str(), subscription.result)).collect();
        let session = self.emulated_address.as_ref().map(|emulated_address| emulated_address.session(context));
        let node = self.emulated_address.as_ref().map_or("", |emulated_address| emulated_address.node());
        let emulation = session.as_deref().map(|session| EmulationKeys { session, node });
        let (client, expiry) = (self.subscriber.principal().id(), self.subscriber.expiry());
        context.reply(&Reply::Connect { id, result: &ConnectResult { client, expiry, subs: &subs, ping, emulation } });
        subscriptions.into_iter().for_each(|subscription| subscription.begin(context));
        Ok(())
    }

    /// The refusal of `connect` with an invalid token. A client whose token has expired may fetch another and connect again.
    fn refused(&mut self, error: &IdentifyError, context: &SessionContext<'_>) -> Refusal {
        self.stage = match self.stage {
            Stage::Opened(since) => Stage::Refused(since),
            _ => Stage::Refused(context.now()),
        };
        match error {
            IdentifyError::Refused(AuthError::Invalid(_)) => Refusal::Disconnect(Disconnect::INVALID_TOKEN, CloseReason::TokenInvalid),
            IdentifyError::Refused(AuthError::Expired) | IdentifyError::TooMany => error.code().into(),
        }
    }

    fn refresh(&mut self, id: u32, token: &str, context: &mut SessionContext<'_>) -> Result<(), Refusal> {
        let invalid = Refusal::Disconnect(Disconnect::INVALID_TOKEN, CloseReason::TokenInvalid);
        let user = self.subscriber.principal().user();
        let identity = match self.subscriber.principal().identify(token, context) {
            Ok(identity) if identity.user.as_deref().unwrap_or_default() == user.as_deref().unwrap_or_default() => identity,
            Ok(_) | Err(IdentifyError::Refused(AuthError::Invalid(_))) => return Err(invalid),
            Err(IdentifyError::Refused(AuthError::Expired)) => {
                return Err(Refusal::Disconnect(Disconnect::EXPIRED, CloseReason::TokenExpired));
            }
            Err(too_many @ IdentifyError::TooMany) => return Err(too_many.code().into()),
        };
        let principal = self.subscriber.principal_mut();
        principal.charge(work::of_names(context.subscription_count()), context); // each is checked against the grants
        principal.set_identity(identity, context);
        let (client, expiry) = (self.subscriber.principal().id(), self.subscriber.expiry());
        context.reply(&Reply::Refresh { id, client, expiry });
        self.subscriber.end_uncovered(context);
        Ok(())
    }
}

impl Protocol for Centrifugo {
    const MESSAGE_LIMIT: LimitKey = LimitKey::FrameBytes;

    fn principal(&self) -> &Principal {
        self.subscriber.principal()
    }

    fn on_open(&mut self, context: &mut SessionContext<'_>) {
        self.on_reload(context); // a reload after the session was granted did not reach it
    }

    /// Executes the commands of one frame. Keeps those behind a pending command.
    fn on_message(&mut self, frame: &[u8], _: bool, context: &mut SessionContext<'_>) {
        let used = self.execute_frame(frame, context);
        if used < frame.len() && context.is_open() {
            self.unread = UnusedInput::from(&frame[used..]);
        }
    }

    fn resume(&mut self, context: &mut SessionContext<'_>) -> bool {
        self.publishes.submit_waiting(context);
        self.send_answers(context);
        if let Some(command) = self.pending.take() {
            self.begin(*command, context);
        }
        if self.may_execute_next() && !self.unread.is_empty() {
            let mut frame = std::mem::take(&mut self.unread);
            let used = self.execute_frame(frame.bytes(), context);
            frame.skip(used);
            self.unread = frame;
        }
        self.accepts_messages()
    }

    fn accepts_messages(&self) -> bool {
        self.may_execute_next() && self.unread.is_empty()
    }

    fn held_bytes(&self) -> usize {
        self.pending.as_deref().map_or(0, size_of_val) + self.publishes.bytes() + self.unread.held_bytes()
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

    fn on_admin_command(&mut self, command: &AdminCommand, context: &mut SessionContext<'_>) -> bool {
        matches!(self.stage, Stage::Connected(_)) && admin::execute(&mut self.subscriber, command, context)
    }

    fn on_reload(&mut self, context: &mut SessionContext<'_>) {
        match self.subscriber.principal_mut().renew() {
            Ok(()) => self.subscriber.end_uncovered(context),
            // The session continues for the grace, in which the client may send another token.
            Err(AuthError::Expired) => {}
            Err(AuthError::Invalid(_)) => context.disconnect(Disconnect::INVALID_TOKEN, CloseReason::TokenInvalid),
        }
    }

    fn on_lapse(&mut self, topic: &TopicName, context: &mut SessionContext<'_>) {
        self.subscriber.on_lapse(topic, context);
    }

    fn info(&self, topic: &TopicName) -> Option<Arc<MemberInfo>> {
        self.subscriber.member(topic).info
    }
}

fn send_published(id: u32, published: Result<Position, PublishError>, context: &mut SessionContext<'_>) {
    match published {
        Ok(_) => context.reply(&Reply::Publish { id }),
        Err(error) => Refusal::from(error.code()).answer(id, context),
    }
}

fn disconnect_as_unreadable(context: &mut SessionContext<'_>) {
    context.disconnect(Disconnect::BAD_REQUEST, CloseReason::Protocol);
}
