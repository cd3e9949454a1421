//! Time as the load test counts it: nanoseconds since this run began.

use std::time::{Duration, Instant};

/// The run's own clock; what it says goes into payloads, so nothing but one process may compare it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that says 0 now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Nanoseconds since the start.
    pub fn now(&self) -> u64 {
        nanoseconds(self.origin.elapsed())
    }
}

/// A duration in nanoseconds; 584 years are enough.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
