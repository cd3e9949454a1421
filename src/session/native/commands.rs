//! A session of the native dialect: executes commands and answers them (PROTOCOL section 3).

use std::task::Poll;

use super::admin;
use super::pending::{OwnedId, Pending, borrowed, owned};
use crate::clock::Moment;
use crate::codes::{CloseCode, ErrorCode};
use crate::dialect::{Command, Event, Request, RequestId, native};
use crate::hub::{PayloadKind, Publication, PublishError};
use crate::metrics::{CloseReason, CommandOp, LimitKey, PublishSource};
use crate::position::Position;
use crate::session::command_rate::Verdict;
use crate::session::principal::Principal;
use crate::session::protocol::Protocol;
use crate::session::publishes::Publishes;
use crate::session::subscriptions::SubscribeOptions;
use crate::session::work;
use crate::shard::{AdminCommand, SessionContext};
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// The protocol of one session.
pub struct Native {
    principal: Principal,
    opened_at: Moment,
    /// A command whose answer is pending. No later command is executed before it is answered.
    pending: Option<Box<Pending>>,
    publishes: Publishes<Published>,
}

/// The data that the later answer to a publish needs.
struct Published {
    topic: TopicName,
    id: OwnedId,
}

/// The command's label in the metrics.
fn op(command: &Command<'_>) -> CommandOp {
    match command {
        Command::Subscribe { .. } => CommandOp::Subscribe,
        Command::Unsubscribe { .. } => CommandOp::Unsubscribe,
        Command::Publish { .. } => CommandOp::Publish,
        Command::History { .. } => CommandOp::History,
        Command::Presence { .. } => CommandOp::Presence,
        Command::Auth { .. } => CommandOp::Auth,
        Command::Subscriptions => CommandOp::Subscriptions,
        Command::Ping => CommandOp::Ping,
    }
}

impl Native {
    /// A session that opens at `now`. It subscribes to `topics`, those of its URL, with the newest `last` messages of each.
    pub fn new(principal: Principal, topics: Vec<Result<Pattern, TopicNameError>>, last: Option<usize>, now: Moment) -> Self {
        let options = SubscribeOptions { last, ..SubscribeOptions::default() };
        let pending = (!topics.is_empty()).then(|| Box::new(Pending::subscribe(topics, options, None, true)));
        Self { principal, opened_at: now, pending, publishes: Publishes::default() }
    }

    /// Whether the rate allows the command with `id`. If not, the command was refused, or the session closed.
    fn may_command(&mut self, id: Option<RequestId<'_>>, context: &mut SessionContext<'_>) -> bool {
        let found = context.take_work(work::TOPICS_PER_UNIT);
        self.principal.charge(found, context);
        match self.principal.take_command(context) {
            Verdict::Allowed => return true,
            Verdict::Refused { per_second } => {
                let message = format!("more than {per_second} commands a second; this one was not done");
                context.refuse(id, ErrorCode::RateLimited, &message);
            }
            Verdict::Excess => {
                context.close(CloseCode::RateLimited, "too many commands; see limits.commands_per_second", CloseReason::RateLimited);
            }
        }
        false
    }

    /// Executes `command`.
    fn execute(&mut self, id: Option<RequestId<'_>>, command: Command<'_>, context: &mut SessionContext<'_>) {
        match command {
            Command::Subscribe { topics, last, since, interval, presence } => {
                let options = SubscribeOptions { last, since, interval, presence }.into_owned();
                self.begin(Pending::subscribe(topics, options, id, false), context);
            }
            Command::Unsubscribe { topics } => {
                self.principal.charge(work::of_names(topics.len()), context);
                self.begin(Pending::unsubscribe(topics, id, context), context);
            }
            Command::Publish { topic, data, echo } => self.publish(id, &topic, data, echo, context),
            Command::History { topic, since, limit } => self.begin(Pending::history(topic, since, limit, id), context),
            Command::Presence { topic } => self.begin(Pending::presence(topic, id), context),
            Command::Auth { token } => self.authenticate(id, &token, context),
            Command::Subscriptions => {
                self.principal.charge(work::of_names(context.subscription_count()), context);
                let topics = context.subscriptions();
                context.send(&Event::Subscriptions { id, topics: &topics });
            }
            Command::Ping => context.send(&Event::Pong { id }),
        }
    }

    /// Executes a command, or keeps it while its answer is pending.
    fn begin(&mut self, command: Pending, context: &mut SessionContext<'_>) {
        self.pending = command.resume(&mut self.principal, context).map(Box::new);
    }

    /// Publishes `data`. The answer is sent now, or behind the answers to earlier publishes.
    fn publish(&mut self, id: Option<RequestId<'_>>, topic: &TopicName, data: &[u8], echo: bool, context: &mut SessionContext<'_>) {
        if !self.principal.may_publish(topic) {
            let message = format!("publishing to {topic} is not allowed for this session");
            return context.refuse(id, ErrorCode::NotAllowed, &message);
        }
        let extra = self.principal.extra(topic, context);
        let publication = Publication {
            except: (!echo).then_some(self.principal.id()),
            extra: extra.as_ref(),
            ..Publication::new(data, PayloadKind::Json, PublishSource::Session)
        };
        let about = || Published { topic: topic.clone(), id: owned(id) };
        let about_bytes = id.map_or(0, |RequestId(id)| id.len());
        match self.publishes.publish(topic, &publication, about, about_bytes, context) {
            Poll::Ready(published) => send_published(topic, published, id, context),
            Poll::Pending => self.send_answers(context),
        }
    }

