//! The bounds of `[limits]`: the default and the range of each key (PROTOCOL section 7).

use std::ops::RangeInclusive;
use std::time::Duration;

use super::memory;
use super::tree::Section;
use crate::token_bucket::Rate;

/// The range of a rate.
const RATE: RangeInclusive<u64> = 1..=1_000_000_000;
/// The largest bound of the memory of all sessions or requests.
const BYTES_MAX: u64 = 1 << 40;
/// The range of a time, as a file writes it.
const WAIT: (&str, &str) = ("1ms", "1d");

/// Declares [`Limits`]: each key with its type, its default, the method of [`Section`] that reads it, and its range.
macro_rules! limits {
    ($($(#[$attribute:meta])* $key:ident: $type:ty = $default:expr, $read:ident $range:expr;)+) => {
        /// Every bound, by the name of its key.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs, reason = "each field is the contract's key; docs/configuration.md explains it")]
        pub struct Limits {
            $($(#[$attribute])* pub $key: $type,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        impl Limits {
            /// Reads `[limits]`.
            pub(super) fn read(section: &Section<'_>) -> Self {
                let default = Self::default();
                Self { $($key: section.$read(stringify!($key), default.$key, $range),)+ }
            }
        }
    };
}

limits! {
    message_bytes: usize = 64 << 10, integer 1..=64 << 20;
    frame_bytes: usize = 1 << 20, integer 1..=64 << 20;
    unfinished_bytes_per_address: usize = 16 << 20, integer 0..=BYTES_MAX;
    sessions: usize = 100_000, integer 1..=10_000_000;
    sessions_per_address: usize = 1_000, integer 1..=10_000_000;
    subscriptions_per_session: usize = 1_000, integer 1..=10_000_000;
    outbox_bytes: usize = 1 << 20, integer 256..=1 << 30;
    inbox_bytes: usize = 64 << 20, integer 1..=BYTES_MAX;
    commands_per_second: u32 = 100, integer RATE;
    commands_burst: u32 = 200, integer RATE;
    handshake_timeout: Duration = Duration::from_secs(5), duration WAIT;
    header_bytes: usize = 16 << 10, integer 256..=1 << 20;
    body_timeout: Duration = Duration::from_secs(30), duration WAIT;
    keep_alive: Duration = Duration::from_secs(75), duration WAIT;
    pending: usize = 4_096, integer 1..=1_000_000;
    pending_per_address: usize = 256, integer 1..=1_000_000;
    http_connections: usize = 10_000, integer 1..=10_000_000;
    http_connections_per_address: usize = 100, integer 1..=10_000_000;
    http_bytes: usize = 256 << 20, integer 1..=BYTES_MAX;
    reference_bytes: usize = 64 << 20, integer 0..=BYTES_MAX;
    failures_per_minute: u32 = 60, integer RATE;
    frames_per_second: u32 = 1_000, integer RATE;
    frames_burst: u32 = 2_000, integer RATE;
    message_timeout: Duration = Duration::from_secs(30), duration WAIT;
    write_timeout: Duration = Duration::from_secs(10), duration WAIT;
    /// A configured 0 has been replaced by a quarter of the memory.
    outbox_total_bytes: usize = 1 << 30, bytes_of_memory 0..=BYTES_MAX;
    topics: usize = 1_000_000, integer 1..=100_000_000;
    topics_per_address: usize = 100_000, integer 1..=100_000_000;
    history_bytes: usize = 1 << 30, integer 0..=BYTES_MAX;
    subscriptions_total: usize = 5_000_000, integer 1..=1_000_000_000;
    idempotency_keys: usize = 100_000, integer 1..=10_000_000;
    pattern_shapes: usize = 128, integer 1..=65_536;
    pattern_shapes_per_address: usize = 32, integer 1..=65_536;
    ping_interval: Duration = Duration::from_secs(30), duration WAIT;
    pong_timeout: Duration = Duration::from_secs(15), duration WAIT;
    auth_timeout: Duration = Duration::from_secs(5), duration WAIT;
}

impl Limits {
    /// The rate of commands.
    pub fn command_rate(&self) -> Rate {
        Rate { per_second: self.commands_per_second, burst: self.commands_burst }
    }

    /// The rate of frames.
    pub fn frame_rate(&self) -> Rate {
        Rate { per_second: self.frames_per_second, burst: self.frames_burst }
    }
}

impl Section<'_> {
    /// Reads a number of bytes. 0, or an absent key, means a quarter of the memory that this process may use.
    fn bytes_of_memory(&self, key: &str, default: usize, range: RangeInclusive<u64>) -> usize {
        match self.integer(key, 0, range) {
            0 => memory::available().and_then(|bytes| usize::try_from(bytes / 4).ok()).unwrap_or(default),
            bytes => bytes,
        }
    }
}
