//! The admission of sessions: the limits of all sessions and of each address, and the refusal of all during a drain.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::StatusCode;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::places::{Full, Places};
use crate::client_address::counting_unit;
use crate::codes::ErrorCode;
use crate::config::Live;
use crate::hub::Engine;
use crate::metrics::RejectReason;
use crate::server::response::{Problem, Refused};
use crate::shard::Shards;

/// `Retry-After` of a refusal by a limit, in seconds.
const RETRY_WHEN_FULL_SECONDS: u64 = 5;

/// Admits sessions, and counts them.
pub struct Admission {
    live: Arc<Live>,
    /// The number of sessions that the limit of open files allows. It bounds `limits.sessions`, also after a reload.
    sessions_possible: usize,
    /// Set under the lock of `sessions`, so every session that was admitted before is counted there.
    draining: AtomicBool,
    /// Locked for one look-up.
    sessions: Mutex<Places>,
    /// The engine. No session is admitted before it has loaded its topics.
    engine: Option<Arc<dyn Engine>>,
    /// Notified when the last session has ended.
    emptied: Notify,
}

/// The place of a session in the counts. Dropping it gives it back.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").field("sessions", &self.sessions).finish_non_exhaustive()
    }
}

impl Admission {
    /// No sessions yet; at most `sessions_possible` are admitted.
    pub fn new(live: Arc<Live>, sessions_possible: usize, engine: Option<Arc<dyn Engine>>) -> Arc<Self> {
        let (draining, sessions, emptied) = Default::default();
        Arc::new(Self { live, sessions_possible, draining, sessions, engine, emptied })
    }

    /// Takes a place for a session from `address`.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Refused> {
        let (config, address) = (self.live.load(), counting_unit(address));
        let mut sessions = self.sessions.lock();
        self.check_not_draining().map_err(|problem| Refused(RejectReason::Draining, problem))?;
        // Before all topics are loaded, a `since` could not be answered.
        if self.engine.as_ref().is_some_and(|engine| engine.is_loading()) {
            let problem = unavailable("loading", "the gateway has not read the topics of its cluster yet");
            return Err(Refused(RejectReason::Loading, problem.retry_after(1)));
        }
        let all_max = config.limits.sessions.min(self.sessions_possible);
        match sessions.take(Some(address), all_max, config.limits.sessions_per_address) {
            Ok(()) => Ok(Permit { admission: Arc::clone(self), address }),
            Err(Full::All) => {
                let problem = unavailable("too_many_sessions", "there are as many sessions as limits.sessions allows");
                Err(Refused(RejectReason::Sessions, problem.retry_after(RETRY_WHEN_FULL_SECONDS)))
            }
            Err(Full::Address) => {
                let detail = "there are as many sessions from this address as limits.sessions_per_address allows";
                let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, detail);
                Err(Refused(RejectReason::SessionsPerAddress, problem.retry_after(RETRY_WHEN_FULL_SECONDS)))
            }
        }
    }

    /// Takes a place for a stream, unless the outboxes of `shards` are full. A stream that is refused then reconnects
    /// by itself, and its replay would enlarge the outboxes.
    pub fn admit_stream(self: &Arc<Self>, address: IpAddr, shards: &Shards) -> Result<Permit, Refused> {
        if shards.are_full(self.live.load().limits.outbox_total_bytes) {
            let problem = unavailable("too_busy", "the outboxes hold as much as limits.outbox_total_bytes allows");
            return Err(Refused(RejectReason::OutboxTotalBytes, problem.retry_after(RETRY_WHEN_FULL_SECONDS)));
        }
        self.admit(address)
    }

    /// Whether `/readyz` is 200.
    pub fn check_ready(&self) -> Result<(), Problem> {
        self.check_not_draining()?;
        let reason = self.engine.as_ref().and_then(|engine| engine.unready());
        reason.map_or(Ok(()), |reason| Err(unavailable("not_ready", reason).retry_after(1)))
    }

    /// Admits no more sessions.
    pub fn begin_drain(&self) {
        let _sessions = self.sessions.lock();
        self.draining.store(true, Ordering::Release);
    }

    /// Waits until no session is left, neither in a shard nor with its 101 under way.
    pub async fn emptied(&self) {
        while !self.is_empty() {
            self.emptied.notified().await;
        }
    }

    /// The number of addresses that have a session.
    pub fn addresses(&self) -> usize {
        self.sessions.lock().addresses()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.sessions.lock().is_empty()
    }

    /// Refuses requests during a drain. `Retry-After` is the length of the drain.
    pub fn check_not_draining(&self) -> Result<(), Problem> {
        if !self.draining.load(Ordering::Acquire) {
            return Ok(());
        }
        let drain = self.live.load().server.drain;
        Err(unavailable("draining", "the gateway is draining").retry_after(drain.as_secs_f64().ceil() as u64))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut sessions = self.admission.sessions.lock();
        sessions.release(Some(self.address));
        if sessions.is_empty() {
            self.admission.emptied.notify_one();
        }
    }
}

fn unavailable(code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::of_http(StatusCode::SERVICE_UNAVAILABLE, code, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    fn admission(sessions: usize, per_address: usize, possible: usize) -> Arc<Admission> {
        let limits = Limits { sessions, sessions_per_address: per_address, ..Limits::default() };
        Admission::new(Live::with_limits(limits), possible, None)
    }

    fn at(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn refused(admission: &Arc<Admission>, last: u8) -> (RejectReason, u16) {
        let Refused(reason, problem) = admission.admit(at(last)).unwrap_err();
        (reason, problem.status.as_u16())
    }

    /// PROTOCOL 7: past `sessions` an upgrade gets 503, and past `sessions_per_address` 429. A released place is free
    /// again.
    #[test]
    fn sessions_are_bounded_in_all_and_per_address() {
        let admission = admission(3, 2, 100);
        let permits = (admission.admit(at(1)).unwrap(), admission.admit(at(1)).unwrap());
        assert_eq!(refused(&admission, 1), (RejectReason::SessionsPerAddress, 429));
        let other = admission.admit(at(2)).unwrap();
        assert_eq!(refused(&admission, 3), (RejectReason::Sessions, 503));
        drop((permits, other));
        assert!(admission.is_empty() && admission.addresses() == 0);
        assert!(admission.admit(at(1)).is_ok());
    }

    /// Threats, row 25: sessions are bounded by the file descriptors.
    #[test]
    fn sessions_are_bounded_by_file_descriptors() {
        let admission = admission(100, 100, 1);
        let _permit = admission.admit(at(1)).unwrap();
        assert_eq!(refused(&admission, 2), (RejectReason::Sessions, 503));
    }

    /// PROTOCOL 6: new upgrades get 503 with `Retry-After` while the gateway drains.
    #[test]
    fn no_session_is_admitted_while_draining() {
        let admission = admission(3, 2, 100);
        admission.begin_drain();
        let Refused(_, problem) = admission.admit(at(1)).unwrap_err();
        let answer = crate::server::response::Answer::from(problem);
        assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"10".parse().unwrap()));
    }
}
