//! Charges HTTP requests: work units of the caller's bucket (PROTOCOL section 7).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;

use crate::codes::ErrorCode;
use crate::config::Live;
use crate::hub::Payer;
use crate::metrics::{LimitKey, Metrics};
use crate::server::limits::{Rates, bucket_of};
use crate::server::request::Caller;
use crate::server::response::Problem;
use crate::token_bucket::Rate;

/// The topics that one work unit pays for beyond the first (PROTOCOL section 7).
pub const TOPICS_PER_UNIT: usize = 1_000;
/// The same for the bytes of a history.
pub const HISTORY_BYTES_PER_UNIT: usize = 64 << 10;
/// The same for members.
pub const MEMBERS_PER_UNIT: usize = 1_000;

/// Charges callers.
pub struct Metering {
    rates: Arc<Rates>,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
}

/// The bucket of one caller.
#[derive(Debug)]
pub struct Allowance {
    /// The owner of the bucket.
    pub payer: Payer,
    rate: Rate,
}

/// The bucket is empty. The next unit is there after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("past limits.commands_per_second; try again in {} ms", .0.as_millis().max(1))]
pub struct TooFast(pub Duration);

impl From<TooFast> for Problem {
    fn from(too_fast: TooFast) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, too_fast.to_string())
            .retry_after(too_fast.0.as_secs_f64().ceil() as u64)
    }
}

impl Metering {
    /// A metering over the buckets of `rates`.
    pub fn new(rates: &Arc<Rates>, live: &Arc<Live>, metrics: &Arc<Metrics>) -> Self {
        Self { rates: Arc::clone(rates), live: Arc::clone(live), metrics: Arc::clone(metrics) }
    }

    /// The bucket of the caller's credential, or else of `address`.
    pub fn allowance(&self, caller: &Caller<'_>, address: IpAddr) -> Allowance {
        let identity = caller.identity().filter(|_| caller.credential().is_some());
        let (payer, rate) = bucket_of(identity, address, &self.live.load().limits);
        Allowance { payer, rate }
    }

    /// Takes one unit, for a request or a line of a batch.
    pub fn take(&self, allowance: &Allowance) -> Result<(), TooFast> {
        self.rates.take(&allowance.payer, allowance.rate, 1).map_err(|wait| self.too_fast(wait))
    }

    /// Checks that the bucket has a unit, and takes none.
    pub fn check(&self, allowance: &Allowance) -> Result<(), TooFast> {
        self.rates.check(&allowance.payer, allowance.rate).map_err(|wait| self.too_fast(wait))
    }

    /// Takes the units that a request costs beyond its first: one for each whole `step` of `amount`.
    pub fn charge(&self, allowance: &Allowance, amount: usize, step: usize) {
        let units = u32::try_from(amount / step.max(1)).unwrap_or(u32::MAX);
        if units > 0 {
            self.rates.charge(&allowance.payer, allowance.rate, units);
        }
    }

    fn too_fast(&self, wait: Duration) -> TooFast {
        self.metrics.limit_hit(LimitKey::CommandsPerSecond);
        TooFast(wait)
    }
}
