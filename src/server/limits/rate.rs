//! The rate of requests by credential, or by address without one (`limits.commands_per_second`, PROTOCOL section 7).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::auth::Identity;
use crate::clock::{Clock, Moment};
use crate::config::Limits;
use crate::hub::Payer;
use crate::token_bucket::{Rate, TokenBucket};

/// The largest number of buckets. Full buckets are removed first, because a new one would be equal.
const BUCKETS_MAX: usize = 65_536;

/// The payer of a request with `identity`, or of one without a credential from `address`, and the payer's rate.
pub fn bucket_of(identity: Option<&Identity>, address: IpAddr, limits: &Limits) -> (Payer, Rate) {
    let by_address = Payer::of_address(address);
    let Some(identity) = identity else { return (by_address, limits.command_rate()) };
    let payer = match (&identity.key, &identity.user) {
        (Some(key), _) => Payer::ApiKey(Arc::clone(key)),
        (None, Some(user)) => Payer::User(Arc::clone(user)),
        (None, None) => by_address,
    };
    (payer, limits.command_rate().with_own(identity.commands_per_second))
}

/// The token buckets of all payers.
#[derive(Debug)]
pub struct Rates {
    clock: Clock,
    /// Locked for one look-up, and at most once a second for a sweep.
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    by_payer: HashMap<Payer, Bucket>,
    swept: Moment,
}

/// The bucket of one payer, and its last rate, with which a sweep decides whether it is full.
#[derive(Debug)]
struct Bucket {
    tokens: TokenBucket,
    rate: Rate,
}

impl Rates {
    /// No buckets yet. Each is full at its first use.
    pub fn new(clock: Clock) -> Self {
        Self { clock, buckets: Mutex::default() }
    }

    /// Takes `units`, if the bucket has at least one; it may go into debt. The error is the time until it has one.
    pub fn take(&self, payer: &Payer, rate: Rate, units: u32) -> Result<(), Duration> {
        let now = self.clock.moment();
        let mut buckets = self.buckets.lock();
        if !buckets.by_payer.contains_key(payer) {
            buckets.make_room(now)?;
        }
        let bucket = buckets.by_payer.entry(payer.clone()).or_insert(Bucket { tokens: TokenBucket::new(now), rate });
        bucket.rate = rate;
        if !bucket.tokens.take(1, rate, now) {
            return Err(bucket.tokens.wait_for(1, rate));
        }
        bucket.tokens.charge(units.saturating_sub(1), rate, now);
        Ok(())
    }

    /// Takes `units` for work that was larger than its request showed. The bucket may go into debt.
    pub fn charge(&self, payer: &Payer, rate: Rate, units: u32) {
        let now = self.clock.moment();
        if let Some(bucket) = self.buckets.lock().by_payer.get_mut(payer) {
            bucket.tokens.charge(units, rate, now);
        }
    }

    /// Checks that the bucket has a unit, and takes none. The error is the time until it has one.
    pub fn check(&self, payer: &Payer, rate: Rate) -> Result<(), Duration> {
        let now = self.clock.moment();
        let mut buckets = self.buckets.lock();
        let Some(Bucket { tokens, .. }) = buckets.by_payer.get_mut(payer) else { return Ok(()) };
        tokens.charge(0, rate, now);
        match tokens.wait_for(1, rate) {
            Duration::ZERO => Ok(()),
            wait => Err(wait),
        }
    }

    /// The number of payers that have a bucket.
    pub fn payers(&self) -> usize {
        self.buckets.lock().by_payer.len()
    }
}

impl Buckets {
    /// Makes room for a new payer: sweeps, at most once a second. If all buckets are in use, new payers must wait.
    fn make_room(&mut self, now: Moment) -> Result<(), Duration> {
        const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
        if self.by_payer.len() >= BUCKETS_MAX && now.since(self.swept) >= SWEEP_INTERVAL {
            self.swept = now;
            self.by_payer.retain(|_, bucket| !bucket.tokens.is_full(bucket.rate, now));
        }
        if self.by_payer.len() < BUCKETS_MAX { Ok(()) } else { Err(SWEEP_INTERVAL) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    const RATE: Rate = Rate { per_second: 10, burst: 20 };

    fn passed(rates: &Rates, key: &Payer, rate: Rate, tries: usize) -> usize {
        (0..tries).filter(|_| rates.take(key, rate, 1).is_ok()).count()
    }

    /// PROTOCOL 7: a burst passes at once, and then the rate. Each credential has its own bucket.
    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let clock = Clock::by_hand(Timestamp(0));
        let rates = Rates::new(clock.clone());
        let (feed, other) = (Payer::ApiKey("feed".into()), Payer::Address([127, 0, 0, 1].into()));
        assert_eq!(passed(&rates, &feed, RATE, 100), 20);
        assert_eq!(rates.take(&feed, RATE, 1), Err(Duration::from_millis(100)));
        assert_eq!(passed(&rates, &other, RATE, 100), 20);
        clock.advance(Duration::from_millis(500));
        assert_eq!(passed(&rates, &feed, RATE, 100), 5);
        clock.advance(Duration::from_secs(60));
        assert_eq!(passed(&rates, &feed, RATE, 100), 20);
    }

    /// The table is bounded for any number of payers. Full buckets are evicted.
    #[test]
    fn the_table_of_buckets_is_bounded() {
        let clock = Clock::by_hand(Timestamp(0));
        let rates = Rates::new(clock.clone());
        let key = |index: u32| Payer::Address(std::net::Ipv4Addr::from_bits(index).into());
        let taken = (0..70_000).filter(|&index| rates.take(&key(index), RATE, 1).is_ok()).count();
        assert_eq!(taken, BUCKETS_MAX);
        clock.advance(Duration::from_secs(10));
        assert!(rates.take(&key(100_000), RATE, 1).is_ok());
        assert_eq!(rates.buckets.lock().by_payer.len(), 1);
    }
}
