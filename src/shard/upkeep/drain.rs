//! The moments at which a session leaves a draining gateway and may come back.

use std::time::Duration;

use rand::Rng;

use crate::clock::Moment;

/// A drain under way.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    over: Duration,
    ends_at: Moment,
}

impl Drain {
    /// A drain that begins at `now` and lasts `over`.
    pub fn new(over: Duration, now: Moment) -> Self {
        Self { over, ends_at: now + over }
    }

    /// Draws for one session that is told at `now`. Returns a random moment within the rest of the drain at which the
    /// session leaves, and the time after which it may come back: the rest of the drain and a random part of the
    /// drain's whole duration.
    pub fn draw(&self, now: Moment) -> (Moment, Duration) {
        let mut rng = rand::rng();
        let left = self.ends_at.since(now);
        (now + left.mul_f64(rng.random::<f64>()), left + self.over.mul_f64(rng.random::<f64>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Timestamp};

    /// PROTOCOL 3 and 6: a session that is told late leaves within the rest of the drain, and may come back no earlier
    /// than the others.
    #[test]
    fn a_session_told_late_leaves_within_the_rest_of_the_drain() {
        let (clock, over) = (Clock::by_hand(Timestamp(0)), Duration::from_secs(10));
        let drain = Drain::new(over, clock.moment());
        let ends_at = clock.moment() + over;
        for left in [10, 4, 0, 0].map(Duration::from_secs) {
            let now = clock.moment();
            for (closes_at, retry_after) in (0..100).map(|_| drain.draw(now)) {
                assert!(now <= closes_at && closes_at <= ends_at.max(now), "{left:?}");
                assert!(left <= retry_after && retry_after <= left + over, "{left:?}: {retry_after:?}");
            }
            clock.advance(Duration::from_secs(if left == over { 6 } else { 4 }));
        }
    }
}
