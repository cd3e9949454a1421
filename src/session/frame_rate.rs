//! The rate of a session's frames, or of the requests that carry them (`limits.frames_per_second`).

use super::principal::Principal;
use crate::clock::Moment;
use crate::codes::CloseCode;
use crate::config::Limits;
use crate::metrics::{CloseReason, LimitKey};
use crate::shard::SessionContext;
use crate::token_bucket::{Rate, TokenBucket};

/// The token bucket of one session.
#[derive(Debug)]
pub struct FrameRate(TokenBucket);

impl FrameRate {
    /// A full bucket, for a session that begins at `now`.
    pub fn new(now: Moment) -> Self {
        Self(TokenBucket::new(now))
    }

    /// Takes a token for each of `begun` frames of `principal`'s session. Closes the session if it exceeds its rate.
    pub fn take(&mut self, begun: u32, principal: &Principal, context: &mut SessionContext<'_>) {
        if begun == 0 {
            return;
        }
        let rate = allowed(principal.own_rate(), &context.config().limits);
        if !self.0.take(begun, rate, context.now()) && context.is_open() {
            context.limit_hit(LimitKey::FramesPerSecond);
            context.close(CloseCode::RateLimited, "too many frames; see limits.frames_per_second", CloseReason::RateLimited);
        }
    }
}

/// The rate of a session. A command is a frame, so the commands of an API key with its own rate come on top: they would
/// exceed the rate of frames before that of the key.
fn allowed(own: Option<u32>, limits: &Limits) -> Rate {
    let frames = limits.frame_rate();
    if own.is_none() {
        return frames;
    }
    let commands = limits.command_rate().with_own(own);
    Rate { per_second: frames.per_second.saturating_add(commands.per_second), burst: frames.burst.saturating_add(commands.burst) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_a_key_come_on_top() {
        let limits = Limits::default();
        assert_eq!(allowed(None, &limits), Rate { per_second: 1_000, burst: 2_000 });
        assert_eq!(allowed(Some(10_000), &limits), Rate { per_second: 11_000, burst: 22_000 });
    }
}
