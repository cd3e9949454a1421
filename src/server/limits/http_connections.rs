//! HTTP connections (`limits.http_connections`, `limits.http_connections_per_address`). At a limit, a new connection
//! evicts the one that has been idle for longest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use hyper::StatusCode;
use parking_lot::Mutex;

use super::places::Full;
use crate::codes::ErrorCode;
use crate::config::Live;
use crate::metrics::{Gauge, LimitKey, Metrics};
use crate::server::response::Problem;

/// `Retry-After` of a refused connection, in seconds.
const RETRY_SECONDS: u64 = 5;

/// Counts HTTP connections.
#[derive(Debug)]
pub struct HttpConnections {
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    /// Locked for a few look-ups. No task is woken under the lock.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Incremented with each connection and whenever one becomes idle. So the lowest stamp in `idle` has been idle for
    /// longest.
    stamp: u64,
    open: HashMap<u64, Open>,
    /// The ids of idle connections, by the stamp at which they became idle.
    idle: BTreeMap<u64, u64>,
    by_address: HashMap<IpAddr, PerAddress>,
}

#[derive(Debug)]
struct Open {
    /// `None` for a trusted proxy, which has many clients.
    address: Option<IpAddr>,
    /// The stamp at which it became idle; `None` if it is busy.
    idle: Option<u64>,
    eviction: Arc<Eviction>,
}

#[derive(Debug, Default)]
struct PerAddress {
    open: usize,
    /// The stamps of the idle ones.
    idle: BTreeSet<u64>,
}

/// The answer to a connection that finds no place, because all connections under the limit are busy.
pub fn no_place(full: Full) -> Problem {
    let problem = match full {
        Full::All => {
            let detail = "there are as many busy connections as limits.http_connections allows";
            Problem::of_http(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", detail)
        }
        Full::Address => {
            let detail = "this address has as many busy connections as limits.http_connections_per_address allows";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, detail)
        }
    };
    problem.retry_after(RETRY_SECONDS).closing()
}

/// Whether a connection must be closed in favour of another.
#[derive(Debug, Default)]
pub struct Eviction {
    is_due: AtomicBool,
    /// The task that reads the connection.
    reader: Mutex<Option<Waker>>,
}

impl Eviction {
    /// Whether the connection must be closed now. Otherwise `reader` is woken when it must.
    pub fn is_due(&self, reader: &Waker) -> bool {
        let mut known = self.reader.lock();
        if known.as_ref().is_none_or(|known| !known.will_wake(reader)) {
            *known = Some(reader.clone());
        }
        self.is_due.load(Ordering::Acquire)
    }

    fn begin(&self) {
        self.is_due.store(true, Ordering::Release);
        self.reader.lock().take().into_iter().for_each(Waker::wake);
    }
}

/// The place of one connection under the limits. Dropping it gives it back.
#[derive(Debug)]
pub struct HttpPlace {
    connections: Arc<HttpConnections>,
    id: u64,
    eviction: Arc<Eviction>,
}

impl HttpConnections {
    /// No connections yet.
    pub fn new(live: &Arc<Live>, metrics: &Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { live: Arc::clone(live), metrics: Arc::clone(metrics), state: Mutex::default() })
    }

    /// Takes a place for a connection from `address`, if need be that of the connection that has been idle for longest.
    /// For `None`, the limit per address does not hold.
    pub fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<HttpPlace, Full> {
        let config = self.live.load();
        let (all, each) = (config.limits.http_connections, config.limits.http_connections_per_address);
        let mut evicted = Vec::new();
        let entered = {
            let mut state = self.state.lock();
            let entered = self.make_room(&mut state, address, all, each, &mut evicted).map(|()| state.add(address));
            self.metrics.set(Gauge::HttpConnections, state.open.len());
            entered
        };
        evicted.iter().for_each(|eviction: &Arc<Eviction>| eviction.begin());
        entered.map(|(id, eviction)| HttpPlace { connections: Arc::clone(self), id, eviction })
    }

    /// The number of addresses with a connection.
    pub fn addresses(&self) -> usize {
        self.state.lock().by_address.len()
    }

    fn make_room(
        &self,
        state: &mut State,
        address: Option<IpAddr>,
        all: usize,
        each: usize,
        evicted: &mut Vec<Arc<Eviction>>,
    ) -> Result<(), Full> {
        let here = address.and_then(|address| state.by_address.get(&address));
        if let Some(here) = here.filter(|here| here.open >= each) {
            self.metrics.limit_hit(LimitKey::HttpConnectionsPerAddress);
            let longest = here.idle.first().copied().ok_or(Full::Address)?;
            evicted.extend(state.evict(longest));
        }
        if state.open.len() >= all {
            self.metrics.limit_hit(LimitKey::HttpConnections);
            let longest = state.idle.keys().next().copied().ok_or(Full::All)?;
            evicted.extend(state.evict(longest));
        }
        Ok(())
    }
}

