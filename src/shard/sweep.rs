//! The sweep: pings, lost pongs, stuck outboxes, deadlines and ends, in one pass without a timer for each session.

use std::sync::Arc;
use std::time::Duration;

use super::outbox::{Queued, What};
use super::sessions::Sessions;
use super::slot::{Slot, Stage};
use crate::codes::CloseCode;
use crate::config::Limits;
use crate::metrics::{CloseReason, LimitKey};

/// The longest time between two sweeps.
const SWEEP_INTERVAL_MAX: Duration = Duration::from_millis(500);
/// The shortest.
const SWEEP_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// What a sweep finds due for one session.
enum Finding {
    Over,
    Deadline,
    Leaves,
    Stuck,
    Silent,
    Ping,
}

/// Between two sweeps: an eighth of the shortest time-out, so that none is late by more.
pub fn sweep_interval(limits: &Limits) -> Duration {
    let Limits { ping_interval, pong_timeout, write_timeout, auth_timeout, message_timeout, handshake_timeout, .. } = limits;
    let shortest = [ping_interval, pong_timeout, write_timeout, auth_timeout, message_timeout, handshake_timeout].into_iter().min();
    (shortest.copied().unwrap_or(SWEEP_INTERVAL_MAX) / 8).clamp(SWEEP_INTERVAL_MIN, SWEEP_INTERVAL_MAX)
}

impl Sessions {
    /// Looks at every session once.
    pub fn sweep(&mut self) {
        let (config, now) = (Arc::clone(&self.config), self.now);
        for slot in 0..self.slots.end() {
            let Some(found) = self.slot(slot).and_then(|session| session.look(&config.limits, now)) else { continue };
            self.act_on(slot, found);
        }
        let backlogged: Vec<u32> = self.backlogged.iter().copied().collect();
        for slot in backlogged {
            let Self { slots, tally, now, .. } = self;
            if let Some(outbox) = slots.get_mut(slot).and_then(|session| session.outbox.as_mut()) {
                outbox.give_up_aged(*now, tally);
            }
        }
    }

    fn act_on(&mut self, slot: u32, found: Finding) {
        match found {
            Finding::Over => self.end(slot, CloseReason::Gone),
            Finding::Deadline => {
                if let Some(session) = self.slot(slot) {
                    session.deadline = None;
                }
                self.call(slot, |reader, seat| reader.deadline(seat));
            }
            Finding::Leaves => {
                self.release_held(slot, |_| true); // its outbox is flushed, and what an interval holds back is a part of that
                self.close(slot, Some(CloseCode::GoingAway.number()), "the gateway is going away", CloseReason::GoingAway);
            }
            Finding::Stuck => {
                self.limit_hit(LimitKey::WriteTimeout);
                self.cut_off(slot, CloseCode::SlowConsumer, "nothing was read in time", CloseReason::Slow);
            }
            Finding::Silent => {
                self.limit_hit(LimitKey::PongTimeout);
                self.cut_off(slot, CloseCode::NoPong, "no sign of life after a ping", CloseReason::PongTimeout);
            }
            Finding::Ping => {
                let now = self.now;
                let Some(session) = self.slot(slot) else { return };
                session.pinged_at = now;
                let frame = session.variant.framing.heartbeat();
                self.queue(slot, Queued { frame, what: What::Reply });
            }
        }
    }
}

impl Slot {
    fn look(&self, limits: &Limits, now: crate::clock::Moment) -> Option<Finding> {
        if let Stage::Closing { until, .. } = self.stage {
            return (now >= until).then_some(Finding::Over);
        }
        let silent_since_ping = self.heard_at < self.pinged_at;
        if self.leaves_at.is_some_and(|at| now >= at) {
            Some(Finding::Leaves)
        } else if self.deadline.is_some_and(|at| now >= at) {
            Some(Finding::Deadline)
        } else if self.outbox.as_ref().is_some_and(|outbox| !outbox.is_empty() && now.since(outbox.moved_at()) >= limits.write_timeout) {
            Some(Finding::Stuck)
        } else if silent_since_ping && now.since(self.pinged_at) >= limits.pong_timeout {
            Some(Finding::Silent)
        } else if !silent_since_ping && now.since(self.pinged_at) >= limits.ping_interval {
            Some(Finding::Ping)
        } else {
            None
        }
    }
}
