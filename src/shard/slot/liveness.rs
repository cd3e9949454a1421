//! Signs of life of one session, and the moments at which something is due for it.

use std::time::Duration;

use crate::clock::Moment;
use crate::dialect::Heartbeat;

/// When a session last gave a sign of life, and the moments of what is due for it.
pub struct Liveness {
    /// The moment of the last sign of life.
    active_at: Moment,
    /// The moment at which the last heartbeat went out or the session began. For a client that does not answer
    /// heartbeats, the moment of the last write.
    pinged_at: Moment,
    /// The moment at which the reader's deadline is due.
    deadline: Option<Moment>,
    /// The moment at which a drain closes the session.
    closes_at: Option<Moment>,
}

/// What the sweep finds due for one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The time after the session's Close is over.
    LingerOver,
    /// The drain closes the session now.
    DrainDue,
    /// The session's outbox has not moved for `write_timeout`.
    Stuck,
    /// The session gave no sign of life after a Ping.
    Silent,
    /// A heartbeat is due.
    Ping,
}

impl Liveness {
    /// The signs of life of a session that begins at `now`.
    pub fn new(now: Moment) -> Self {
        Self { active_at: now, pinged_at: now, deadline: None, closes_at: None }
    }

    /// Notes a sign of life.
    pub fn note_activity(&mut self, now: Moment) {
        self.active_at = now;
    }

    /// Notes that a heartbeat goes out. For a client that does not answer heartbeats, every write counts as one and
    /// postpones the next.
    pub fn note_ping(&mut self, now: Moment) {
        self.pinged_at = now;
    }

    /// Sets the moment of the reader's deadline; `None`: no deadline.
    pub fn set_deadline(&mut self, deadline: Option<Moment>) {
        self.deadline = deadline;
    }

    /// Takes the reader's deadline if it has passed. Returns whether it has.
    pub fn take_deadline(&mut self, now: Moment) -> bool {
        self.deadline.take_if(|deadline| *deadline <= now).is_some()
    }

    /// Sets the moment at which the drain closes the session.
    pub fn close_at(&mut self, moment: Moment) {
        self.closes_at = Some(moment);
    }

    /// What is due at `now`; if several are due, the first in the order of [`Finding`]. `stuck_for` is how long the
    /// session's outbox has not moved.
    pub fn finding(&self, heartbeat: Heartbeat, write_timeout: Duration, now: Moment, stuck_for: Option<Duration>) -> Option<Finding> {
        let waits_for_answer = self.active_at < self.pinged_at && heartbeat.timeout.is_some();
        if self.closes_at.is_some_and(|at| now >= at) {
            Some(Finding::DrainDue)
        } else if stuck_for.is_some_and(|time| time >= write_timeout) {
            Some(Finding::Stuck)
        } else if waits_for_answer && heartbeat.timeout.is_some_and(|timeout| now.since(self.pinged_at) >= timeout) {
            Some(Finding::Silent)
        } else if !waits_for_answer && now.since(self.pinged_at) >= heartbeat.interval {
            Some(Finding::Ping)
        } else {
            None
        }
    }
}
