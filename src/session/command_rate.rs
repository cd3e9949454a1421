//! The rate of a session's commands (`limits.commands_per_second`, PROTOCOL section 7).

use crate::auth::Identity;
use crate::clock::Moment;
use crate::metrics::LimitKey;
use crate::shard::SessionContext;
use crate::token_bucket::{Rate, TokenBucket};

/// A session is closed once this multiple of its burst was refused.
const REFUSED_BURSTS_MAX: u32 = 10;

/// The token bucket of one session.
#[derive(Debug)]
pub struct CommandRate {
    bucket: TokenBucket,
    /// Commands refused since the bucket was last full.
    refused: u32,
}

/// What the rate decides for one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The command may be executed.
    Allowed,
    /// The command is refused. The rate is this number of commands a second.
    Refused { per_second: u32 },
    /// The command is refused, and the session is to be closed because too many were refused before.
    Excess,
}

impl CommandRate {
    /// A full bucket, for a session that begins at `now`.
    pub fn new(now: Moment) -> Self {
        Self { bucket: TokenBucket::new(now), refused: 0 }
    }

    /// Takes a token for one command of a session with `identity`.
    pub fn take(&mut self, identity: Option<&Identity>, context: &mut SessionContext<'_>) -> Verdict {
        let (now, rate) = (context.now(), allowed(identity, context));
        if self.refused > 0 && self.bucket.is_full(rate, now) {
            self.refused = 0;
        }
        if self.bucket.take(1, rate, now) {
            return Verdict::Allowed;
        }
        self.refused += 1;
        context.limit_hit(LimitKey::CommandsPerSecond);
        let is_excess = self.refused >= rate.burst.saturating_mul(REFUSED_BURSTS_MAX);
        if is_excess { Verdict::Excess } else { Verdict::Refused { per_second: rate.per_second } }
    }

    /// Charges `units` of work beyond the one unit of each command. The bucket may go below zero; commands are refused until it has refilled.
    pub fn charge(&mut self, units: u32, identity: Option<&Identity>, context: &SessionContext<'_>) {
        if units > 0 {
            self.bucket.charge(units, allowed(identity, context), context.now());
        }
    }
}

/// The rate of a session. An API key may have a rate of its own; the burst then grows or shrinks in proportion.
fn allowed(identity: Option<&Identity>, context: &SessionContext<'_>) -> Rate {
    context.config().limits.command_rate().with_own(identity.and_then(|identity| identity.commands_per_second))
}
