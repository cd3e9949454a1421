//! The bounds of numbers that clients ask for, the same in every dialect and over HTTP (PROTOCOL sections 3 and 5).

use std::ops::RangeInclusive;

/// The range of `interval_ms`.
pub const INTERVAL_MS: RangeInclusive<u64> = 10..=3_600_000;
/// The default number of messages in one answer from a history.
pub const HISTORY_LIMIT_DEFAULT: usize = 100;
/// The largest number of messages in one answer from a history.
pub const HISTORY_LIMIT_MAX: usize = 1_000;
