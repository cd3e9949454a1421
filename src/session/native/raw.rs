//! A session of the raw dialect: each message that it sends is published to its topic, and it receives the topic's payloads.

use std::task::Poll;

use super::admin;
use crate::codes::CloseCode;
use crate::hub::{PayloadKind, Publication, PublishError};
use crate::metrics::{CloseReason, CommandOp, PublishSource};
use crate::position::Position;
use crate::session::command_rate::Verdict;
use crate::session::principal::Principal;
use crate::session::protocol::Protocol;
use crate::session::publishes::Publishes;
use crate::session::subscriptions::{SubscribeOptions, Subscribing};
use crate::session::work;
use crate::shard::{AdminCommand, SessionContext};
use crate::topic_name::{Pattern, TopicName};

/// The protocol of one session.
pub struct Raw {
    principal: Principal,
    topic: TopicName,
    /// Whether the session receives its own messages.
    echo: bool,
    /// The subscribe to its topic, until it is complete.
    subscribing: Option<Box<Subscribing>>,
    publishes: Publishes<()>,
}

impl Raw {
    /// A session on `topic`, with the topic's newest `last` messages. The grant to subscribe was checked before the upgrade.
    pub fn new(principal: Principal, topic: TopicName, last: Option<usize>, echo: bool) -> Self {
        let options = SubscribeOptions { last, ..SubscribeOptions::default() };
        let subscribing = Some(Box::new(Subscribing::new(vec![Ok(Pattern::from(topic.clone()))], options)));
        Self { principal, topic, echo, subscribing, publishes: Publishes::default() }
    }

    /// Continues the subscribe.
    fn run_subscribe(&mut self, context: &mut SessionContext<'_>) {
        let Some(mut subscribing) = self.subscribing.take() else { return };
        if subscribing.resume(self.principal.grants(), &self.principal.member(), context).is_pending() {
            self.subscribing = Some(subscribing);
            return;
        }
        self.principal.charge(work::of_nodes(subscribing.visited()), context);
        if let Err(reason) = subscribing.finish(context).begin_raw(context) {
            context.close(CloseCode::Policy, &reason, CloseReason::Policy);
        }
    }

    /// Takes the answers that are ready. Closes the session if a publish was refused.
    fn take_answers(&mut self, context: &mut SessionContext<'_>) {
        while context.is_open()
            && let Some(((), published)) = self.publishes.next_answer(context)
        {
            end_if_refused(published, context);
        }
    }
}

impl Protocol for Raw {
    fn principal(&self) -> &Principal {
        &self.principal
    }

    fn on_open(&mut self, context: &mut SessionContext<'_>) {
        self.on_reload(context); // a reload after the upgrade was granted did not reach this session
        if context.is_open() {
            self.run_subscribe(context);
        }
    }

    /// Publishes `message`. It counts as a `publish` command, and needs the grant and the rate of one.
    fn on_message(&mut self, message: &[u8], is_text: bool, context: &mut SessionContext<'_>) {
        context.count_command(CommandOp::Publish);
        if self.principal.take_valid_command(context) != Verdict::Allowed {
            return context.close(CloseCode::RateLimited, "too many messages; see limits.commands_per_second", CloseReason::RateLimited);
        }
        if !self.principal.may_publish(&self.topic) {
            let reason = format!("publishing to {} is not allowed for this session", self.topic);
            return context.close(CloseCode::Policy, &reason, CloseReason::Policy);
        }
        let extra = self.principal.extra(&self.topic, context);
        let publication = Publication {
            except: (!self.echo).then_some(self.principal.id()),
            extra: extra.as_ref(),
            ..Publication::new(message, if is_text { PayloadKind::Text } else { PayloadKind::Binary }, PublishSource::Session)
        };
        match self.publishes.publish(&self.topic, &publication, || (), 0, context) {
            Poll::Ready(published) => end_if_refused(published, context),
            Poll::Pending => self.take_answers(context),
        }
    }

    fn resume(&mut self, context: &mut SessionContext<'_>) -> bool {
        self.publishes.submit_waiting(context);
        self.take_answers(context);
        self.run_subscribe(context);
        self.accepts_messages()
    }

    fn accepts_messages(&self) -> bool {
        self.subscribing.is_none() && self.publishes.has_room()
    }

    fn held_bytes(&self) -> usize {
        self.subscribing.as_ref().map_or(0, |subscribing| subscribing.bytes()) + self.publishes.bytes()
    }

    fn on_admin_command(&mut self, command: &AdminCommand, context: &mut SessionContext<'_>) -> bool {
        let is_done = admin::execute(command, &mut self.principal, context);
        if is_done && matches!(command, AdminCommand::Unsubscribe(_)) {
            context.close(CloseCode::Policy, "an operator has ended the subscription", CloseReason::Policy);
        }
        is_done
    }

    fn on_reload(&mut self, context: &mut SessionContext<'_>) {
        if admin::renew(&mut self.principal, context)
            && let Some(reason) = admin::end_uncovered(&self.principal, context)
        {
            context.close(CloseCode::Policy, &reason, CloseReason::Policy);
        }
    }
}

/// Closes the session if its publish was refused: the raw dialect has no frame for errors.
fn end_if_refused(published: Result<Position, PublishError>, context: &mut SessionContext<'_>) {
    match published {
        Ok(_) => {}
        Err(error @ PublishError::Unavailable(_)) => context.close(CloseCode::TryAgainLater, &error.to_string(), CloseReason::TooFull),
        Err(error) => context.close(CloseCode::Policy, &error.to_string(), CloseReason::Policy),
    }
}
