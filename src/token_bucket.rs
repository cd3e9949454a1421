//! Token buckets, which bound how much one sender may do each second, and at once.

use std::time::Duration;

use crate::clock::Moment;

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Tokens that are added in one second; at least 1.
    pub per_second: u32,
    /// The most tokens in the bucket; at least 1.
    pub burst: u32,
}

impl Rate {
    /// The rate of an API key with its own `commands_per_second`. The burst changes in proportion.
    #[must_use]
    pub fn with_own(self, per_second: Option<u32>) -> Self {
        let Some(own) = per_second else { return self };
        let burst = u64::from(self.burst) * u64::from(own) / u64::from(self.per_second.max(1));
        Self { per_second: own.max(1), burst: u32::try_from(burst).unwrap_or(u32::MAX).max(1) }
    }
}

/// One token bucket. Each call passes the rate, because a reload may change it.
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    /// Negative: a debt.
    tokens: f64,
    filled_at: Moment,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(now: Moment) -> Self {
        Self { tokens: f64::INFINITY, filled_at: now }
    }

    /// Takes `cost` tokens. `false`: the bucket has fewer, and keeps them.
    pub fn take(&mut self, cost: u32, rate: Rate, now: Moment) -> bool {
        self.fill(rate, now);
        let has_enough = self.tokens >= f64::from(cost);
        if has_enough {
            self.tokens -= f64::from(cost);
        }
        has_enough
    }

    /// Takes `cost` tokens. If the bucket has fewer, it goes into debt.
    pub fn charge(&mut self, cost: u32, rate: Rate, now: Moment) {
        self.fill(rate, now);
        self.tokens -= f64::from(cost);
    }

    /// Puts one token back. The bucket holds no more than the burst at its next use.
    pub fn refund(&mut self) {
        self.tokens += 1.0;
    }

    /// Whether the bucket is full at `now`.
    pub fn is_full(&mut self, rate: Rate, now: Moment) -> bool {
        self.fill(rate, now);
        self.tokens >= f64::from(rate.burst)
    }

    /// The time until the bucket holds `cost` tokens, at least zero. It counts from the last call with a `now`.
    pub fn wait_for(&self, cost: u32, rate: Rate) -> Duration {
        Duration::from_secs_f64((f64::from(cost) - self.tokens).max(0.0) / f64::from(rate.per_second.max(1)))
    }

    fn fill(&mut self, rate: Rate, now: Moment) {
        let elapsed = now.since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * f64::from(rate.per_second)).min(f64::from(rate.burst));
        self.filled_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Timestamp};

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let clock = Clock::by_hand(Timestamp(0));
        let (rate, mut bucket) = (Rate { per_second: 2, burst: 3 }, TokenBucket::new(clock.moment()));
        let taken = |bucket: &mut TokenBucket| (0..10).filter(|_| bucket.take(1, rate, clock.moment())).count();
        assert_eq!(taken(&mut bucket), 3);
        clock.advance(Duration::from_secs(1));
        assert!(!bucket.is_full(rate, clock.moment()));
        assert_eq!(taken(&mut bucket), 2);
        clock.advance(Duration::from_secs(60));
        assert!(bucket.is_full(rate, clock.moment()));
        assert_eq!(taken(&mut bucket), 3);
        assert_eq!(bucket.wait_for(1, rate), Duration::from_millis(500));
        assert_eq!(bucket.wait_for(0, rate), Duration::ZERO);
    }

    #[test]
    fn the_rate_of_a_key_scales_the_burst() {
        let rate = Rate { per_second: 10, burst: 20 };
        assert_eq!(rate.with_own(Some(5)), Rate { per_second: 5, burst: 10 });
        assert_eq!(rate.with_own(Some(100_000)), Rate { per_second: 100_000, burst: 200_000 });
        assert_eq!(rate.with_own(None), rate);
    }

    #[test]
    fn debt_is_paid_before_the_next_command() {
        let clock = Clock::by_hand(Timestamp(0));
        let (rate, mut bucket) = (Rate { per_second: 1, burst: 2 }, TokenBucket::new(clock.moment()));
        bucket.charge(4, rate, clock.moment());
        clock.advance(Duration::from_secs(2));
        assert!(!bucket.take(1, rate, clock.moment()));
        clock.advance(Duration::from_secs(1));
        assert!(bucket.take(1, rate, clock.moment()));
    }
}
