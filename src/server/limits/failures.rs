//! Bad credentials by address (`limits.failures_per_minute`). The limit slows guessing down, and bounds the cost of
//! checking signatures.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use parking_lot::Mutex;

use crate::client_address::counting_unit;
use crate::clock::{Clock, Moment};
use crate::codes::ErrorCode;
use crate::config::Live;
use crate::metrics::{LimitKey, Metrics};
use crate::server::response::Problem;
use crate::session::FailureLimit;

/// How long failures are added up, and how long an address with too many is refused.
const WINDOW: Duration = Duration::from_secs(60);
/// The largest number of addresses in the table. If it is full, addresses whose window is over are removed. If there is
/// none, failures of other addresses are not counted.
const ADDRESSES_MAX: usize = 65_536;

/// Counts bad credentials.
#[derive(Debug)]
pub struct Failures {
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// Locked for one look-up, and for a sweep if the table is full.
    by_address: Mutex<HashMap<IpAddr, Window>>,
}

/// The failures of one address since its window began. The last failure that is allowed restarts the window.
#[derive(Debug)]
struct Window {
    since: Moment,
    failures: u32,
}

impl FailureLimit for Failures {
    fn may_try(&self, address: IpAddr) -> bool {
        self.check(address).is_ok()
    }

    fn count(&self, address: IpAddr) {
        Self::count(self, address);
    }
}

impl Failures {
    /// No failures yet.
    pub fn new(live: &Arc<Live>, metrics: &Arc<Metrics>, clock: &Clock) -> Self {
        Self { live: Arc::clone(live), metrics: Arc::clone(metrics), clock: clock.clone(), by_address: Mutex::default() }
    }

    /// Checks whether a credential from `address` may be verified. The error is 429: too many were bad.
    pub fn check(&self, address: IpAddr) -> Result<(), Problem> {
        let most = self.live.load().limits.failures_per_minute;
        let now = self.clock.moment();
        let by_address = self.by_address.lock();
        let Some(window) = by_address.get(&counting_unit(address)) else { return Ok(()) };
        let elapsed = now.since(window.since);
        if window.failures < most || elapsed >= WINDOW {
            return Ok(());
        }
        self.metrics.limit_hit(LimitKey::FailuresPerMinute);
        let detail = "too many credentials from this address were wrong (limits.failures_per_minute)";
        let wait = (WINDOW - elapsed).as_secs_f64().ceil() as u64;
        Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, detail).retry_after(wait))
    }

    /// The number of addresses in the table.
    pub fn addresses(&self) -> usize {
        self.by_address.lock().len()
    }

    /// Counts a bad credential from `address`.
    pub fn count(&self, address: IpAddr) {
        let most = self.live.load().limits.failures_per_minute;
        let now = self.clock.moment();
        let mut by_address = self.by_address.lock();
        if by_address.len() >= ADDRESSES_MAX {
            by_address.retain(|_, window| now.since(window.since) < WINDOW);
            if by_address.len() >= ADDRESSES_MAX {
                return;
            }
        }
        let window = by_address.entry(counting_unit(address)).or_insert(Window { since: now, failures: 0 });
        if now.since(window.since) >= WINDOW {
            *window = Window { since: now, failures: 0 };
        }
        window.failures += 1;
        if window.failures == most {
            window.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::config::Limits;

    /// PROTOCOL 7: after `failures_per_minute` failures an address is refused for a minute. Other addresses are not.
    #[test]
    fn an_address_with_too_many_failures_is_refused_for_a_minute() {
        let clock = Clock::by_hand(Timestamp(0));
        let live = Live::with_limits(Limits { failures_per_minute: 3, ..Limits::default() });
        let failures = Failures::new(&live, &Arc::default(), &clock);
        let (here, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..3 {
            assert!(failures.check(here).is_ok());
            failures.count(here);
            clock.advance(Duration::from_secs(10));
        }
        assert_eq!(failures.check(here).unwrap_err().status, 429);
        assert!(failures.check(other).is_ok());
        clock.advance(Duration::from_secs(49));
        assert!(failures.check(here).is_err());
        clock.advance(Duration::from_secs(1));
        assert!(failures.check(here).is_ok());
        failures.count(here);
        assert!(failures.check(here).is_ok());
    }
}
