//! How a session begins: what its upgrade request said, and what it is given.

use std::net::IpAddr;
use std::sync::Arc;

use crate::auth::{Auth, AuthError, Identity, SubscriptionToken};
use crate::clock::Clock;
use crate::codes::ErrorCode;
use crate::config::Live;
use crate::dialect::Dialect;
use crate::dialect::centrifugo::Wire;
use crate::frame::Agreement;
use crate::session_id::SessionId;
use crate::shard::SessionContext;
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// How a session begins, as its upgrade request said.
pub struct Opening {
    /// Its name.
    pub id: SessionId,
    /// What is spoken and what is wanted at once.
    pub purpose: Purpose,
    /// Who it is; `Ok(None)`: nobody yet, and there are no anonymous grants; an error closes it at once with 4001 or 4002.
    pub identity: Result<Option<Arc<Identity>>, AuthError>,
    /// permessage-deflate, if it was agreed on.
    pub agreement: Option<Agreement>,
}

/// What a session is for.
pub enum Purpose {
    /// The native dialect, with what `?topics=` and `?last=` ask for.
    Native {
        /// Names that are no topics are answered with an error.
        topics: Vec<Result<Pattern, TopicNameError>>,
        /// `?last=n`.
        last: Option<usize>,
    },
    /// A plain WebSocket that is a topic; the right to subscribe was checked before the 101.
    Raw {
        /// The topic.
        topic: TopicName,
        /// `?last=n`.
        last: Option<usize>,
        /// `?echo=true`.
        echo: bool,
    },
    /// Every message comes back.
    Echo,
    /// Centrifugo's protocol.
    Centrifugo {
        /// As it is spelt.
        wire: Wire,
    },
}

impl Purpose {
    /// Whether the session takes topics as it opens, without a command.
    pub fn subscribes_at_once(&self) -> bool {
        match self {
            Self::Native { topics, .. } => !topics.is_empty(),
            Self::Raw { .. } => true,
            Self::Echo | Self::Centrifugo { .. } => false,
        }
    }

    /// The dialect that goes with it.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Native { .. } => Dialect::Json,
            Self::Raw { .. } => Dialect::Raw,
            Self::Echo => Dialect::Echo,
            Self::Centrifugo { wire } => Dialect::Centrifugo(*wire),
        }
    }
}

/// Counts wrong credentials by address; there may be a bound to them.
pub trait Guesses: Send + Sync {
    /// Whether a credential from `address` is looked at.
    fn may_try(&self, address: IpAddr) -> bool;

    /// A credential from `address` was wrong.
    fn count(&self, address: IpAddr);
}

/// No bound.
impl Guesses for () {
    fn may_try(&self, _: IpAddr) -> bool {
        true
    }

    fn count(&self, _: IpAddr) {}
}

/// What every session is given; one for all.
pub struct Surroundings {
    /// Who may what.
    pub auth: Arc<Auth>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// The time.
    pub clock: Clock,
    /// Counts credentials that sessions bring and that are wrong.
    pub guesses: Arc<dyn Guesses>,
}

impl Surroundings {
    /// Who `credential` is, which the session of `context` has brought.
    pub fn identify(&self, credential: &str, context: &mut SessionContext<'_>) -> Result<Arc<Identity>, Unidentified> {
        self.count_wrong(context, |auth| auth.identify(credential))
    }

    /// What a subscription token says that the session of `context` has brought.
    pub fn subscription(&self, token: &str, context: &mut SessionContext<'_>) -> Result<SubscriptionToken, Unidentified> {
        self.count_wrong(context, |auth| auth.subscription(token))
    }

    fn count_wrong<T>(
        &self,
        context: &mut SessionContext<'_>,
        look: impl FnOnce(&Auth) -> Result<T, AuthError>,
    ) -> Result<T, Unidentified> {
        let address = context.address();
        if !self.guesses.may_try(address) {
            return Err(Unidentified::TooMany);
        }
        look(&self.auth).map_err(|error| {
            // An expired token was once right: it is no guess.
            if matches!(error, AuthError::Invalid(_)) {
                self.guesses.count(address);
            }
            Unidentified::Refused(error)
        })
    }
}

/// Why a credential that a session brings is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unidentified {
    /// It is not good.
    #[error(transparent)]
    Refused(AuthError),
    /// Too many from its address were wrong: it was not looked at.
    #[error("too many credentials from this address were wrong (limits.failures_per_minute)")]
    TooMany,
}

impl Unidentified {
    /// The reply's code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(error) => error.code(),
            Self::TooMany => ErrorCode::RateLimited,
        }
    }
}
