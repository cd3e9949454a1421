//! Connections that have not finished their first request's head (`limits.pending`, `limits.pending_per_address`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::Limits;
use crate::metrics::LimitKey;

/// Counts pending handshakes. All listeners share one.
#[derive(Debug, Default)]
pub struct PendingHandshakes {
    /// Held for one look-up.
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One connection's place among the pending handshakes; given back when dropped.
#[derive(Debug)]
pub struct PendingPlace {
    pending: Arc<PendingHandshakes>,
    address: Option<IpAddr>,
}

impl PendingHandshakes {
    /// Takes a place, or says which limit leaves none. `address`: `None` for a trusted proxy, which stands for many clients.
    pub fn take(self: &Arc<Self>, address: Option<IpAddr>, limits: &Limits) -> Result<PendingPlace, LimitKey> {
        let mut counts = self.counts.lock();
        if counts.all >= limits.pending {
            return Err(LimitKey::Pending);
        }
        if let Some(address) = address {
            let here = counts.by_address.entry(address).or_default();
            if *here >= limits.pending_per_address {
                return Err(LimitKey::PendingPerAddress);
            }
            *here += 1;
        }
        counts.all += 1;
        Ok(PendingPlace { pending: Arc::clone(self), address })
    }

    /// How many addresses have one.
    pub fn addresses(&self) -> usize {
        self.counts.lock().by_address.len()
    }
}

impl Drop for PendingPlace {
    fn drop(&mut self) {
        let mut counts = self.pending.counts.lock();
        counts.all -= 1;
        if let Some(address) = self.address
            && let Some(here) = counts.by_address.get_mut(&address)
        {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 7: connections past `pending` and `pending_per_address` are closed at accept; a place is given back.
    #[test]
    fn pending_places_are_counted() {
        let pending = Arc::<PendingHandshakes>::default();
        let limits = Limits { pending: 3, pending_per_address: 2, ..Limits::default() };
        let at = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        let held = [at(1), at(1)].map(|address| pending.take(address, &limits).unwrap());
        assert_eq!(pending.take(at(1), &limits).unwrap_err(), LimitKey::PendingPerAddress);
        let third = pending.take(at(2), &limits).unwrap();
        assert_eq!(pending.take(at(3), &limits).unwrap_err(), LimitKey::Pending);
        drop((held, third));
        let proxy: Vec<_> = (0..3).map(|_| pending.take(None, &limits).unwrap()).collect();
        drop(proxy);
        let counts = pending.counts.lock();
        assert!(counts.all == 0 && counts.by_address.is_empty());
    }
}
