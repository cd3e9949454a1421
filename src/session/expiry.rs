//! When a session's credential ends, and how the session ends with it.

use std::time::Duration;

use crate::auth::{AuthError, Identity};
use crate::clock::Clock;
use crate::metrics::CloseReason;
use crate::shard::SessionContext;

/// How long the token of `identity` lives still; `None`: it has no end.
pub fn until_expiry(identity: &Identity, clock: &Clock) -> Option<Duration> {
    Some(Duration::from_millis(identity.expires?.saturating_mul(1_000).saturating_sub(clock.now().0)))
}

/// Closes a session whose credential is good no more.
pub fn turn_away(error: &AuthError, context: &mut SessionContext<'_>) {
    let why = if *error == AuthError::Expired { CloseReason::TokenExpired } else { CloseReason::TokenInvalid };
    context.close(error.close_code(), &error.to_string(), why);
}
