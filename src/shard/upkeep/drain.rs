//! When a session leaves a gateway that drains, and when it may come back.

use std::time::Duration;

use rand::Rng;

use crate::clock::Moment;

/// A drain as it goes on.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    over: Duration,
    ends_at: Moment,
}

impl Drain {
    /// Begins at `now` and lasts `over`.
    pub fn new(over: Duration, now: Moment) -> Self {
        Self { over, ends_at: now + over }
    }

    /// For one session that is told at `now`: its random moment to leave of what is left, and the time after which it may come
    /// back, which is all that is left and a random part of one more drain.
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

    /// PROTOCOL 3 and 6: whoever is told late has what is left, and may come back no earlier than the others.
    #[test]
    fn whoever_is_told_late_has_what_is_left() {
        let (clock, over) = (Clock::by_hand(Timestamp(0)), Duration::from_secs(10));
        let drain = Drain::new(over, clock.moment());
        let ends_at = clock.moment() + over;
        for left in [10, 4, 0, 0].map(Duration::from_secs) {
            let now = clock.moment();
            for (leaves_at, retry_after) in (0..100).map(|_| drain.draw(now)) {
                assert!(now <= leaves_at && leaves_at <= ends_at.max(now), "{left:?}");
                assert!(left <= retry_after && retry_after <= left + over, "{left:?}: {retry_after:?}");
            }
            clock.advance(Duration::from_secs(if left == over { 6 } else { 4 }));
        }
    }
}
