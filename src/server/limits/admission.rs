//! Who may come in: sessions in all, per address, and nobody while the gateway drains.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::StatusCode;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::client_address::counting_unit;
use crate::codes::ErrorCode;
use crate::config::Live;
use crate::hub::Engine;
use crate::metrics::RejectReason;
use crate::server::response::Problem;
use crate::shard::Shards;

/// When somebody who found the house full may ask again, in seconds.
const RETRY_WHEN_FULL_SECONDS: u64 = 5;

/// Counts who is in.
pub struct Admission {
    live: Arc<Live>,
    /// What the process's file descriptors allow, whatever `limits.sessions` says.
    sessions_possible: usize,
    /// Set under the lock of `counts`: whoever was let in before is counted there.
    draining: AtomicBool,
    /// Held for one look-up.
    counts: Mutex<Counts>,
    /// The engine that has topics to load before anybody comes.
    engine: Option<Arc<dyn Engine>>,
    /// Told whenever the last one has gone.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    sessions: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Why somebody may not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The gateway is going away.
    #[error("the gateway is draining")]
    Draining,
    /// The topics of a cluster are not all read yet: a `since` could not be kept.
    #[error("the gateway has not read the topics of its cluster yet")]
    Loading,
    /// `limits.sessions`.
    #[error("there are as many sessions as limits.sessions allows")]
    Sessions,
    /// `limits.outbox_total_bytes`.
    #[error("the outboxes hold as much as limits.outbox_total_bytes allows")]
    Outboxes,
    /// `limits.sessions_per_address`.
    #[error("there are as many sessions from this address as limits.sessions_per_address allows")]
    SessionsPerAddress,
}

impl Refusal {
    /// The label that it is counted under.
    pub fn reason(self) -> RejectReason {
        match self {
            Self::Draining => RejectReason::Draining,
            Self::Loading => RejectReason::Loading,
            Self::Sessions => RejectReason::Sessions,
            Self::Outboxes => RejectReason::OutboxTotalBytes,
            Self::SessionsPerAddress => RejectReason::SessionsPerAddress,
        }
    }
}

