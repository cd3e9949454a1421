//! How fast one credential, or one address without any, may publish over HTTP (PROTOCOL section 7).

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

/// The most buckets that are kept at once. Full ones are thrown away before, since a new one would be the same.
const BUCKETS_MAX: usize = 65_536;

/// Whose bucket pays for `identity`, which came with a credential, or for `address` where none did; and at what rate it fills.
pub fn bucket_of(identity: Option<&Identity>, address: IpAddr, limits: &Limits) -> (Payer, Rate) {
    let rate = Rate { per_second: limits.commands_per_second, burst: limits.commands_burst };
    let by_address = Payer::of_address(address);
    let Some(identity) = identity else { return (by_address, rate) };
    let key = match (&identity.key, &identity.user) {
        (Some(key), _) => Payer::ApiKey(Arc::clone(key)),
        (None, Some(user)) => Payer::User(Arc::clone(user)),
        (None, None) => by_address,
    };
    (key, rate.with_own(identity.commands_per_second))
}

/// All buckets.
#[derive(Debug)]
pub struct Rates {
    clock: Clock,
    /// Held for one look-up, and once in a while for a sweep.
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    by_key: HashMap<Payer, Bucket>,
    swept: Moment,
}

/// One sender's bucket, and the rate it was last asked for, by which a sweep tells whether it is full.
#[derive(Debug)]
struct Bucket {
    tokens: TokenBucket,
    rate: Rate,
}

impl Rates {
    /// Takes `units` more of `key`'s bucket for work that has shown itself to be larger, into debt if need be.
    pub fn charge(&self, key: &Payer, rate: Rate, units: u32) {
        let now = self.clock.moment();
        if let Some(bucket) = self.buckets.lock().by_key.get_mut(key) {
            bucket.tokens.charge(units, rate.per_second, rate.burst, now);
        }
    }

    /// Whether there is a unit in `key`'s bucket, or in what time there will be; nothing is taken.
    pub fn check(&self, key: &Payer, rate: Rate) -> Result<(), Duration> {
        let now = self.clock.moment();
        let mut buckets = self.buckets.lock();
        let Some(Bucket { tokens, .. }) = buckets.by_key.get_mut(key) else { return Ok(()) };
        tokens.charge(0, rate.per_second, rate.burst, now);
        match tokens.wait_for(1, rate.per_second) {
            Duration::ZERO => Ok(()),
            wait => Err(wait),
        }
    }

    /// How many senders have a bucket.
    pub fn keys(&self) -> usize {
        self.buckets.lock().by_key.len()
    }

    /// No buckets yet; each is full at its first use.
    pub fn new(clock: Clock) -> Self {
        Self { clock, buckets: Mutex::default() }
    }

    /// Takes `units` of `key`'s bucket, into debt if need be; where there is not one unit, says in what time there will be.
    pub fn take(&self, key: &Payer, rate: Rate, units: u32) -> Result<(), Duration> {
        let now = self.clock.moment();
        let mut buckets = self.buckets.lock();
        if !buckets.by_key.contains_key(key) {
            buckets.make_room(now)?;
        }
        let full = Bucket { tokens: TokenBucket::new(rate.burst, now), rate };
        buckets.by_key.entry(key.clone()).or_insert(full).take(now, rate, units)
    }
}

impl Buckets {
    /// Sweeps at most once a second; where that frees nothing, every new key waits: those there have all just published.
    fn make_room(&mut self, now: Moment) -> Result<(), Duration> {
        const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
        if self.by_key.len() < BUCKETS_MAX {
            return Ok(());
        }
        if now.since(self.swept) >= SWEEP_INTERVAL {
            self.swept = now;
            self.by_key.retain(|_, bucket| !bucket.is_full(now));
        }
        if self.by_key.len() < BUCKETS_MAX { Ok(()) } else { Err(SWEEP_INTERVAL) }
    }
}

impl Bucket {
    fn is_full(&mut self, now: Moment) -> bool {
        self.tokens.is_full(self.rate.per_second, self.rate.burst, now)
    }

    fn take(&mut self, now: Moment, rate: Rate, units: u32) -> Result<(), Duration> {
        self.rate = rate;
        let Rate { per_second, burst } = rate;
        if !self.tokens.take(1, per_second, burst, now) {
            return Err(self.tokens.wait_for(1, per_second));
        }
        self.tokens.charge(units.saturating_sub(1), per_second, burst, now);
        Ok(())
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

    /// PROTOCOL 7: a burst passes at once, then the rate; each credential has its own bucket.
    #[test]
    fn a_burst_and_then_the_rate() {
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

    /// However many keys come, the table stays bounded, and full buckets make room.
    #[test]
    fn the_table_is_bounded() {
        let clock = Clock::by_hand(Timestamp(0));
        let rates = Rates::new(clock.clone());
        let key = |index: u32| Payer::Address(std::net::Ipv4Addr::from_bits(index).into());
        let taken = (0..70_000).filter(|&index| rates.take(&key(index), RATE, 1).is_ok()).count();
        assert_eq!(taken, BUCKETS_MAX);
        clock.advance(Duration::from_secs(10));
        assert!(rates.take(&key(100_000), RATE, 1).is_ok());
        assert_eq!(rates.buckets.lock().by_key.len(), 1);
    }
}
