//! What a session publishes, as a command or as a raw message, until it has its position.

use super::standing::{Pending, Session, Unpublished};
use crate::codes::CloseCode;
use crate::dialect::{Event, RequestId};
use crate::hub::{PayloadKind, Publication};
use crate::metrics::{CloseReason, CommandOp, LimitKey, PublishSource};
use crate::shard::Seat;
use crate::topic_name::TopicName;

impl Session {
    /// A raw message is a publish: its command, its grant, its rate.
    pub fn publish_raw(&mut self, topic: &TopicName, payload: &[u8], text: bool, echo: bool, seat: &mut dyn Seat) {
        seat.tally().command(CommandOp::Publish);
        let config = seat.config();
        let (rate, burst) = self.rate(&config.limits);
        if !self.command_rate.take(1, rate, burst, seat.now()) {
            seat.limit_hit(LimitKey::CommandsPerSecond);
            return seat.close(CloseCode::RateLimited, "too many messages; see limits.commands_per_second", CloseReason::RateLimited);
        }
        if !self.grants().is_some_and(|grants| grants.may_publish(topic)) {
            let reason = format!("publishing to {topic} is not allowed for this session");
            return seat.close(CloseCode::Policy, &reason, CloseReason::Policy);
        }
        let publication = Publication {
            payload,
            kind: if text { PayloadKind::Text } else { PayloadKind::Binary },
            except: (!echo).then_some(self.id),
            source: PublishSource::Session,
        };
        self.publish(topic, &publication, None, seat);
    }

    /// Publishes, or keeps a copy of what is to be published until there is room for it.
    pub fn publish(&mut self, topic: &TopicName, publication: &Publication<'_>, id: Option<RequestId<'_>>, seat: &mut dyn Seat) {
        if !self.publish_now(topic, publication, id, seat) {
            self.wait_for_room(Unpublished::new(topic, publication, id), seat);
        }
    }

    /// Publishes what had to wait, or lets it wait on.
    pub fn publish_again(&mut self, unpublished: Unpublished, seat: &mut dyn Seat) {
        let id = unpublished.id.as_deref().map(RequestId);
        if !self.publish_now(&unpublished.topic, &unpublished.publication(), id, seat) {
            self.wait_for_room(unpublished, seat);
        }
    }

    /// `false`: there is no room.
    fn publish_now(&mut self, topic: &TopicName, publication: &Publication<'_>, id: Option<RequestId<'_>>, seat: &mut dyn Seat) -> bool {
        let Some(published) = seat.try_publish(topic, publication) else { return false };
        match (published, id) {
            (Ok(position), Some(id)) => seat.say(&Event::Published { id, topic, offset: position.offset }),
            (Ok(_), None) => {}
            (Err(error), _) if self.is_raw() => {
                seat.close(CloseCode::Policy, &error.to_string(), CloseReason::Policy);
            }
            (Err(error), id) => seat.refuse(id, error.code(), &error.to_string()),
        }
        true
    }

    fn wait_for_room(&mut self, unpublished: Unpublished, seat: &mut dyn Seat) {
        seat.pause();
        self.pending = Some(Box::new(Pending::Publish(unpublished)));
    }
}
