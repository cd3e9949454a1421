//! Sessions whose credential is not good, or not any more.

use std::sync::Arc;

use crate::auth::AuthError;
use crate::frame::Inflater;
use crate::metrics::CloseReason;
use crate::shard::{Reader, SessionContext};

/// A session whose credential was refused: it is told why, and closed.
pub struct TurnedAway(AuthError);

impl TurnedAway {
    /// Refused for this reason.
    pub fn new(error: AuthError) -> Box<Self> {
        Box::new(Self(error))
    }
}

impl Reader for TurnedAway {
    fn open(&mut self, context: &mut SessionContext<'_>) {
        turn_away(&self.0, context);
    }

    fn read(&mut self, input: &mut [u8], _: &mut Inflater, _: &mut SessionContext<'_>) -> usize {
        input.len()
    }

    fn deadline(&mut self, _: &mut SessionContext<'_>) {}

    fn reload(&mut self, _: &mut SessionContext<'_>) {}

    fn user(&self) -> Option<Arc<str>> {
        None
    }
}

/// Closes a session whose credential is not good.
pub fn turn_away(error: &AuthError, context: &mut SessionContext<'_>) {
    let why = if *error == AuthError::Expired { CloseReason::TokenExpired } else { CloseReason::TokenInvalid };
    context.close(error.close_code(), &error.to_string(), why);
}
