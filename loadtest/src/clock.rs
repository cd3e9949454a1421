//! The clock of a run: nanoseconds since its start.

use std::time::{Duration, Instant};

/// The clock of a run. Its times are written into payloads, and only the same process may compare them.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that shows 0 now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub fn now(&self) -> u64 {
        nanoseconds(self.origin.elapsed())
    }
}

/// A duration in nanoseconds; 584 years are enough.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
