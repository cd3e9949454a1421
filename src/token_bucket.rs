//! Token buckets: what one sender may do in a second, and at once.

use std::time::Duration;

use crate::clock::Moment;

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
        clock.turn(Duration::from_secs(1));
        assert!(!bucket.is_full(2, 3, clock.moment()));
        assert_eq!(taken(&mut bucket), 2);
        clock.turn(Duration::from_secs(60));
        assert!(bucket.is_full(2, 3, clock.moment()));
        assert_eq!(taken(&mut bucket), 3);
        assert_eq!(bucket.wait_for(1, 2), Duration::from_millis(500));
        assert_eq!(bucket.wait_for(0, 2), Duration::ZERO);
    }

    #[test]
    fn debt_is_paid_before_the_next() {
        let clock = Clock::by_hand(Timestamp(0));
        let mut bucket = TokenBucket::new(2, clock.moment());
        assert!(!bucket.charge(4, 1, 2, clock.moment()));
        clock.turn(Duration::from_secs(2));
        assert!(!bucket.take(1, 1, 2, clock.moment()));
        clock.turn(Duration::from_secs(1));
        assert!(bucket.take(1, 1, 2, clock.moment()));
    }
}
