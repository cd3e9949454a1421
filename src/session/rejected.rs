//! Sessions that are closed because their credential is invalid or has expired.

use crate::auth::AuthError;
use crate::metrics::CloseReason;
use crate::shard::{Reader, SessionContext};

/// A session whose credential was refused. It is closed as soon as it opens.
pub struct Rejected(AuthError);

impl Rejected {
    /// A session that is closed with `error`.
    pub fn new(error: AuthError) -> Box<Self> {
        Box::new(Self(error))
    }
}

impl Reader for Rejected {
    fn on_open(&mut self, context: &mut SessionContext<'_>) {
        reject(&self.0, context);
    }
}

/// Closes a session with the close code of `error` (PROTOCOL section 6).
pub fn reject(error: &AuthError, context: &mut SessionContext<'_>) {
    let why = if *error == AuthError::Expired { CloseReason::TokenExpired } else { CloseReason::TokenInvalid };
    context.close(error.close_code(), &error.to_string(), why);
}
