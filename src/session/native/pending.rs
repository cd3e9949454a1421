//! Commands whose answers may be pending.

use std::task::Poll;

use crate::codes::ErrorCode;
use crate::dialect::{Event, RequestId};
use crate::position::Offset;
use crate::session::principal::Principal;
use crate::session::subscriptions::{SubscribeOptions, Subscribing, Unsubscribing};
use crate::session::work;
use crate::shard::SessionContext;
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// A command that is repeated until its answer is ready, with the data that the answer needs.
pub enum Pending {
    /// A subscribe, which may take several turns.
    Subscribe(Box<Subscribe>),
    /// An unsubscribe, which may take several turns. Messages that the inbox held before it are sent before its answer.
    Unsubscribe(Box<Unsubscribing>),
    /// A read of a topic's history or members.
    Read(Read),
}

/// The client's `id`, as JSON text, if its command has one.
pub type OwnedId = Option<Box<str>>;

/// A `subscribe` command, or the `?topics=` of an upgrade.
pub struct Subscribe {
    subscribing: Subscribing,
    /// Whether success is answered. A command without an `id` gets only errors; `?topics=` has no `id` and gets both.
    is_answered: bool,
    /// The cost of its names, in work units.
    units: u32,
    id: OwnedId,
}

/// A `history` or `presence` command.
pub struct Read {
    topic: TopicName,
    /// What of the topic is read.
    part: Part,
    id: OwnedId,
}

enum Part {
    History { since: Option<Offset>, limit: usize },
    Members,
}

impl Pending {
    /// A `subscribe` command or, with `is_upgrade`, the topics of an upgrade's URL.
    pub fn subscribe(
        topics: Vec<Result<Pattern, TopicNameError>>,
        options: SubscribeOptions<'static>,
        id: Option<RequestId<'_>>,
        is_upgrade: bool,
    ) -> Self {
        let units = work::of_names(topics.len() + options.since.len());
        let subscribing = Subscribing::new(topics, options);
        Self::Subscribe(Box::new(Subscribe { subscribing, is_answered: is_upgrade || id.is_some(), units, id: owned(id) }))
    }

    /// A `history` command: at most `limit` messages of `topic`, after `since` or else the newest ones.
    pub fn history(topic: TopicName, since: Option<Offset>, limit: usize, id: Option<RequestId<'_>>) -> Self {
        Self::Read(Read { topic, part: Part::History { since, limit }, id: owned(id) })
    }

    /// A `presence` command for `topic`.
    pub fn presence(topic: TopicName, id: Option<RequestId<'_>>) -> Self {
        Self::Read(Read { topic, part: Part::Members, id: owned(id) })
    }

    /// An `unsubscribe` command for `topics`.
    pub fn unsubscribe(topics: Vec<Result<Pattern, TopicNameError>>, id: Option<RequestId<'_>>, context: &SessionContext<'_>) -> Self {
        Self::Unsubscribe(Box::new(Unsubscribing::new(topics, id, context.pushed())))
    }

    /// Continues the command. Returns the command if its answer is pending.
    pub fn resume(self, principal: &mut Principal, context: &mut SessionContext<'_>) -> Option<Self> {
        match self {
            Self::Subscribe(subscribe) => subscribe.resume(principal, context).map(Self::Subscribe),
            Self::Unsubscribe(mut unsubscribing) => unsubscribing.resume(context).is_pending().then_some(Self::Unsubscribe(unsubscribing)),
            Self::Read(read) => read.resume(principal, context).map(Self::Read),
        }
    }

    /// The approximate memory of the command, in bytes.
    pub fn bytes(&self) -> usize {
        let inner = match self {
            Self::Subscribe(subscribe) => subscribe.subscribing.bytes(),
            Self::Unsubscribe(unsubscribing) => unsubscribing.bytes(),
            Self::Read(_) => 0,
        };
        size_of::<Self>() + inner
    }
}

impl Subscribe {
    /// Continues the command until it is done or its session's turn is over.
    fn resume(mut self: Box<Self>, principal: &mut Principal, context: &mut SessionContext<'_>) -> Option<Box<Self>> {
        if self.subscribing.resume(principal.grants(), &principal.member(), context).is_pending() {
            return Some(self);
        }
        let Self { subscribing, is_answered, units, id } = *self;
        principal.charge(units.saturating_add(work::of_nodes(subscribing.visited())), context);
        let (done, id) = (subscribing.finish(context), borrowed(&id));
        if is_answered {
            done.answer(id, context);
        }
        done.begin_all(id, context);
        None
    }
}

impl Read {
    fn resume(self, principal: &mut Principal, context: &mut SessionContext<'_>) -> Option<Self> {
        let (topic, id) = (&self.topic, borrowed(&self.id));
        if !principal.may_read(topic) {
            context.refuse(id, ErrorCode::NotAllowed, &format!("reading {topic} is not allowed for this session"));
            return None;
        }
        let off = match self.part {
            Part::History { since, limit } => match context.history(topic, since, limit) {
                Poll::Pending => return Some(self),
                Poll::Ready(Ok(page)) => {
                    principal.charge(work::of_history(page.messages.iter().map(|message| message.payload().len()).sum()), context);
                    context.send(&Event::History { id, topic, page: &page });
                    return None;
                }
                Poll::Ready(Err(off)) => off,
            },
            Part::Members => match context.presence(topic) {
                Poll::Pending => return Some(self),
                Poll::Ready(Ok(members)) => {
                    principal.charge(work::of_members(members.len()), context);
                    context.send(&Event::Presence { id, topic, members: &members });
                    return None;
                }
                Poll::Ready(Err(off)) => off,
            },
        };
        context.refuse(id, off.code(), &format!("{topic}: {off}"));
        None
    }
}

/// A copy of `id` that outlives the text of its command.
pub fn owned(id: Option<RequestId<'_>>) -> OwnedId {
    id.map(|RequestId(id)| id.into())
}

/// The `id` as an answer has it.
pub fn borrowed(id: &OwnedId) -> Option<RequestId<'_>> {
    id.as_deref().map(RequestId)
}
