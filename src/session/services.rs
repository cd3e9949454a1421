//! The services that all sessions share: the verification of credentials, the configuration and the clock.

use std::net::IpAddr;
use std::sync::Arc;

use crate::auth::{Auth, AuthError, Identity, SubscriptionToken};
use crate::clock::Clock;
use crate::codes::ErrorCode;
use crate::config::Live;
use crate::shard::SessionContext;

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
    pub fn verify_subscription(&self, token: &str, context: &mut SessionContext<'_>) -> Result<SubscriptionToken, IdentifyError> {
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
