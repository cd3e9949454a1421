//! Commands whose answer may come later.

use std::collections::HashSet;

use super::refusal::{Refusal, named};
use super::subscriber::Subscriber;
use crate::codes::ErrorCode;
use crate::dialect::centrifugo::{self, ErrorReply, Reply};
use crate::hub::{HistoryPart, ReadFrom};
use crate::position::Offset;
use crate::session::work;
use crate::shard::{Answer, SessionContext};
use crate::topic_name::TopicName;

/// The most messages in one answer from history.
const HISTORY_LIMIT_MAX: usize = 1_000;

/// A command that is tried until it is done, with what its answer needs.
pub enum Pending {
    /// What the shard's inbox holds goes out before the answer.
    Unsubscribe(Unsubscribe),
    /// A part of a history is asked for.
    History(History),
    /// The members of a topic are asked for.
    Presence(Presence),
}

/// An unsubscribe that waits until the shard has taken what was pushed before it; answered also where there is nothing to end.
pub struct Unsubscribe {
    pub id: u32,
    /// From what; `None`: no topic has that name.
    pub topic: Option<TopicName>,
    /// How many items the inbox had had.
    pub pushed: u64,
}

/// A part of a history that is asked for.
pub struct History {
    id: u32,
    topic: TopicName,
    from: ReadFrom,
    limit: usize,
    /// The epoch that the client says its position is of.
    epoch: Option<Box<str>>,
}

/// The members of a topic that are asked for.
pub struct Presence {
    id: u32,
    topic: TopicName,
    /// Whether their number alone is wanted.
    stats: bool,
}

impl Pending {
    /// Goes on with the command; itself, if it has to wait.
    pub fn go_on(self, subscriber: &mut Subscriber, context: &mut SessionContext<'_>) -> Option<Self> {
        match self {
            Self::Unsubscribe(unsubscribe) => unsubscribe.go_on(subscriber, context).map(Self::Unsubscribe),
            Self::History(history) => history.go_on(subscriber, context).map(Self::History),
            Self::Presence(presence) => presence.go_on(subscriber, context).map(Self::Presence),
        }
    }
}

impl Unsubscribe {
    fn go_on(self, subscriber: &mut Subscriber, context: &mut SessionContext<'_>) -> Option<Self> {
        if context.taken(self.pushed) == Answer::Pending {
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
    /// What a command asks for, if the session may have it.
    pub fn new(id: u32, asked: &centrifugo::History<'_>, subscriber: &Subscriber, context: &SessionContext<'_>) -> Result<Self, Refusal> {
        let topic = named(&asked.channel)?;
        if context.config().rules.of(&topic).history == 0 {
            return Err(ErrorCode::HistoryOff.into());
        }
        if !subscriber.may_read(&topic, context) {
            return Err(ErrorCode::NotAllowed.into());
        }
        let offset = asked.since.as_ref().map(|(offset, _)| *offset);
        let from = match (asked.reverse, offset) {
            (true, Some(0)) => return Err(ErrorCode::BadRequest.into()),
            (true, before) => ReadFrom::Before(Offset(before.unwrap_or(u64::MAX))),
            (false, after) => ReadFrom::After(Offset(after.unwrap_or(0).min(i64::MAX as u64))),
        };
        let limit = usize::try_from(asked.limit).unwrap_or(HISTORY_LIMIT_MAX).min(HISTORY_LIMIT_MAX);
        let epoch = asked.since.as_ref().map(|(_, epoch)| &**epoch).filter(|epoch| !epoch.is_empty()).map(Into::into);
        Ok(Self { id, topic, from, limit, epoch })
    }

    fn go_on(self, subscriber: &mut Subscriber, context: &mut SessionContext<'_>) -> Option<Self> {
        let refusal = match context.history_part(&self.topic, self.from, self.limit) {
            Answer::Pending => return Some(self),
            Answer::Ready(Ok(Ok(HistoryPart { position, messages }))) => {
                if self.epoch.as_deref().is_none_or(|epoch| epoch == position.epoch.as_str()) {
                    let bytes = messages.iter().map(|message| message.payload().len()).sum();
                    subscriber.principal_mut().charge(work::of_history(bytes), context);
                    let (epoch, newest) = (position.epoch, position.offset);
                    context.reply(&Reply::History { id: self.id, messages: &messages, epoch, newest });
                    return None;
                }
                Refusal::Error(ErrorReply::UNRECOVERABLE_POSITION, ErrorCode::BadRequest)
            }
            Answer::Ready(Ok(Err(off))) => off.code().into(),
            Answer::Ready(Err(error)) => error.code().into(),
        };
        refusal.answer(self.id, context);
        None
    }
}

impl Presence {
    /// Who is there, or how many (`stats`), if the session may know.
    pub fn new(id: u32, topic: TopicName, stats: bool, subscriber: &Subscriber, context: &SessionContext<'_>) -> Result<Self, Refusal> {
        if !context.config().rules.of(&topic).presence {
            return Err(ErrorCode::PresenceOff.into());
        }
        if !subscriber.may_read(&topic, context) {
            return Err(ErrorCode::NotAllowed.into());
        }
        Ok(Self { id, topic, stats })
    }

    fn go_on(self, subscriber: &mut Subscriber, context: &mut SessionContext<'_>) -> Option<Self> {
        let Self { id, stats, .. } = self;
        let members = match context.presence(&self.topic) {
            Answer::Pending => return Some(self),
            Answer::Ready(Err(off)) => {
                Refusal::from(off.code()).answer(id, context);
                return None;
            }
            Answer::Ready(Ok(members)) => members,
        };
        subscriber.principal_mut().charge(work::of_members(members.len()), context);
        if stats {
            // All who are anonymous count as one user.
            let users: HashSet<Option<&str>> = members.iter().map(|member| member.user.as_deref()).collect();
            context.reply(&Reply::PresenceStats { id, clients: members.len(), users: users.len() });
        } else {
            context.reply(&Reply::Presence { id, members: &members });
        }
        None
    }
}
