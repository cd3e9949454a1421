//! Pending handshakes: connections before the end of their first request's head (`limits.pending`,
//! `limits.pending_per_address`).

use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::places::{Full, Places};
use crate::config::Limits;
use crate::metrics::LimitKey;

/// Counts pending handshakes, over all listeners.
#[derive(Debug, Default)]
pub struct PendingHandshakes {
    /// Locked for one look-up.
    places: Mutex<Places>,
}

/// The place of one connection among the pending handshakes. Dropping it gives it back.
#[derive(Debug)]
pub struct PendingPlace {
    pending: Arc<PendingHandshakes>,
    address: Option<IpAddr>,
}

impl PendingHandshakes {
    /// Takes a place. The error is the limit that leaves none. `address` is `None` for a trusted proxy, which has many
    /// clients.
    pub fn take(self: &Arc<Self>, address: Option<IpAddr>, limits: &Limits) -> Result<PendingPlace, LimitKey> {
        match self.places.lock().take(address, limits.pending, limits.pending_per_address) {
            Ok(()) => Ok(PendingPlace { pending: Arc::clone(self), address }),
            Err(Full::All) => Err(LimitKey::Pending),
            Err(Full::Address) => Err(LimitKey::PendingPerAddress),
        }
    }

    /// The number of addresses with a pending handshake.
    pub fn addresses(&self) -> usize {
        self.places.lock().addresses()
    }
}

impl Drop for PendingPlace {
    fn drop(&mut self) {
        self.pending.places.lock().release(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 7: connections past `pending` and `pending_per_address` are closed at accept. A released place is free
    /// again.
    #[test]
    fn pending_handshakes_are_bounded_in_all_and_per_address() {
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
        assert!(pending.places.lock().is_empty() && pending.addresses() == 0);
    }
}
