//! What a session publishes, as a command or as a raw message, until it has its position.

use super::state::{Pending, Session, Unpublished};
use crate::codes::CloseCode;
use crate::dialect::{Event, RequestId};
use crate::hub::{PayloadKind, Publication};
use crate::metrics::{CloseReason, CommandOp, LimitKey, PublishSource};
use crate::shard::{Answer, SessionContext};
use crate::topic_name::TopicName;

impl Session {
    /// A raw message is a publish: its command, its grant, its rate.
    pub fn publish_raw(&mut self, topic: &TopicName, payload: &[u8], text: bool, echo: bool, context: &mut SessionContext<'_>) {
        context.count_command(CommandOp::Publish);
        let config = context.config();
        let (rate, burst) = self.rate(&config.limits);
        if !self.command_rate.take(1, rate, burst, context.now()) {
            context.limit_hit(LimitKey::CommandsPerSecond);
            return context.close(CloseCode::RateLimited, "too many messages; see limits.commands_per_second", CloseReason::RateLimited);
        }
        if !self.grants().is_some_and(|grants| grants.may_publish(topic)) {
            let reason = format!("publishing to {topic} is not allowed for this session");
            return context.close(CloseCode::Policy, &reason, CloseReason::Policy);
        }
        let publication = Publication {
            payload,
            kind: if text { PayloadKind::Text } else { PayloadKind::Binary },
            except: (!echo).then_some(self.id),
            source: PublishSource::Session,
            payer: None,
        };
        self.publish(topic, &publication, None, context);
    }

    /// Publishes, or keeps a copy of what is to be published until there is room for it.
    pub fn publish(
        &mut self,
        topic: &TopicName,
        publication: &Publication<'_>,
        id: Option<RequestId<'_>>,
        context: &mut SessionContext<'_>,
    ) {
        if !self.publish_now(topic, publication, id, context) {
            self.wait_for_room(Unpublished::new(topic, publication, id));
        }
    }

    /// Publishes what had to wait, or lets it wait on.
    pub fn publish_again(&mut self, unpublished: Unpublished, context: &mut SessionContext<'_>) {
        let id = unpublished.id.as_deref().map(RequestId);
        if !self.publish_now(&unpublished.topic, &unpublished.publication(), id, context) {
            self.wait_for_room(unpublished);
        }
    }

    /// `false`: there is no room.
    fn publish_now(
        &mut self,
        topic: &TopicName,
        publication: &Publication<'_>,
        id: Option<RequestId<'_>>,
        context: &mut SessionContext<'_>,
    ) -> bool {
        let Answer::Ready(published) = context.publish(topic, publication) else { return false };
        match (published, id) {
            (Ok(position), Some(id)) => context.say(&Event::Published { id, topic, offset: position.offset }),
            (Ok(_), None) => {}
            (Err(error), _) if self.is_raw() => {
                context.close(CloseCode::Policy, &error.to_string(), CloseReason::Policy);
            }
            (Err(error), id) => context.refuse(id, error.code(), &error.to_string()),
        }
        true
    }

    fn wait_for_room(&mut self, unpublished: Unpublished) {
        self.pending = Some(Box::new(Pending::Publish(unpublished)));
    }
}