impl State {
    fn add(&mut self, address: Option<IpAddr>) -> (u64, Arc<Eviction>) {
        self.stamp += 1;
        let (id, eviction) = (self.stamp, Arc::<Eviction>::default());
        self.open.insert(id, Open { address, idle: None, eviction: Arc::clone(&eviction) });
        if let Some(address) = address {
            self.by_address.entry(address).or_default().open += 1;
        }
        (id, eviction)
    }

    fn evict(&mut self, stamp: u64) -> Option<Arc<Eviction>> {
        let id = self.idle.get(&stamp).copied()?;
        self.remove(id)
    }

    /// Removes a connection, unless it was evicted.
    fn remove(&mut self, id: u64) -> Option<Arc<Eviction>> {
        self.set_idle(id, false);
        let Open { address, eviction, .. } = self.open.remove(&id)?;
        if let Some(address) = address
            && let Some(here) = self.by_address.get_mut(&address)
        {
            here.open -= 1;
            if here.open == 0 {
                self.by_address.remove(&address);
            }
        }
        Some(eviction)
    }

    fn set_idle(&mut self, id: u64, is_idle: bool) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let here = open.address.and_then(|address| self.by_address.get_mut(&address));
        match (open.idle, is_idle) {
            (None, true) => {
                self.stamp += 1;
                open.idle = Some(self.stamp);
                self.idle.insert(self.stamp, id);
                if let Some(here) = here {
                    here.idle.insert(self.stamp);
                }
            }
            (Some(stamp), false) => {
                open.idle = None;
                self.idle.remove(&stamp);
                if let Some(here) = here {
                    here.idle.remove(&stamp);
                }
            }
            (None, false) | (Some(_), true) => {}
        }
    }
}

impl HttpPlace {
    /// Notes that the connection waits for its next request. From now on it may be evicted.
    pub fn idle(&self) {
        self.connections.state.lock().set_idle(self.id, true);
    }

    /// Notes that a request is being answered.
    pub fn busy(&self) {
        self.connections.state.lock().set_idle(self.id, false);
    }

    /// Whether the connection must be closed in favour of another.
    pub fn eviction(&self) -> &Arc<Eviction> {
        &self.eviction
    }
}

impl Drop for HttpPlace {
    fn drop(&mut self) {
        let mut state = self.connections.state.lock();
        state.remove(self.id);
        self.connections.metrics.set(Gauge::HttpConnections, state.open.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    fn connections(all: usize, each: usize) -> Arc<HttpConnections> {
        let limits = Limits { http_connections: all, http_connections_per_address: each, ..Limits::default() };
        HttpConnections::new(&Live::with_limits(limits), &Arc::default())
    }

    fn at(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    fn is_due(place: &HttpPlace) -> bool {
        place.eviction().is_due(Waker::noop())
    }

    /// PROTOCOL 7: past a limit the longest idle connection is evicted. Past the limit of an address, it is one of that
    /// address. Busy connections stay.
    #[test]
    fn the_longest_idle_connection_is_evicted() {
        let connections = connections(3, 2);
        let (one, two) = (connections.enter(at(1)).unwrap(), connections.enter(at(1)).unwrap());
        assert_eq!(connections.enter(at(1)).unwrap_err(), Full::Address);
        let other = connections.enter(at(2)).unwrap();
        assert_eq!(connections.enter(at(3)).unwrap_err(), Full::All);
        other.idle();
        two.idle();
        one.idle();
        let third = connections.enter(at(1)).unwrap();
        assert_eq!([&one, &two, &other].map(is_due), [false, true, false], "the longest idle of the address");
        let fourth = connections.enter(at(3)).unwrap();
        assert_eq!([&one, &other].map(is_due), [false, true], "the longest idle of all");
        one.busy();
        assert_eq!(connections.enter(at(4)).unwrap_err(), Full::All);
        drop((one, two, other, third, fourth));
        let state = connections.state.lock();
        assert!(state.open.is_empty() && state.idle.is_empty() && state.by_address.is_empty());
    }

    /// A trusted proxy has connections of many clients. They count against `http_connections` only.
    #[test]
    fn a_proxy_has_no_limit_per_address() {
        let connections = connections(3, 1);
        let places: Vec<_> = (0..3).map(|_| connections.enter(None).unwrap()).collect();
        assert_eq!(connections.enter(None).unwrap_err(), Full::All);
        drop(places);
    }
}
