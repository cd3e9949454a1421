//! Commands whose answers may be pending.

use std::collections::HashSet;
use std::task::Poll;

use super::refusal::{Refusal, topic_of};
use super::subscriber::Subscriber;
use crate::codes::ErrorCode;
use crate::dialect::HISTORY_LIMIT_MAX;
use crate::dialect::centrifugo::{self, ErrorReply, Reply};
use crate::hub::{HistoryPart, ReadFrom};
use crate::position::Offset;
use crate::session::work;
use crate::shard::SessionContext;
use crate::topic_name::TopicName;

/// A command that is repeated until its answer is ready, with the data that the answer needs.
pub enum Pending {
    /// An unsubscribe. Messages that the inbox held before it are sent before its answer.
    Unsubscribe(Unsubscribe),
    /// A read of a history.
    History(History),
    /// A read of a topic's members.
    Presence(Presence),
}

/// An unsubscribe. It waits until the shard has processed the items that its inbox received before. It is answered even if the session
/// is not subscribed.
pub struct Unsubscribe {
    id: u32,
    /// The topic; `None`: the name is no valid topic.
    topic: Option<TopicName>,
    /// How many items the inbox had received.
    pushed: u64,
}

/// A read of a part of a history.
pub struct History {
    id: u32,
    topic: TopicName,
    from: ReadFrom,
    limit: usize,
    /// The epoch of the client's position; `None`: it is not compared.
    epoch: Option<Box<str>>,
}

/// A read of a topic's members.
pub struct Presence {
    id: u32,
    topic: TopicName,
    /// Whether only the numbers of members and users are wanted.
    stats: bool,
}

impl Pending {
    /// Continues the command. Returns the command if its answer is pending.
    pub fn resume(self, subscriber: &mut Subscriber, context: &mut SessionContext<'_>) -> Option<Self> {
        match self {
            Self::Unsubscribe(unsubscribe) => unsubscribe.resume(subscriber, context).map(Self::Unsubscribe),
            Self::History(history) => history.resume(subscriber, context).map(Self::History),
            Self::Presence(presence) => presence.resume(subscriber, context).map(Self::Presence),
        }
    }
}

impl Unsubscribe {
    /// An unsubscribe that came when the inbox had received as many items as it has by now.
    pub fn new(id: u32, topic: Option<TopicName>, context: &SessionContext<'_>) -> Self {
        Self { id, topic, pushed: context.pushed() }
    }

    fn resume(self, subscriber: &mut Subscriber, context: &mut SessionContext<'_>) -> Option<Self> {
        if context.when_processed(self.pushed).is_pending() {
            return Some(self);
        }
        if let Some(topic) = self.topic {
            subscriber.unsubscribe(topic, context);
        }
        context.reply(&Reply::Unsubscribe { id: self.id });
        None
    }
}

impl History {
    /// The read that a `history` command asks for, or its refusal.
    pub fn new(id: u32, request: &centrifugo::History<'_>, subscriber: &Subscriber, context: &SessionContext<'_>) -> Result<Self, Refusal> {
        let topic = topic_of(&request.channel)?;
        if context.config().rules.of(&topic).history == 0 {
            return Err(ErrorCode::HistoryOff.into());
        }
        if !subscriber.may_read(&topic, context) {
            return Err(ErrorCode::NotAllowed.into());
        }
        let offset = request.since.as_ref().map(|(offset, _)| *offset);
        let from = match (request.reverse, offset) {
            (true, Some(0)) => return Err(ErrorCode::BadRequest.into()),
            (true, before) => ReadFrom::Before(Offset(before.unwrap_or(u64::MAX))),
            (false, after) => ReadFrom::After(Offset::clamped(after.unwrap_or(0))),
        };
        let limit = usize::try_from(request.limit).unwrap_or(HISTORY_LIMIT_MAX).min(HISTORY_LIMIT_MAX);
        let epoch = request.since.as_ref().map(|(_, epoch)| &**epoch).filter(|epoch| !epoch.is_empty()).map(Into::into);
        Ok(Self { id, topic, from, limit, epoch })
    }

    fn resume(self, subscriber: &mut Subscriber, context: &mut SessionContext<'_>) -> Option<Self> {
        let refusal = match context.history_part(&self.topic, self.from, self.limit) {
            Poll::Pending => return Some(self),
            Poll::Ready(Ok(Ok(HistoryPart { position, messages }))) => {
                if self.epoch.as_deref().is_none_or(|epoch| epoch == position.epoch.as_str()) {
                    let bytes = messages.iter().map(|message| message.payload().len()).sum();
                    subscriber.principal_mut().charge(work::of_history(bytes), context);
                    let (epoch, newest) = (position.epoch, position.offset);
                    context.reply(&Reply::History { id: self.id, messages: &messages, epoch, newest });
                    return None;
                }
                Refusal::Error(ErrorReply::UNRECOVERABLE_POSITION, ErrorCode::BadRequest)
            }
            Poll::Ready(Ok(Err(off))) => off.code().into(),
            Poll::Ready(Err(error)) => error.code().into(),
        };
        refusal.answer(self.id, context);
        None
    }
}

impl Presence {
    /// The read that a `presence` command asks for or, with `stats`, a `presence_stats` command; or its refusal.
    pub fn new(id: u32, topic: TopicName, stats: bool, subscriber: &Subscriber, context: &SessionContext<'_>) -> Result<Self, Refusal> {
        if !context.config().rules.of(&topic).presence {
            return Err(ErrorCode::PresenceOff.into());
        }
        if !subscriber.may_read(&topic, context) {
            return Err(ErrorCode::NotAllowed.into());
        }
        Ok(Self { id, topic, stats })
    }

    fn resume(self, subscriber: &mut Subscriber, context: &mut SessionContext<'_>) -> Option<Self> {
        let Self { id, stats, .. } = self;
        let members = match context.presence(&self.topic) {
            Poll::Pending => return Some(self),
            Poll::Ready(Err(off)) => {
                Refusal::from(off.code()).answer(id, context);
                return None;
            }
            Poll::Ready(Ok(members)) => members,
        };
        subscriber.principal_mut().charge(work::of_members(members.len()), context);
        if stats {
            // All anonymous members count as one user.
            let users: HashSet<Option<&str>> = members.iter().map(|member| member.user.as_deref()).collect();
            context.reply(&Reply::PresenceStats { id, clients: members.len(), users: users.len() });
        } else {
            context.reply(&Reply::Presence { id, members: &members });
        }
        None
    }
}
