//! Coalescing: a pause after a flush, in which the next messages gather to be written together.

use std::io;
use std::time::Duration;

/// The shortest pause. A shorter one costs more in system calls than it saves.
const PAUSE_MIN: Duration = Duration::from_micros(20);

/// The longest `server.coalesce` with which a pause is as long as the flush before it. A longer setting stretches the
/// pause in proportion.
const EVEN_PAUSE_MAX: Duration = Duration::from_micros(100);

/// Whether a flush is completed before anything else is read. With a long `coalesce`, gathering messages counts more
/// than a short delay.
pub fn flushes_whole(coalesce: Duration) -> bool {
    coalesce > EVEN_PAUSE_MAX
}

/// The pause after a flush that took `flushed`. `coalesce` is `server.coalesce`. `None`: no pause.
pub fn pause_after(flushed: Duration, coalesce: Duration) -> Option<Duration> {
    let stretch = coalesce.div_duration_f64(EVEN_PAUSE_MAX).max(1.0);
    Some(flushed.mul_f64(stretch).min(coalesce)).filter(|&pause| pause >= PAUSE_MIN)
}

/// A timer with microsecond resolution. The runtime's own timer has steps of a millisecond.
#[cfg(target_os = "linux")]
pub struct CoalescingTimer {
    timer: tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>,
}

#[cfg(target_os = "linux")]
impl CoalescingTimer {
    /// A timer of the current thread's runtime.
    #[allow(deprecated, reason = "its successor is unsafe; the descriptor is owned here and open for as long as it is registered")]
    pub fn new() -> io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self { timer: tokio::io::unix::AsyncFd::new(timer)? })
    }

    /// Waits for `pause`.
    pub async fn wait(&self, pause: Duration) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: i64::from(pause.subsec_nanos()) };
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

/// On systems without such a timer there is no pause.
#[cfg(not(target_os = "linux"))]
pub struct CoalescingTimer;

#[cfg(not(target_os = "linux"))]
impl CoalescingTimer {
    /// Returns the empty timer.
    pub fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Returns at once.
    pub async fn wait(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_as_long_as_the_flush_up_to_its_bound() {
        let micros = Duration::from_micros;
        assert_eq!(pause_after(micros(50), micros(100)), Some(micros(50)));
        assert_eq!(pause_after(micros(500), micros(100)), Some(micros(100)));
        assert_eq!(pause_after(micros(50), micros(1000)), Some(micros(500)));
        assert_eq!(pause_after(micros(10), micros(100)), None);
        assert_eq!(pause_after(micros(500), Duration::ZERO), None);
    }
}
