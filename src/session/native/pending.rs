//! Commands whose answer may come later.

use crate::codes::ErrorCode;
use crate::dialect::{Event, RequestId};
use crate::position::Offset;
use crate::session::principal::Principal;
use crate::session::subscriptions::{SubscribeOptions, Subscribing, Unsubscribing};
use crate::session::work;
use crate::shard::{Answer, SessionContext};
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// A command that is tried until it is done, with what its answer needs.
pub enum Pending {
    /// It is done in slices.
    Subscribe(Box<Subscribe>),
    /// What the shard's inbox holds goes out before the answer, and it is done in slices.
    Unsubscribe(Box<Unsubscribing>),
    /// A part of a history is asked for.
    History(History),
    /// The members of a topic are asked for.
    Presence(Presence),
}

/// The client's `id`, as JSON text, if its command has one.
pub type OwnedId = Option<Box<str>>;

/// A subscribe.
pub struct Subscribe {
    subscribing: Subscribing,
    /// Whether its success is told. A command without an `id` is told only what is refused; `?topics=` has no `id` and is told all.
    is_told: bool,
    /// What its names cost, in work units.
    units: u32,
    id: OwnedId,
}

/// A `history` command.
pub struct History {
    pub topic: TopicName,
    pub since: Option<Offset>,
    pub limit: usize,
    pub id: OwnedId,
}

/// A `presence` command.
pub struct Presence {
    pub topic: TopicName,
    pub id: OwnedId,
}

impl Pending {
    /// A subscribe, which a command asks for or, without an `id`, an upgrade.
    pub fn subscribe(
        topics: Vec<Result<Pattern, TopicNameError>>,
        options: SubscribeOptions<'static>,
        id: Option<RequestId<'_>>,
        is_upgrade: bool,
    ) -> Self {
        let units = work::of_names(topics.len() + options.since.len());
        let subscribing = Subscribing::new(topics, options);
        Self::Subscribe(Box::new(Subscribe { subscribing, is_told: is_upgrade || id.is_some(), units, id: owned(id) }))
    }

    /// Goes on with the command; itself, if it has to wait.
    pub fn go_on(self, principal: &mut Principal, context: &mut SessionContext<'_>) -> Option<Self> {
        match self {
            Self::Subscribe(subscribe) => subscribe.go_on(principal, context).map(Self::Subscribe),
            Self::Unsubscribe(mut unsubscribing) => {
                let answer = unsubscribing.go_on(context);
                (answer == Answer::Pending).then_some(Self::Unsubscribe(unsubscribing))
            }
            Self::History(history) => history.go_on(principal, context).map(Self::History),
            Self::Presence(presence) => presence.go_on(principal, context).map(Self::Presence),
        }
    }

    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let inner = match self {
            Self::Subscribe(subscribe) => subscribe.subscribing.bytes(),
            Self::Unsubscribe(unsubscribing) => unsubscribing.bytes(),
            Self::History(_) | Self::Presence(_) => 0,
        };
        size_of::<Self>() + inner
    }
}

impl Subscribe {
    /// Does a slice.
    fn go_on(mut self: Box<Self>, principal: &mut Principal, context: &mut SessionContext<'_>) -> Option<Box<Self>> {
        if self.subscribing.go_on(principal.grants(), &principal.member(), context) == Answer::Pending {
            return Some(self);
        }
        let Self { subscribing, is_told, units, id } = *self;
        principal.charge(units.saturating_add(work::of_places(subscribing.looked_at())), context);
        let (done, id) = (subscribing.finish(context), borrowed(&id));
        if is_told {
            done.answer(id, context);
        }
        done.begin_all(id, context);
        None
    }
}

impl History {
    fn go_on(self, principal: &mut Principal, context: &mut SessionContext<'_>) -> Option<Self> {
        let (topic, id) = (&self.topic, borrowed(&self.id));
        if !may_read(topic, id, principal, context) {
            return None;
        }
        match context.history(topic, self.since, self.limit) {
            Answer::Ready(Ok(page)) => {
                principal.charge(work::of_history(page.messages.iter().map(|message| message.payload().len()).sum()), context);
                context.say(&Event::History { id, topic, page: &page });
            }
            Answer::Ready(Err(off)) => context.refuse(id, off.code(), &format!("{topic}: {off}")),
            Answer::Pending => return Some(self),
        }
        None
    }
}

impl Presence {
    fn go_on(self, principal: &mut Principal, context: &mut SessionContext<'_>) -> Option<Self> {
        let (topic, id) = (&self.topic, borrowed(&self.id));
        if !may_read(topic, id, principal, context) {
            return None;
        }
        match context.presence(topic) {
            Answer::Ready(Ok(members)) => {
                principal.charge(work::of_members(members.len()), context);
                context.say(&Event::Presence { id, topic, members: &members });
            }
            Answer::Ready(Err(off)) => context.refuse(id, off.code(), &format!("{topic}: {off}")),
            Answer::Pending => return Some(self),
        }
        None
    }
}

/// Whether the session may read `topic`; if not, it is told so.
fn may_read(topic: &TopicName, id: Option<RequestId<'_>>, principal: &Principal, context: &mut SessionContext<'_>) -> bool {
    let may = principal.may_read(topic);
    if !may {
        context.refuse(id, ErrorCode::NotAllowed, &format!("reading {topic} is not allowed for this session"));
    }
    may
}

/// An `id` that outlives its command's text.
pub fn owned(id: Option<RequestId<'_>>) -> OwnedId {
    id.map(|RequestId(id)| id.into())
}

/// The same, for an answer.
pub fn borrowed(id: &OwnedId) -> Option<RequestId<'_>> {
    id.as_deref().map(RequestId)
}
