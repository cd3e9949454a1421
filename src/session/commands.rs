//! One command to its effect and its reply.

use super::command_rate::Verdict;
use super::refused::ended;
use super::state::{AskedHistory, AskedPresence, Pending, Session};
use super::subscribe_options::SubscribeOptions;
use super::unsubscribing::Unsubscribing;
use super::work;
use crate::codes::{CloseCode, ErrorCode};
use crate::dialect::{Command, Event, RequestId};
use crate::hub::{PayloadKind, Publication};
use crate::metrics::{CloseReason, CommandOp, PublishSource};
use crate::shard::{Answer, SessionContext};
use crate::topic_name::{Pattern, TopicName};

/// The command's label in the metrics.
pub fn op(command: &Command<'_>) -> CommandOp {
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

impl Session {
    /// Whether the rate allows one more command; if not, it was answered, or the session closed.
    pub fn may_command(&mut self, id: Option<RequestId<'_>>, context: &mut SessionContext<'_>) -> bool {
        let found = context.take_work(work::TOPICS_PER_UNIT);
        self.charge(found, context);
        match self.command_rate.take(self.identity.as_deref(), context) {
            Verdict::Done => return true,
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

    /// Charges work beyond a command's own unit.
    pub fn charge(&mut self, units: u32, context: &SessionContext<'_>) {
        self.command_rate.charge(units, self.identity.as_deref(), context);
    }

    /// Does what `command` says.
    pub fn obey(&mut self, id: Option<RequestId<'_>>, command: Command<'_>, context: &mut SessionContext<'_>) {
        match command {
            Command::Subscribe { topics, last, since, interval, presence } => {
                self.charge(work::of_names(topics.len() + since.len()), context);
                self.subscribe(id, topics, SubscribeOptions { last, since, interval, presence }, context);
            }
            Command::Unsubscribe { topics } => {
                self.charge(work::of_names(topics.len()), context);
                let unsubscribing = Unsubscribing::new(topics, id, context.pushed());
                self.go_on_unsubscribing(Box::new(unsubscribing), context);
            }
            Command::Publish { topic, data, echo } => self.obey_publish(id, topic, data, echo, context),
            Command::History { topic, since, limit } => {
                let id = id.map(|RequestId(id)| id.into());
                self.tell_history(AskedHistory { topic, since, limit, id }, context);
            }
            Command::Presence { topic } => {
                let id = id.map(|RequestId(id)| id.into());
                self.tell_presence(AskedPresence { topic, id }, context);
            }
            Command::Auth { token } => self.authenticate(id, &token, context),
            Command::Subscriptions => {
                self.charge(work::of_names(context.subscription_count()), context);
                let topics = context.subscriptions();
                context.say(&Event::Subscriptions { id, topics: &topics });
            }
            Command::Ping => context.say(&Event::Pong { id }),
        }
    }

    /// Does what had to wait; `true`: nothing waits any more.
    pub fn finish_pending(&mut self, context: &mut SessionContext<'_>) -> bool {
        self.tell_answers(context);
        match self.waiting.take() {
            Some(Pending::Publish(unpublished)) => self.publish_again(unpublished, context),
            Some(Pending::Subscribe(asked)) => self.go_on_subscribing(asked, context),
            Some(Pending::Unsubscribe(unsubscribing)) => self.go_on_unsubscribing(unsubscribing, context),
            Some(Pending::History(asked)) => self.tell_history(asked, context),
            Some(Pending::Presence(asked)) => self.tell_presence(asked, context),
            None => {}
        }
        self.waiting.is_over()
    }

    fn obey_publish(&mut self, id: Option<RequestId<'_>>, topic: TopicName, data: &[u8], echo: bool, context: &mut SessionContext<'_>) {
        if !self.grants().is_some_and(|grants| grants.may_publish(&topic)) {
            let message = format!("publishing to {topic} is not allowed for this session");
            return context.refuse(id, ErrorCode::NotAllowed, &message);
        }
        let extra = self.extra(&topic, context);
        let publication = Publication {
            payload: data,
            kind: PayloadKind::Json,
            except: (!echo).then_some(self.id),
            source: PublishSource::Session,
            payer: None,
            extra: extra.as_ref(),
        };
        self.publish(&topic, &publication, id, context);
    }

    fn tell_history(&mut self, asked: AskedHistory, context: &mut SessionContext<'_>) {
        let id = asked.id.as_deref().map(RequestId);
        let topic = &asked.topic;
        if !self.may_read(topic) {
            return context.refuse(id, ErrorCode::NotAllowed, &format!("reading {topic} is not allowed for this session"));
        }
        match context.history(topic, asked.since, asked.limit) {
            Answer::Ready(Ok(page)) => {
                self.charge(work::of_history(page.messages.iter().map(|message| message.payload().len()).sum()), context);
                context.say(&Event::History { id, topic, page: &page });
            }
            Answer::Ready(Err(off)) => context.refuse(id, off.code(), &format!("{topic}: {off}")),
            Answer::Pending => self.waiting.hold(Pending::History(asked)),
        }
    }

    fn tell_presence(&mut self, asked: AskedPresence, context: &mut SessionContext<'_>) {
        let id = asked.id.as_deref().map(RequestId);
        let topic = &asked.topic;
        if !self.may_read(topic) {
            return context.refuse(id, ErrorCode::NotAllowed, &format!("reading {topic} is not allowed for this session"));
        }
        match context.presence(topic) {
            Answer::Ready(Ok(members)) => {
                self.charge(work::of_members(members.len()), context);
                context.say(&Event::Presence { id, topic, members: &members });
            }
            Answer::Ready(Err(off)) => context.refuse(id, off.code(), &format!("{topic}: {off}")),
            Answer::Pending => self.waiting.hold(Pending::Presence(asked)),
        }
    }

    fn authenticate(&mut self, id: Option<RequestId<'_>>, token: &str, context: &mut SessionContext<'_>) {
        let identity = match self.surroundings.identify(token, context) {
            Ok(identity) => identity,
            Err(error) => return context.refuse(id, error.code(), &error.to_string()),
        };
        self.charge(work::of_names(context.subscription_count()), context); // each is looked at
        let before = self.user();
        let expires = identity.expires;
        self.identity = Some(identity);
        let user = self.user();
        if id.is_some() {
            context.say(&Event::Authenticated { id, user: user.as_ref(), expires });
        }
        if before != user {
            context.rename(&self.member());
        }
        self.end_uncovered(context);
        self.set_deadline(context);
    }

    /// Ends the subscriptions that the session's grants do not cover any more, and says which.
    pub fn end_uncovered(&mut self, context: &mut SessionContext<'_>) {
        let may = |pattern: &Pattern| self.grants().is_some_and(|grants| grants.may_subscribe(pattern));
        let uncovered: Vec<Pattern> = context.subscriptions().into_iter().filter(|pattern| !may(pattern)).collect();
        if uncovered.is_empty() {
            return;
        }
        context.unsubscribe(&uncovered);
        let message = ended(&uncovered);
        if self.is_raw() {
            return context.close(CloseCode::Policy, &message, CloseReason::Policy);
        }
        context.refuse(None, ErrorCode::NotAllowed, &message);
    }

    fn may_read(&self, topic: &TopicName) -> bool {
        self.grants().is_some_and(|grants| grants.may_subscribe(&Pattern::from(topic.clone())))
    }
}
