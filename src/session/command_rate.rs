//! How many commands a session may give.

use crate::auth::Identity;
use crate::clock::Moment;
use crate::config::Limits;
use crate::metrics::LimitKey;
use crate::shard::SessionContext;
use crate::token_bucket::{Rate, TokenBucket};

/// How many bursts' worth of refused commands close a session.
const REFUSED_BURSTS_MAX: u32 = 10;

/// What one session has left.
#[derive(Debug)]
pub struct CommandRate {
    bucket: TokenBucket,
    /// Commands refused since the bucket was last full.
    refused: u32,
}

/// Whether a command is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Done,
    /// It is not, at this rate of commands a second.
    Refused { per_second: u32 },
    /// It is not, and so many were refused that the session is closed.
    Excess,
}

impl CommandRate {
    /// A session that begins now has its whole burst.
    pub fn new(limits: &Limits, now: Moment) -> Self {
        Self { bucket: TokenBucket::new(limits.commands_burst, now), refused: 0 }
    }

    /// Whether the session of `identity` may give one command more.
    pub fn take(&mut self, identity: Option<&Identity>, context: &mut SessionContext<'_>) -> Verdict {
        let (now, Rate { per_second, burst }) = (context.now(), allowed(identity, context));
        if self.refused > 0 && self.bucket.is_full(per_second, burst, now) {
            self.refused = 0;
        }
        if self.bucket.take(1, per_second, burst, now) {
            return Verdict::Done;
        }
        self.refused += 1;
        context.limit_hit(LimitKey::CommandsPerSecond);
        let is_excess = self.refused >= burst.saturating_mul(REFUSED_BURSTS_MAX);
        if is_excess { Verdict::Excess } else { Verdict::Refused { per_second } }
    }

    /// Charges work beyond a command's own unit, into debt if need be: the next commands are refused until it is paid.
    pub fn charge(&mut self, units: u32, identity: Option<&Identity>, context: &SessionContext<'_>) {
        if units > 0 {
            let Rate { per_second, burst } = allowed(identity, context);
            self.bucket.charge(units, per_second, burst, context.now());
        }
    }
}

/// The rate of a session; an API key may have one of its own, and the burst keeps its proportion.
fn allowed(identity: Option<&Identity>, context: &SessionContext<'_>) -> Rate {
    let config = context.config();
    let own = identity.and_then(|identity| identity.commands_per_second);
    Rate { per_second: config.limits.commands_per_second, burst: config.limits.commands_burst }.with_own(own)
}
