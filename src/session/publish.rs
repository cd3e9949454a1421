//! What a session publishes, as a command or as a raw message, until it has its position.

use std::sync::Arc;

use super::command_rate::Verdict;
use super::state::{Pending, Session, Unacknowledged, Unpublished};
use crate::codes::CloseCode;
use crate::dialect::{Event, RequestId};
use crate::hub::{Extra, PayloadKind, Publication, PublishError, Receipt};
use crate::metrics::{CloseReason, CommandOp, PublishSource};
use crate::position::Position;
use crate::shard::{Publishing, SessionContext};
use crate::topic_name::TopicName;

impl Session {
    /// A raw message is a publish: its command, its grant, its rate.
    pub fn publish_raw(&mut self, topic: &TopicName, payload: &[u8], text: bool, echo: bool, context: &mut SessionContext<'_>) {
        context.count_command(CommandOp::Publish);
        if self.command_rate.take(self.identity.as_deref(), context) != Verdict::Done {
            return context.close(CloseCode::RateLimited, "too many messages; see limits.commands_per_second", CloseReason::RateLimited);
        }
        if !self.grants().is_some_and(|grants| grants.may_publish(topic)) {
            let reason = format!("publishing to {topic} is not allowed for this session");
            return context.close(CloseCode::Policy, &reason, CloseReason::Policy);
        }
        let extra = self.extra(topic, context);
        let publication = Publication {
            payload,
            kind: if text { PayloadKind::Text } else { PayloadKind::Binary },
            except: (!echo).then_some(self.id),
            source: PublishSource::Session,
            payer: None,
            extra: extra.as_ref(),
        };
        self.publish(topic, &publication, None, context);
    }

    /// What goes with a message of `topic`: its publisher, where the rule names it.
    pub fn extra(&self, topic: &TopicName, context: &SessionContext<'_>) -> Option<Arc<Extra>> {
        let named = context.config().rules.name_sender(topic);
        named.then(|| Arc::new(Extra { publisher: Some(self.member()), tags: Vec::new() }))
    }

    /// Publishes, or keeps a copy of what is to be published until there is room for it.
    pub fn publish(
        &mut self,
        topic: &TopicName,
        publication: &Publication<'_>,
        id: Option<RequestId<'_>>,
        context: &mut SessionContext<'_>,
    ) {
        match context.publish(topic, publication) {
            Publishing::Done(published) => self.tell_in_order(topic, published, id, context),
            Publishing::NoRoom => self.waiting.hold(Pending::Publish(Unpublished::new(topic, publication, id))),
            Publishing::Awaited(receipt) => self.wait_for(topic, receipt, id, context),
        }
    }

    /// Publishes what had to wait, or lets it wait on.
    pub fn publish_again(&mut self, unpublished: Unpublished, context: &mut SessionContext<'_>) {
        let id = unpublished.id.as_deref().map(RequestId);
        match context.publish(&unpublished.topic, &unpublished.publication()) {
            Publishing::Done(published) => self.tell_in_order(&unpublished.topic, published, id, context),
            Publishing::NoRoom => self.waiting.hold(Pending::Publish(unpublished)),
            Publishing::Awaited(receipt) => self.wait_for(&unpublished.topic, receipt, id, context),
        }
    }

    /// Tells what became of what an engine was handed, as far as it has answered.
    pub fn tell_answers(&mut self, context: &mut SessionContext<'_>) {
        while context.is_open()
            && let Some((Unacknowledged { topic, id }, published)) = self.waiting.next_answer(context)
        {
            self.tell_published(&topic, published, id.as_deref().map(RequestId), context);
        }
    }

    /// Tells what became of a publish, behind those before it.
    fn tell_in_order(
        &mut self,
        topic: &TopicName,
        published: Result<Position, PublishError>,
        id: Option<RequestId<'_>>,
        context: &mut SessionContext<'_>,
    ) {
        if self.waiting.has_published() {
            return self.wait_for(topic, Receipt::answered(published), id, context);
        }
        self.tell_published(topic, published, id, context);
    }

    fn tell_published(
        &mut self,
        topic: &TopicName,
        published: Result<Position, PublishError>,
        id: Option<RequestId<'_>>,
        context: &mut SessionContext<'_>,
    ) {
        match (published, id) {
            (Ok(position), Some(id)) => context.say(&Event::Published { id, topic, offset: position.offset }),
            (Ok(_), None) => {}
            (Err(error @ PublishError::Unavailable(_)), _) if self.is_raw() => {
                context.close(CloseCode::TryAgainLater, &error.to_string(), CloseReason::TooFull);
            }
            (Err(error), _) if self.is_raw() => {
                context.close(CloseCode::Policy, &error.to_string(), CloseReason::Policy);
            }
            (Err(error), id) => context.refuse(id, error.code(), &error.to_string()),
        }
    }

    fn wait_for(&mut self, topic: &TopicName, receipt: Receipt, id: Option<RequestId<'_>>, context: &mut SessionContext<'_>) {
        let bytes = id.map_or(0, |RequestId(id)| id.len());
        let about = Unacknowledged { topic: topic.clone(), id: id.map(|RequestId(id)| id.into()) };
        self.waiting.publish(receipt, about, bytes);
        self.tell_answers(context);
    }
}
