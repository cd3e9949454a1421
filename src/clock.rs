//! The source of time that all modules are given: the machine's clock, or in tests a clock that is advanced by hand.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Unix time in milliseconds, as clients see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

/// How long before its clock was made a moment may lie. A message that is restored from disk is older than the clock.
const BEFORE_START: Duration = Duration::from_secs(400 * 24 * 3600);

/// A point on the monotonic clock: the nanoseconds, plus one, since `BEFORE_START` before the clock was made. The one
/// makes the number never zero, so that an `Option<Moment>` takes no more memory. Every session has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(NonZeroU64);

impl Default for Moment {
    fn default() -> Self {
        Self::at(Duration::ZERO)
    }
}

impl Moment {
    fn at(since_start: Duration) -> Self {
        let nanos = since_start.saturating_add(BEFORE_START).as_nanos();
        Self(NonZeroU64::MIN.saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }

    /// The moment `duration` before this one, or the earliest moment that there is.
    pub fn before(self, duration: Duration) -> Moment {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Moment(NonZeroU64::new(self.0.get().saturating_sub(nanos)).unwrap_or(NonZeroU64::MIN))
    }

    /// The time since the clock was made.
    pub fn elapsed_at_start(self) -> Duration {
        self.since(Self::default())
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A source of time. All clones of a clock return the same time.
#[derive(Debug, Clone)]
pub struct Clock {
    unix_at_start: Duration,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Machine(Instant),
    ByHand(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock.
    pub fn machine() -> Self {
        let unix_at_start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { unix_at_start, source: Source::Machine(Instant::now()) }
    }

    /// A clock that shows `start` until it is advanced.
    pub fn by_hand(start: Timestamp) -> Self {
        Self { unix_at_start: Duration::from_millis(start.0), source: Source::ByHand(Arc::default()) }
    }

    /// Advances a clock made by [`Clock::by_hand`]; has no effect on the clock of the machine.
    pub fn advance(&self, by: Duration) {
        if let Source::ByHand(nanos) = &self.source {
            nanos.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
        }
    }

    /// The current moment.
    pub fn moment(&self) -> Moment {
        Moment::at(match &self.source {
            Source::Machine(start) => start.elapsed(),
            Source::ByHand(nanos) => Duration::from_nanos(nanos.load(Ordering::Relaxed)),
        })
    }

    /// The moment at which the wall clock showed `timestamp`; the current moment if `timestamp` is in the future.
    pub fn moment_of(&self, timestamp: Timestamp) -> Moment {
        self.moment().before(Duration::from_millis(self.now().0.saturating_sub(timestamp.0)))
    }

    /// The current Unix time. The machine's clock may be set while the gateway runs, so it is asked each time.
    pub fn now(&self) -> Timestamp {
        let since_unix = match &self.source {
            Source::Machine(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(self.unix_at_start),
            Source::ByHand(_) => self.unix_at_start + self.moment().elapsed_at_start(),
        };
        Timestamp(since_unix.as_millis() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message that was restored has the age that the wall clock gives it.
    #[test]
    fn a_moment_may_be_before_the_start_of_its_clock() {
        let clock = Clock::by_hand(Timestamp(1_700_000_000_000));
        let hour = Duration::from_secs(3_600);
        let published = clock.moment_of(Timestamp(1_700_000_000_000 - 3_600_000));
        assert_eq!(clock.moment().since(published), hour);
        assert_eq!(published + hour, clock.moment());
        clock.advance(hour);
        assert_eq!(clock.moment().since(published), 2 * hour);
        assert_eq!(clock.moment_of(Timestamp(1_800_000_000_000)), clock.moment(), "a time in the future is now");
        assert_eq!(clock.moment().elapsed_at_start(), hour);
    }
}
