//! Connections that have not finished their first request's head (`limits.pending`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts pending handshakes. All listeners share one.
#[derive(Debug, Clone, Default)]
pub struct PendingHandshakes(Arc<AtomicUsize>);

/// One connection's place among the pending handshakes; given back when dropped.
#[derive(Debug)]
pub struct PendingPlace(Arc<AtomicUsize>);

impl PendingHandshakes {
    /// Takes a place; `None`: `most` are taken.
    pub fn take(&self, most: usize) -> Option<PendingPlace> {
        let place = PendingPlace(Arc::clone(&self.0));
        (self.0.fetch_add(1, Ordering::AcqRel) < most).then_some(place)
    }
}

impl Drop for PendingPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 7: connections past `pending` are closed at accept; a place is given back.
    #[test]
    fn pending_places_are_counted() {
        let pending = PendingHandshakes::default();
        let first = pending.take(1).unwrap();
        assert!(pending.take(1).is_none());
        drop(first);
        assert!(pending.take(1).is_some());
        assert_eq!(pending.0.load(Ordering::Acquire), 0);
    }
}
