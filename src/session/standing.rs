//! What a session knows of itself: who it is, what it may, and at what rate.

use std::sync::Arc;
use std::time::Duration;

use super::opening::Purpose;
use crate::auth::{Auth, AuthError, Grants, Identity};
use crate::clock::{Clock, Moment};
use crate::config::Limits;
use crate::dialect::Dialect;
use crate::frame::FrameReader;
use crate::hub::Publication;
use crate::session_id::{Member, SessionId};
use crate::token_bucket::TokenBucket;
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// One connection's reading side.
pub struct Session {
    pub id: SessionId,
    pub purpose: Purpose,
    pub frames: FrameReader,
    pub identity: Result<Option<Identity>, AuthError>,
    pub auth: Arc<Auth>,
    pub clock: Clock,
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

/// A command that waits, with what its reply needs.
pub enum Pending {
    /// An inbox is full.
    Publish(Unpublished),
    /// What the shard's inbox holds goes out before the answer.
    Unsubscribe(Unsubscribing),
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

/// A publish that waits for room.
pub struct Unpublished {
    pub topic: TopicName,
    pub publication: Publication,
    /// The client's `id`, as JSON text.
    pub id: Option<Box<str>>,
}

impl Session {
    /// Its user: the token's `sub`, the key's name.
    pub fn user(&self) -> Option<Arc<str>> {
        self.identity.as_ref().ok()?.as_ref()?.user.clone()
    }

    /// The session as presence shows it.
    pub fn member(&self) -> Member {
        Member { session: self.id, user: self.user() }
    }

    /// Whether it is a plain WebSocket that is a topic.
    pub fn is_raw(&self) -> bool {
        self.purpose.dialect() == Dialect::Raw
    }

    /// What it may; `None`: nobody yet, so nothing.
    pub fn grants(&self) -> Option<&Grants> {
        Some(&self.identity.as_ref().ok()?.as_ref()?.grants)
    }

    /// Its rate of commands and the burst; an API key may have a rate of its own, and the burst keeps its proportion.
    pub fn rate(&self, limits: &Limits) -> (u32, u32) {
        let own = self.identity.as_ref().ok().and_then(|identity| identity.as_ref()?.commands_per_second);
        match own {
            Some(rate) => {
                let burst = u64::from(limits.commands_burst) * u64::from(rate) / u64::from(limits.commands_per_second.max(1));
                (rate, u32::try_from(burst).unwrap_or(u32::MAX).max(1))
            }
            None => (limits.commands_per_second, limits.commands_burst),
        }
    }

    /// Whether it should have said by now who it is.
    pub fn is_anonymous_too_long(&self, now: Moment, auth_timeout: Duration) -> bool {
        let needs_nobody = self.purpose.dialect() == Dialect::Echo;
        !needs_nobody && matches!(self.identity, Ok(None)) && now.since(self.opened_at) >= auth_timeout
    }

    /// How long its token lives still.
    pub fn until_expiry(&self) -> Option<Duration> {
        let expires = self.identity.as_ref().ok()?.as_ref()?.expires?;
        Some(Duration::from_millis(expires.saturating_mul(1_000).saturating_sub(self.clock.now().0)))
    }
}
