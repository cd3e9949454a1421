//! Signs of life of one session, and the moments at which something is due for it.

use std::time::Duration;

use crate::clock::Moment;
use crate::dialect::Heartbeat;

/// When a session was last heard of, and what it has coming.
pub struct Liveness {
    /// When it was last heard of.
    heard_at: Moment,
    /// When the last heartbeat went out, or the session began; where nobody answers these, when anything went out.
    pinged_at: Moment,
    /// When its reader is to be called.
    deadline: Option<Moment>,
    /// When a drain closes it.
    leaves_at: Option<Moment>,
}

/// What the sweep finds due for one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The time after its Close is over.
    Over,
    /// The drain closes it now.
    Leaves,
    /// Its outbox has not moved for `write_timeout`.
    Stuck,
    /// It gave no sign of life after a Ping.
    Silent,
    /// A heartbeat is due.
    Ping,
}

impl Liveness {
    /// A session that begins at `now`.
    pub fn new(now: Moment) -> Self {
        Self { heard_at: now, pinged_at: now, deadline: None, leaves_at: None }
    }

    /// It gave a sign of life.
    pub fn heard(&mut self, now: Moment) {
        self.heard_at = now;
    }

    /// A heartbeat goes out; or where nobody answers these, anything, which puts the next one off.
    pub fn pinged(&mut self, now: Moment) {
        self.pinged_at = now;
    }

    /// Its reader is to be called then; `None`: not at all.
    pub fn set_deadline(&mut self, deadline: Option<Moment>) {
        self.deadline = deadline;
    }

    /// Takes the deadline of its reader, if that has passed.
    pub fn take_deadline(&mut self, now: Moment) -> bool {
        self.deadline.take_if(|deadline| *deadline <= now).is_some()
    }

    /// The drain closes it then.
    pub fn leaves_at(&mut self, moment: Moment) {
        self.leaves_at = Some(moment);
    }

    /// What is due at `now`, the first that counts; `stuck_for` is how long its outbox has not moved.
    pub fn finding(&self, heartbeat: Heartbeat, write_timeout: Duration, now: Moment, stuck_for: Option<Duration>) -> Option<Finding> {
        let waits_for_answer = self.heard_at < self.pinged_at && heartbeat.timeout.is_some();
        if self.leaves_at.is_some_and(|at| now >= at) {
            Some(Finding::Leaves)
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
