//! How many frames, or requests that bring some, a session may send.

use crate::clock::Moment;
use crate::codes::CloseCode;
use crate::config::Limits;
use crate::metrics::{CloseReason, LimitKey};
use crate::shard::SessionContext;
use crate::token_bucket::TokenBucket;

/// What one session has left.
#[derive(Debug)]
pub struct FrameRate(TokenBucket);

impl FrameRate {
    /// A session that begins now has its whole burst.
    pub fn new(limits: &Limits, now: Moment) -> Self {
        Self(TokenBucket::new(limits.frames_burst, now))
    }

    /// Takes frames that have begun; ends a session that goes past its rate.
    pub fn take(&mut self, begun: u32, context: &mut SessionContext<'_>) {
        if begun == 0 {
            return;
        }
        let config = context.config();
        let limits = &config.limits;
        if !self.0.take(begun, limits.frames_per_second, limits.frames_burst, context.now()) && context.is_open() {
            context.limit_hit(LimitKey::FramesPerSecond);
            context.close(CloseCode::RateLimited, "too many frames; see limits.frames_per_second", CloseReason::RateLimited);
        }
    }
}
