//! What time it is, handed in: the machine's clock, or one that a test advances by hand.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Unix time in milliseconds, as clients see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

/// How far before a clock's making its moments reach: a message that was restored is as old as it was.
const BEFORE_START: Duration = Duration::from_secs(400 * 24 * 3600);

/// A point on the monotonic clock, counted from `BEFORE_START` before the clock's making.
/// In nanoseconds and one more, so that an absent one takes no room beside it: every session keeps several.
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

    /// The time from `earlier` to here; nothing if that lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }

    /// The moment `duration` before this one, as far back as moments reach.
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

/// Tells the time; clones tell the same.
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

    /// A clock that stands at `start` until it is advanced.
    pub fn by_hand(start: Timestamp) -> Self {
        Self { unix_at_start: Duration::from_millis(start.0), source: Source::ByHand(Arc::default()) }
    }

    /// Advances a clock made by [`Clock::by_hand`]; has no effect on the clock of the machine.
    pub fn advance(&self, by: Duration) {
        if let Source::ByHand(nanos) = &self.source {
            nanos.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
        }
    }

    /// Now, on the monotonic clock.
    pub fn moment(&self) -> Moment {
        Moment::at(match &self.source {
            Source::Machine(start) => start.elapsed(),
            Source::ByHand(nanos) => Duration::from_nanos(nanos.load(Ordering::Relaxed)),
        })
    }

    /// The moment at which it was `timestamp`, by the wall clock's time that has gone by since; now, if that lies ahead.
    pub fn moment_of(&self, timestamp: Timestamp) -> Moment {
        self.moment().before(Duration::from_millis(self.now().0.saturating_sub(timestamp.0)))
    }

    /// Now, in Unix milliseconds. The machine's clock may be set meanwhile, so it is asked each time.
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

    /// A message that was restored ages on from the age that it had, by the wall clock.
    #[test]
    fn a_moment_may_lie_before_its_clock() {
        let clock = Clock::by_hand(Timestamp(1_700_000_000_000));
        let hour = Duration::from_secs(3_600);
        let published = clock.moment_of(Timestamp(1_700_000_000_000 - 3_600_000));
        assert_eq!(clock.moment().since(published), hour);
        assert_eq!(published + hour, clock.moment());
        clock.advance(hour);
        assert_eq!(clock.moment().since(published), 2 * hour);
        assert_eq!(clock.moment_of(Timestamp(1_800_000_000_000)), clock.moment(), "what lies ahead is as new as can be");
        assert_eq!(clock.moment().elapsed_at_start(), hour);
    }
}
