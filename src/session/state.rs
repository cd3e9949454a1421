//! A session's state: who it is, what it may, at what rate, and which command waits.

use std::sync::Arc;
use std::time::Duration;

use super::opening::{Purpose, Surroundings};
use crate::auth::{AuthError, Grants, Identity};
use crate::clock::Moment;
use crate::config::Limits;
use crate::dialect::RequestId;
use crate::frame::FrameReader;
use crate::hub::{PayloadKind, Publication};
use crate::metrics::PublishSource;
use crate::position::Offset;
use crate::session_id::{Member, SessionId};
use crate::token_bucket::{Rate, TokenBucket};
use crate::topic_name::{Pattern, TopicName, TopicNameError};

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
    pub command_rate: TokenBucket,
    /// Commands refused by the rate since the bucket was last full.
    pub refused: u32,
    /// A command that can't be done yet; nothing more is read before it is.
    pub pending: Option<Box<Pending>>,
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
    /// What it hears.
    Echo,
}

impl Speaks {
    /// What goes with a purpose.
    pub fn of(purpose: &Purpose) -> Self {
        match purpose {
            Purpose::Native { .. } => Self::Native,
            Purpose::Raw { topic, echo, .. } => Self::Raw { topic: topic.clone(), echo: *echo },
            Purpose::Echo => Self::Echo,
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
    /// An inbox is full.
    Publish(Unpublished),
    /// What the shard's inbox holds goes out before the answer.
    Unsubscribe(Unsubscribing),
    /// A part of a history was asked for.
    History(AskedHistory),
    /// The members of a topic were asked for.
    Presence(AskedPresence),
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

/// An unsubscribe that waits until the shard has taken what was pushed before it.
pub struct Unsubscribing {
    /// From what.
    pub topics: Vec<Result<Pattern, TopicNameError>>,
    /// The client's `id`, as JSON text.
    pub id: Option<Box<str>>,
    /// How many items the inbox had had.
    pub pushed: u64,
}

/// A publish that waits for room, with a payload of its own.
pub struct Unpublished {
    pub topic: TopicName,
    pub payload: Box<[u8]>,
    pub kind: PayloadKind,
    pub except: Option<SessionId>,
    /// The client's `id`, as JSON text.
    pub id: Option<Box<str>>,
}

impl Unpublished {
    /// Copies what is to wait.
    pub fn new(topic: &TopicName, publication: &Publication<'_>, id: Option<RequestId<'_>>) -> Self {
        let Publication { payload, kind, except, .. } = *publication;
        Self { topic: topic.clone(), payload: payload.into(), kind, except, id: id.map(|RequestId(id)| id.into()) }
    }

    /// The publication as it came.
    pub fn publication(&self) -> Publication<'_> {
        Publication { payload: &self.payload, kind: self.kind, except: self.except, source: PublishSource::Session, payer: None }
    }
}

impl Session {
    /// Its user: the token's `sub`, the key's name.
    pub fn user(&self) -> Option<Arc<str>> {
        self.identity.as_ref()?.user.clone()
    }

    /// The session as presence shows it.
    pub fn member(&self) -> Member {
        Member { session: self.id, user: self.user() }
    }

    /// Whether it is a plain WebSocket that is a topic.
    pub fn is_raw(&self) -> bool {
        matches!(self.speaks, Speaks::Raw { .. })
    }

    /// What it may; `None`: nobody yet, so nothing.
    pub fn grants(&self) -> Option<&Grants> {
        Some(&self.identity.as_ref()?.grants)
    }

    /// Its rate of commands and the burst; an API key may have a rate of its own, and the burst keeps its proportion.
    pub fn rate(&self, limits: &Limits) -> (u32, u32) {
        let own = self.identity.as_ref().and_then(|identity| identity.commands_per_second);
        let Rate { per_second, burst } = Rate { per_second: limits.commands_per_second, burst: limits.commands_burst }.with_own(own);
        (per_second, burst)
    }

    /// Whether it should have said by now who it is.
    pub fn is_anonymous_too_long(&self, now: Moment, auth_timeout: Duration) -> bool {
        self.waits_for_auth() && now.since(self.opened_at) >= auth_timeout
    }

    /// Whether it has still to say who it is.
    pub fn waits_for_auth(&self) -> bool {
        self.identity.is_none() && !matches!(self.speaks, Speaks::Echo)
    }

    /// How long its token lives still.
    pub fn until_expiry(&self) -> Option<Duration> {
        let expires = self.identity.as_ref()?.expires?;
        Some(Duration::from_millis(expires.saturating_mul(1_000).saturating_sub(self.surroundings.clock.now().0)))
    }
}
