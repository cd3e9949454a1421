//! A session's state: who it is, what it may, at what rate, and which command waits.

use std::sync::Arc;
use std::time::Duration;

use super::command_rate::CommandRate;
use super::expiry::until_expiry;
use super::opening::{Purpose, Surroundings};
use super::subscribing::Subscribing;
use super::unsubscribing::Unsubscribing;
use super::waiting::Waiting;
use super::websocket::echo_rate;
use crate::auth::{AuthError, Grants, Identity};
use crate::clock::Moment;
use crate::config::Limits;
use crate::dialect::RequestId;
use crate::frame::FrameReader;
use crate::hub::{Extra, PayloadKind, Publication};
use crate::metrics::PublishSource;
use crate::position::Offset;
use crate::session_id::{Member, SessionId};
use crate::token_bucket::TokenBucket;
use crate::topic_name::TopicName;

/// One connection's reading side. There is one for each idle session, so shared and rare fields are boxed.
pub struct Session {
    pub id: SessionId,
    pub speaks: Speaks,
    pub frames: FrameReader,
    /// Who it is; `None`: nobody yet, and there are no anonymous grants.
    pub identity: Option<Arc<Identity>>,
    /// What it begins with, until it has begun.
    pub unopened: Option<Box<Unopened>>,
    pub surroundings: Arc<Surroundings>,
    pub opened_at: Moment,
    /// Since when a message has begun and isn't whole.
    pub message_since: Option<Moment>,
    pub frame_rate: TokenBucket,
    pub command_rate: CommandRate,
    /// A command that can't be done yet, and the answers to publishes.
    pub waiting: Waiting<Pending, Unacknowledged>,
}

/// What a session speaks.
pub enum Speaks {
    /// Commands and events.
    Native,
    /// Payloads of one topic.
    Raw {
        /// Which.
        topic: TopicName,
        /// Whether its own come back.
        echo: bool,
    },
    /// What it hears, at this rate.
    Echo(TokenBucket),
}

impl Speaks {
    /// What goes with a purpose.
    pub fn of(purpose: &Purpose, limits: &Limits, now: Moment) -> Self {
        match purpose {
            Purpose::Native { .. } | Purpose::Centrifugo { .. } => Self::Native,
            Purpose::Raw { topic, echo, .. } => Self::Raw { topic: topic.clone(), echo: *echo },
            Purpose::Echo => Self::Echo(echo_rate(limits, now)),
        }
    }
}

/// What a session begins with.
pub struct Unopened {
    pub purpose: Purpose,
    /// Its credential was refused: it is told why, and closed.
    pub refused: Option<AuthError>,
}

/// A command that waits, with what its reply needs.
pub enum Pending {
    /// An inbox is full, or the engine.
    Publish(Unpublished),
    /// It is done in slices.
    Subscribe(Box<Asked>),
    /// What the shard's inbox holds goes out before the answer, and it is done in slices.
    Unsubscribe(Box<Unsubscribing>),
    /// A part of a history was asked for.
    History(AskedHistory),
    /// The members of a topic were asked for.
    Presence(AskedPresence),
}

impl Pending {
    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let inner = match self {
            Self::Publish(unpublished) => unpublished.payload.len(),
            Self::Subscribe(asked) => asked.subscribing.bytes(),
            Self::Unsubscribe(unsubscribing) => unsubscribing.bytes(),
            Self::History(_) | Self::Presence(_) => 0,
        };
        size_of::<Self>() + inner
    }
}

/// A subscribe that is being done, and how it is answered.
pub struct Asked {
    pub subscribing: Subscribing,
    pub answer: HowAnswered,
}

/// How a subscribe is answered.
pub enum HowAnswered {
    /// Without words.
    Raw,
    /// As `?topics=` is, without an `id`.
    AtUpgrade,
    /// As a command is, with the client's `id` as JSON text: one without is told only what is refused.
    Command(Option<Box<str>>),
}

/// A `history` command.
pub struct AskedHistory {
    pub topic: TopicName,
    pub since: Option<Offset>,
    pub limit: usize,
    /// The client's `id`, as JSON text.
    pub id: Option<Box<str>>,
}

/// A `presence` command.
pub struct AskedPresence {
    pub topic: TopicName,
    /// The client's `id`, as JSON text.
    pub id: Option<Box<str>>,
}

/// A publish that waits for room, with a payload of its own.
pub struct Unpublished {
    pub topic: TopicName,
    pub payload: Box<[u8]>,
    pub kind: PayloadKind,
    pub except: Option<SessionId>,
    pub extra: Option<Arc<Extra>>,
    /// The client's `id`, as JSON text.
    pub id: Option<Box<str>>,
}

/// What the answer to a publish needs that an engine has.
pub struct Unacknowledged {
    pub topic: TopicName,
    /// The client's `id`, as JSON text.
    pub id: Option<Box<str>>,
}

impl Unpublished {
    /// Copies what is to wait.
    pub fn new(topic: &TopicName, publication: &Publication<'_>, id: Option<RequestId<'_>>) -> Self {
        let Publication { payload, kind, except, extra, .. } = *publication;
        Self { topic: topic.clone(), payload: payload.into(), kind, except, extra: extra.cloned(), id: id.map(|RequestId(id)| id.into()) }
    }

    /// The publication as it came.
    pub fn publication(&self) -> Publication<'_> {
        Publication {
            payload: &self.payload,
            kind: self.kind,
            except: self.except,
            source: PublishSource::Session,
            payer: None,
            extra: self.extra.as_ref(),
        }
    }
}

impl Session {
    /// Its user: the token's `sub`, the key's name.
    pub fn user(&self) -> Option<Arc<str>> {
        self.identity.as_ref()?.user.clone()
    }

    /// The session as presence shows it.
    pub fn member(&self) -> Member {
        Member { session: self.id, user: self.user(), info: None }
    }

    /// Whether it is a plain WebSocket that is a topic.
    pub fn is_raw(&self) -> bool {
        matches!(self.speaks, Speaks::Raw { .. })
    }

    /// What it may; `None`: nobody yet, so nothing.
    pub fn grants(&self) -> Option<&Grants> {
        Some(&self.identity.as_ref()?.grants)
    }

    /// Whether it should have said by now who it is.
    pub fn is_anonymous_too_long(&self, now: Moment, auth_timeout: Duration) -> bool {
        self.waits_for_auth() && now.since(self.opened_at) >= auth_timeout
    }

    /// Whether it has still to say who it is.
    pub fn waits_for_auth(&self) -> bool {
        self.identity.is_none() && !matches!(self.speaks, Speaks::Echo(_))
    }

    /// How long its token lives still.
    pub fn until_expiry(&self) -> Option<Duration> {
        until_expiry(self.identity.as_ref()?, &self.surroundings.clock)
    }
}
