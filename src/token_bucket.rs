//! Token buckets: what one sender may do in a second, and at once.

use std::time::Duration;

use crate::clock::Moment;

/// A bucket's size and how fast it fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Tokens that flow in, in one second; at least 1.
    pub per_second: u32,
    /// Tokens that it holds; at least 1.
    pub burst: u32,
}

impl Rate {
    /// The rate of a key that has its own `commands_per_second`: the burst keeps its proportion.
    #[must_use]
    pub fn with_own(self, per_second: Option<u32>) -> Self {
        let Some(own) = per_second else { return self };
        let burst = u64::from(self.burst) * u64::from(own) / u64::from(self.per_second.max(1));
        Self { per_second: own.max(1), burst: u32::try_from(burst).unwrap_or(u32::MAX).max(1) }
    }
}

/// Fills by a rate up to a burst; each act takes from it.
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    tokens: f64,
    filled_at: Moment,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(burst: u32, now: Moment) -> Self {
        Self { tokens: f64::from(burst), filled_at: now }
    }

    /// A full bucket, of whatever size it is when it is first asked.
    pub fn full(now: Moment) -> Self {
        Self { tokens: f64::INFINITY, filled_at: now }
    }

    /// Takes `cost` tokens; `false`, and nothing is taken, where there are fewer.
    pub fn take(&mut self, cost: u32, per_second: u32, burst: u32, now: Moment) -> bool {
        self.fill(per_second, burst, now);
        let enough = self.tokens >= f64::from(cost);
        if enough {
            self.tokens -= f64::from(cost);
        }
        enough
    }

    /// Takes `cost` tokens, into debt if need be; whether it had them all.
    pub fn charge(&mut self, cost: u32, per_second: u32, burst: u32, now: Moment) -> bool {
        self.fill(per_second, burst, now);
        self.tokens -= f64::from(cost);
        self.tokens >= 0.0
    }

    /// Whether it has filled up by now.
    pub fn is_full(&mut self, per_second: u32, burst: u32, now: Moment) -> bool {
        self.fill(per_second, burst, now);
        self.tokens >= f64::from(burst)
    }

    /// In what time it will hold `cost` tokens, counted from when it was last asked; nothing where it does already.
    pub fn wait_for(&self, cost: u32, per_second: u32) -> Duration {
        Duration::from_secs_f64((f64::from(cost) - self.tokens).max(0.0) / f64::from(per_second.max(1)))
    }

    fn fill(&mut self, per_second: u32, burst: u32, now: Moment) {
        let elapsed = now.since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * f64::from(per_second)).min(f64::from(burst));
        self.filled_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Timestamp};

    #[test]
    fn a_burst_then_the_rate() {
        let clock = Clock::by_hand(Timestamp(0));
        let mut bucket = TokenBucket::new(3, clock.moment());
        let taken = |bucket: &mut TokenBucket| (0..10).filter(|_| bucket.take(1, 2, 3, clock.moment())).count();
        assert_eq!(taken(&mut bucket), 3);
        clock.advance(Duration::from_secs(1));
        assert!(!bucket.is_full(2, 3, clock.moment()));
        assert_eq!(taken(&mut bucket), 2);
        clock.advance(Duration::from_secs(60));
        assert!(bucket.is_full(2, 3, clock.moment()));
        assert_eq!(taken(&mut bucket), 3);
        assert_eq!(bucket.wait_for(1, 2), Duration::from_millis(500));
        assert_eq!(bucket.wait_for(0, 2), Duration::ZERO);
    }

    #[test]
    fn a_keys_own_rate_scales_the_burst() {
        let rate = Rate { per_second: 10, burst: 20 };
        assert_eq!(rate.with_own(Some(5)), Rate { per_second: 5, burst: 10 });
        assert_eq!(rate.with_own(Some(100_000)), Rate { per_second: 100_000, burst: 200_000 });
        assert_eq!(rate.with_own(None), rate);
    }

    #[test]
    fn debt_is_paid_before_the_next() {
        let clock = Clock::by_hand(Timestamp(0));
        let mut bucket = TokenBucket::new(2, clock.moment());
        assert!(!bucket.charge(4, 1, 2, clock.moment()));
        clock.advance(Duration::from_secs(2));
        assert!(!bucket.take(1, 1, 2, clock.moment()));
        clock.advance(Duration::from_secs(1));
        assert!(bucket.take(1, 1, 2, clock.moment()));
    }
}
