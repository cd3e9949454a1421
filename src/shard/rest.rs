//! The rest after a flush, so that the next messages gather and leave together.

use std::io;
use std::time::Duration;

/// A rest shorter than this costs more in system calls than it gathers.
const REST_MIN: Duration = Duration::from_micros(20);

/// The rest that is as long as the flush before it; a longer bound stretches it in proportion.
const EVEN_REST_MAX: Duration = Duration::from_micros(100);

/// Whether a flush is to be whole before anything else is read. Whoever asks for a longer rest would rather have messages
/// gather than leave early.
pub fn flushes_whole(rest_max: Duration) -> bool {
    rest_max > EVEN_REST_MAX
}

/// How long to rest after a flush that took `flushed`; `rest_max` is `server.coalesce`. `None`: not at all.
pub fn rest_after(flushed: Duration, rest_max: Duration) -> Option<Duration> {
    let stretch = rest_max.div_duration_f64(EVEN_REST_MAX).max(1.0);
    Some(flushed.mul_f64(stretch).min(rest_max)).filter(|&rest| rest >= REST_MIN)
}

/// Rests for microseconds: the runtime's own timer has steps of a millisecond.
#[cfg(target_os = "linux")]
pub struct Rest {
    timer: tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>,
}

#[cfg(target_os = "linux")]
impl Rest {
    /// A timer of the current thread's runtime.
    #[allow(deprecated, reason = "its successor is unsafe; the descriptor is owned here and open for as long as it is registered")]
    pub fn new() -> io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self { timer: tokio::io::unix::AsyncFd::new(timer)? })
    }

    /// Rests for `rest`.
    pub async fn take(&self, rest: Duration) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec { tv_sec: rest.as_secs() as i64, tv_nsec: i64::from(rest.subsec_nanos()) };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: zero, it_value: value })?;
        let mut expirations = [0; 8];
        loop {
            let mut ready = self.timer.readable().await?;
            match ready.try_io(|timer| rustix::io::read(timer, &mut expirations).map_err(io::Error::from)) {
                Ok(read) => return read.map(drop),
                Err(_would_block) => {}
            }
        }
    }
}

/// Where the system has no such timer there is no rest.
#[cfg(not(target_os = "linux"))]
pub struct Rest;

#[cfg(not(target_os = "linux"))]
impl Rest {
    /// Nothing to make.
    pub fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Returns at once.
    pub async fn take(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_as_long_as_the_flush_up_to_its_bound() {
        let micros = Duration::from_micros;
        assert_eq!(rest_after(micros(50), micros(100)), Some(micros(50)));
        assert_eq!(rest_after(micros(500), micros(100)), Some(micros(100)));
        assert_eq!(rest_after(micros(50), micros(1000)), Some(micros(500)));
        assert_eq!(rest_after(micros(10), micros(100)), None);
        assert_eq!(rest_after(micros(500), Duration::ZERO), None);
    }
}