    /// Sends the answers to publishes that are ready.
    fn send_answers(&mut self, context: &mut SessionContext<'_>) {
        while context.is_open()
            && let Some((Published { topic, id }, published)) = self.publishes.next_answer(context)
        {
            send_published(&topic, published, borrowed(&id), context);
        }
    }

    fn authenticate(&mut self, id: Option<RequestId<'_>>, token: &str, context: &mut SessionContext<'_>) {
        let identity = match self.principal.identify(token, context) {
            Ok(identity) => identity,
            Err(error) => return context.refuse(id, error.code(), &error.to_string()),
        };
        self.principal.charge(work::of_names(context.subscription_count()), context); // each is checked against the grants
        let before = self.principal.user();
        let expires = identity.expires;
        self.principal.set_identity(identity, context);
        let user = self.principal.user();
        if id.is_some() {
            context.send(&Event::Authenticated { id, user: user.as_ref(), expires });
        }
        if before != user {
            context.change_user(&self.principal.member());
        }
        self.end_uncovered(context);
    }

    /// Ends the subscriptions that the session's grants no longer cover, and names them in an error.
    fn end_uncovered(&self, context: &mut SessionContext<'_>) {
        if let Some(message) = admin::end_uncovered(&self.principal, context) {
            context.refuse(None, ErrorCode::NotAllowed, &message);
        }
    }

    /// The deadline of `limits.auth_timeout`; `None`: the session has authenticated.
    fn auth_deadline(&self, context: &SessionContext<'_>) -> Option<Moment> {
        (!self.principal.has_identity()).then(|| self.opened_at + context.config().limits.auth_timeout)
    }
}

impl Protocol for Native {
    fn principal(&self) -> &Principal {
        &self.principal
    }

    fn on_open(&mut self, context: &mut SessionContext<'_>) {
        self.principal.send_welcome(context);
        // A reload after the upgrade was granted did not reach this session, because the shard did not have it yet.
        self.on_reload(context);
        if context.is_open()
            && let Some(subscribe) = self.pending.take()
        {
            self.begin(*subscribe, context);
        }
    }

    fn on_message(&mut self, message: &[u8], is_text: bool, context: &mut SessionContext<'_>) {
        if !is_text {
            return context.close(CloseCode::NotAcceptable, "commands are JSON in text frames", CloseReason::NotAcceptable);
        }
        let request = native::request(message);
        let (id, op) = match &request {
            Ok(request) => (request.id, op(&request.command)),
            Err(refusal) => (refusal.id, refusal.op),
        };
        context.count_command(op);
        if !self.may_command(id, context) {
            return;
        }
        match request {
            Ok(Request { id, command }) => {
                self.principal.count_valid();
                self.execute(id, command, context);
            }
            Err(refusal) => context.refuse(refusal.id, refusal.code, &refusal.message),
        }
    }

    fn resume(&mut self, context: &mut SessionContext<'_>) -> bool {
        self.publishes.submit_waiting(context);
        self.send_answers(context);
        if let Some(command) = self.pending.take() {
            self.begin(*command, context);
        }
        self.accepts_messages()
    }

    fn accepts_messages(&self) -> bool {
        self.pending.is_none() && self.publishes.has_room()
    }

    fn held_bytes(&self) -> usize {
        self.pending.as_deref().map_or(0, Pending::bytes) + self.publishes.bytes()
    }

    fn deadline(&self, context: &SessionContext<'_>) -> Option<Moment> {
        [self.auth_deadline(context), self.principal.expiry(context)].into_iter().flatten().min()
    }

    fn on_deadline(&mut self, context: &mut SessionContext<'_>) {
        if self.auth_deadline(context).is_some_and(|deadline| context.now() >= deadline) {
            context.limit_hit(LimitKey::AuthTimeout);
            return context.close(CloseCode::Policy, "not authenticated in time", CloseReason::Policy);
        }
        self.principal.end_expired(context);
    }

    fn on_admin_command(&mut self, command: &AdminCommand, context: &mut SessionContext<'_>) -> bool {
        admin::execute(command, &mut self.principal, context)
    }

    fn on_reload(&mut self, context: &mut SessionContext<'_>) {
        if admin::renew(&mut self.principal, context) {
            self.end_uncovered(context);
        }
    }
}

fn send_published(
    topic: &TopicName,
    published: Result<Position, PublishError>,
    id: Option<RequestId<'_>>,
    context: &mut SessionContext<'_>,
) {
    match (published, id) {
        (Ok(position), Some(id)) => context.send(&Event::Published { id, topic, offset: position.offset }),
        (Ok(_), None) => {}
        (Err(error), id) => context.refuse(id, error.code(), &error.to_string()),
    }
}
