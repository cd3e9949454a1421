//! The parameters of a new session: those of its upgrade request, and the services that all sessions share.

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

/// The parameters of a new session over a WebSocket.
pub struct Opening {
    /// The session's id.
    pub id: SessionId,
    /// The dialect, and the topics that the URL subscribes to.
    pub purpose: Purpose,
    /// The identity. `Ok(None)`: the client has not authenticated yet, and there are no anonymous grants. An error closes the session at
    /// once, with 4001 or 4002.
    pub identity: Result<Option<Arc<Identity>>, AuthError>,
    /// The parameters of permessage-deflate (RFC 7692), if it was negotiated.
    pub agreement: Option<Agreement>,
}

/// What a session is for.
pub enum Purpose {
    /// The native dialect, with what `?topics=` and `?last=` ask for.
    Native {
        /// The topics and patterns. Each invalid name is answered with an error.
        topics: Vec<Result<Pattern, TopicNameError>>,
        /// `?last=n`.
        last: Option<usize>,
    },
    /// The raw dialect: plain messages of one topic. The grant to subscribe was checked before the 101.
    Raw {
        /// The topic.
        topic: TopicName,
        /// `?last=n`.
        last: Option<usize>,
        /// `?echo=true`.
        echo: bool,
    },
    /// Every message is sent back.
    Echo,
    /// Centrifugo's protocol.
    Centrifugo {
        /// The encoding, JSON or protobuf.
        wire: Wire,
    },
}

impl Purpose {
    /// Whether the session subscribes when it opens, without a command.
    pub fn subscribes_at_once(&self) -> bool {
        match self {
            Self::Native { topics, .. } => !topics.is_empty(),
            Self::Raw { .. } => true,
            Self::Echo | Self::Centrifugo { .. } => false,
        }
    }

    /// The dialect of the session.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Native { .. } => Dialect::Json,
            Self::Raw { .. } => Dialect::Raw,
            Self::Echo => Dialect::Echo,
            Self::Centrifugo { wire } => Dialect::Centrifugo(*wire),
        }
    }
}

/// Counts invalid credentials by address, and may bound them (`limits.failures_per_minute`).
pub trait FailureLimit: Send + Sync {
    /// Whether another credential from `address` may be verified.
    fn may_try(&self, address: IpAddr) -> bool;

    /// Counts an invalid credential from `address`.
    fn count(&self, address: IpAddr);
}

/// No bound.
impl FailureLimit for () {
    fn may_try(&self, _: IpAddr) -> bool {
        true
    }

    fn count(&self, _: IpAddr) {}
}

/// The services that all sessions share.
pub struct Services {
    /// Verifies credentials.
    pub auth: Arc<Auth>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// The clock.
    pub clock: Clock,
    /// Counts the invalid credentials that sessions send.
    pub failures: Arc<dyn FailureLimit>,
}

impl Services {
    /// Verifies `credential`, which the session of `context` sent.
    pub fn identify(&self, credential: &str, context: &mut SessionContext<'_>) -> Result<Arc<Identity>, IdentifyError> {
        self.verify(context, |auth| auth.identify(credential))
    }

    /// Verifies a subscription token that the session of `context` sent.
    pub fn subscription(&self, token: &str, context: &mut SessionContext<'_>) -> Result<SubscriptionToken, IdentifyError> {
        self.verify(context, |auth| auth.subscription(token))
    }

    fn verify<T>(&self, context: &mut SessionContext<'_>, verify: impl FnOnce(&Auth) -> Result<T, AuthError>) -> Result<T, IdentifyError> {
        let address = context.address();
        if !self.failures.may_try(address) {
            return Err(IdentifyError::TooMany);
        }
        verify(&self.auth).map_err(|error| {
            // An expired token was valid once, so it is no attempt to guess one.
            if matches!(error, AuthError::Invalid(_)) {
                self.failures.count(address);
            }
            IdentifyError::Refused(error)
        })
    }
}

/// Why a credential of a session is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    /// The credential is invalid or expired.
    #[error(transparent)]
    Refused(AuthError),
    /// Too many credentials from this address were invalid. This one was not verified.
    #[error("too many credentials from this address were wrong (limits.failures_per_minute)")]
    TooMany,
}

impl IdentifyError {
    /// The contract's code for the error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(error) => error.code(),
            Self::TooMany => ErrorCode::RateLimited,
        }
    }
}