/// A session's place in the totals; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Admission {
    /// Nobody is in. `sessions_possible` bounds `limits.sessions`, through reloads too.
    pub fn new(live: Arc<Live>, sessions_possible: usize, engine: Option<Arc<dyn Engine>>) -> Arc<Self> {
        Arc::new(Self {
            live,
            sessions_possible,
            draining: AtomicBool::new(false),
            counts: Mutex::default(),
            engine,
            emptied: Notify::new(),
        })
    }

    /// A place for a session from `address`.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Refusal> {
        let address = counting_unit(address);
        let config = self.live.load();
        let mut counts = self.counts.lock();
        if self.is_draining() {
            return Err(Refusal::Draining);
        }
        if self.engine.as_ref().is_some_and(|engine| engine.is_loading()) {
            return Err(Refusal::Loading);
        }
        if counts.sessions >= config.limits.sessions.min(self.sessions_possible) {
            return Err(Refusal::Sessions);
        }
        let here = counts.by_address.entry(address).or_default();
        if *here >= config.limits.sessions_per_address {
            if *here == 0 {
                counts.by_address.remove(&address);
            }
            return Err(Refusal::SessionsPerAddress);
        }
        *here += 1;
        counts.sessions += 1;
        Ok(Permit { admission: Arc::clone(self), address })
    }

    /// The same for a stream, which comes back by itself where it is refused for now: it waits until `shards` have room for what it misses.
    pub fn admit_stream(self: &Arc<Self>, address: IpAddr, shards: &Shards) -> Result<Permit, Refusal> {
        if shards.are_full(self.live.load().limits.outbox_total_bytes) {
            return Err(Refusal::Outboxes);
        }
        self.admit(address)
    }

    /// Why the gateway is not ready for more, or nothing.
    pub fn unready(&self) -> Option<Problem> {
        if self.is_draining() {
            return Some(self.draining_problem());
        }
        let reason = self.engine.as_ref()?.unready()?;
        Some(Problem::of_http(StatusCode::SERVICE_UNAVAILABLE, "not_ready", reason).retry_after(1))
    }

    /// The answer to somebody refused.
    pub fn problem(&self, refusal: Refusal) -> Problem {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Draining => self.draining_problem(),
            Refusal::Loading => Problem::of_http(StatusCode::SERVICE_UNAVAILABLE, "loading", detail).retry_after(1),
            Refusal::Sessions => {
                Problem::of_http(StatusCode::SERVICE_UNAVAILABLE, "too_many_sessions", detail).retry_after(RETRY_WHEN_FULL_SECONDS)
            }
            Refusal::Outboxes => Problem::of_http(StatusCode::SERVICE_UNAVAILABLE, "too_busy", detail).retry_after(RETRY_WHEN_FULL_SECONDS),
            Refusal::SessionsPerAddress => {
                Problem::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, detail).retry_after(RETRY_WHEN_FULL_SECONDS)
            }
        }
    }

    /// From now on nobody comes in.
    pub fn begin_drain(&self) {
        let _counts = self.counts.lock();
        self.draining.store(true, Ordering::Release);
    }

    /// Done when nobody is in: no open session of a shard, and none whose 101 is on its way.
    pub async fn emptied(&self) {
        while !self.is_empty() {
            self.emptied.notified().await;
        }
    }

    /// How many addresses somebody is in from.
    pub fn addresses(&self) -> usize {
        self.counts.lock().by_address.len()
    }

    /// Whether nobody is in.
    pub fn is_empty(&self) -> bool {
        self.counts.lock().sessions == 0
    }

    /// Whether the gateway drains.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// What anyone is told who comes while the gateway drains: to come back once it must be gone.
    pub fn draining_problem(&self) -> Problem {
        let drain = self.live.load().server.drain;
        Problem::of_http(StatusCode::SERVICE_UNAVAILABLE, "draining", Refusal::Draining.to_string())
            .retry_after(drain.as_secs_f64().ceil() as u64)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.admission.counts.lock();
        counts.sessions -= 1;
        if counts.sessions == 0 {
            self.admission.emptied.notify_one();
        }
        if let Some(here) = counts.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn admission(sessions: usize, per_address: usize, possible: usize) -> Arc<Admission> {
        let mut config = Config::default();
        config.limits.sessions = sessions;
        config.limits.sessions_per_address = per_address;
        Admission::new(Arc::new(Live::new(&config, &Arc::default())), possible, None)
    }

    fn at(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// PROTOCOL 7: 503 for sessions in all, 429 for one address; a place that is given back can be had again.
    #[test]
    fn places_are_counted_and_given_back() {
        let admission = admission(3, 2, 100);
        let passes = (admission.admit(at(1)).unwrap(), admission.admit(at(1)).unwrap());
        assert_eq!(admission.admit(at(1)).unwrap_err(), Refusal::SessionsPerAddress);
        let other = admission.admit(at(2)).unwrap();
        assert_eq!(admission.admit(at(3)).unwrap_err(), Refusal::Sessions);
        drop((passes, other));
        assert!(admission.counts.lock().by_address.is_empty());
        assert!(admission.admit(at(1)).is_ok());
    }

    /// Threats, row 25: more sessions than there are file descriptors are not taken.
    #[test]
    fn file_descriptors_bound_the_sessions() {
        let admission = admission(100, 100, 1);
        let _pass = admission.admit(at(1)).unwrap();
        assert_eq!(admission.admit(at(2)).unwrap_err(), Refusal::Sessions);
    }

    /// PROTOCOL 6: new upgrades get 503 with `Retry-After` while the gateway drains.
    #[test]
    fn nobody_comes_in_while_draining() {
        let admission = admission(3, 2, 100);
        admission.begin_drain();
        let refusal = admission.admit(at(1)).unwrap_err();
        let answer = crate::server::response::Answer::from(admission.problem(refusal));
        assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"10".parse().unwrap()));
    }
}
