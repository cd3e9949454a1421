//! The wait before the next attempt to reconnect.

use std::time::Duration;

use rand::Rng;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Waits that double, half of each random, so that clients of a lost gateway do not reconnect at the same time.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The wait before the next attempt: half of it fixed, half random.
    pub fn wait(&mut self) -> Duration {
        let half = self.next / 2;
        self.next = (self.next * 2).min(LONGEST);
        half + half.mul_f64(rand::rng().random::<f64>())
    }

    /// Starts over, after a successful attempt.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound() {
        let mut backoff = Backoff::default();
        for attempt in 0..20 {
            let longest = (FIRST * 2u32.pow(attempt.min(16))).min(LONGEST);
            let wait = backoff.wait();
            assert!(wait >= longest / 2 && wait <= longest, "attempt {attempt}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.wait() <= FIRST);
    }
}
