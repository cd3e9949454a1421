//! Readiness by epoll, level-triggered, so that one read for each wake-up is enough. A timerfd gives finer time-outs.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime};

const TIMER: u64 = u64::MAX;
/// The largest number of sockets that one wait reports.
const EVENTS_MAX: usize = 1024;

/// The readiness for which a socket is polled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Interest {
    /// Nothing: the session is stalled.
    None,
    /// Readability.
    Read,
    /// Readability and writability: bytes wait to be written.
    #[default]
    ReadWrite,
}

/// A ready socket.
pub struct Ready {
    pub index: usize,
    pub readable: bool,
    pub writable: bool,
}

pub struct Poll {
    epoll: OwnedFd,
    timer: OwnedFd,
    events: Vec<Event>,
}

impl Poll {
    pub fn new() -> io::Result<Self> {
        // By default the kernel groups timers within 50 µs, which would show in the publishers' schedule.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZero::new(1));
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        Ok(Self { epoll, timer, events: Vec::with_capacity(EVENTS_MAX) })
    }

    /// Adds `socket`, which is connecting.
    pub fn add(&self, socket: impl AsFd, index: usize) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(index as u64), EventFlags::IN | EventFlags::OUT)?)
    }

    pub fn change(&self, socket: impl AsFd, index: usize, interest: Interest) -> io::Result<()> {
        let flags = match interest {
            Interest::None => EventFlags::empty(),
            Interest::Read => EventFlags::IN,
            Interest::ReadWrite => EventFlags::IN | EventFlags::OUT,
        };
        Ok(epoll::modify(&self.epoll, socket, EventData::new_u64(index as u64), flags)?)
    }

    /// Waits at most `nanoseconds` for ready sockets, and appends them to `ready`.
    pub fn wait(&mut self, nanoseconds: u64, ready: &mut Vec<Ready>) {
        self.events.clear();
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = if nanoseconds == 0 {
            Some(zero)
        } else {
            // Arming the timer also clears an earlier expiry.
            let value = Timespec { tv_sec: (nanoseconds / 1_000_000_000) as i64, tv_nsec: (nanoseconds % 1_000_000_000) as _ };
            match timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: zero, it_value: value }) {
                Ok(_) => None,
                Err(_) => Some(Timespec { tv_sec: 0, tv_nsec: 1_000_000 }),
            }
        };
        if epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref()).is_ok() {
            let sockets = self.events.iter().filter(|event| event.data.u64() != TIMER);
            ready.extend(sockets.map(|event| {
                let flags = event.flags;
                Ready {
                    index: event.data.u64() as usize,
                    readable: flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR),
                    writable: flags.contains(EventFlags::OUT),
                }
            }));
        }
    }
}
