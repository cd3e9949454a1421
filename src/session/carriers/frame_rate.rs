//! The rate of a session's frames, or of the requests that carry them (`limits.frames_per_second`).

use crate::clock::Moment;
use crate::codes::CloseCode;
use crate::metrics::{CloseReason, LimitKey};
use crate::shard::SessionContext;
use crate::token_bucket::TokenBucket;

/// The token bucket of one session.
#[derive(Debug)]
pub struct FrameRate(TokenBucket);

impl FrameRate {
    /// A full bucket, for a session that begins at `now`.
    pub fn new(now: Moment) -> Self {
        Self(TokenBucket::new(now))
    }

    /// Takes a token for each of `begun` frames. Closes the session if it exceeds its rate.
    pub fn take(&mut self, begun: u32, context: &mut SessionContext<'_>) {
        if begun == 0 {
            return;
        }
        let rate = context.config().limits.frame_rate();
        if !self.0.take(begun, rate, context.now()) && context.is_open() {
            context.limit_hit(LimitKey::FramesPerSecond);
            context.close(CloseCode::RateLimited, "too many frames; see limits.frames_per_second", CloseReason::RateLimited);
        }
    }

    /// Returns the token of one frame, whose command was charged to the rate of its API key.
    pub fn refund(&mut self) {
        self.0.refund();
    }
}
