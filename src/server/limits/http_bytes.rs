//! The memory of all HTTP bodies and answers together (`limits.http_bytes`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hyper::StatusCode;

use crate::config::Live;
use crate::metrics::{Gauge, LimitKey, Metrics};
use crate::server::response::Problem;

/// `Retry-After` of a request that found no room, in seconds.
const RETRY_SECONDS: u64 = 1;

/// Counts the bytes that HTTP requests and their answers hold.
#[derive(Debug)]
pub struct HttpBytes {
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    held: AtomicUsize,
}

/// Reserved bytes. Dropping them releases them.
#[derive(Debug)]
pub struct Reservation {
    account: Arc<HttpBytes>,
    bytes: usize,
}

/// `limits.http_bytes` is exhausted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("HTTP bodies and answers hold as many bytes as limits.http_bytes allows")]
pub struct NoBytes;

impl From<NoBytes> for Problem {
    fn from(error: NoBytes) -> Self {
        Self::of_http(StatusCode::SERVICE_UNAVAILABLE, "too_busy", error.to_string()).retry_after(RETRY_SECONDS)
    }
}

impl HttpBytes {
    /// Nothing is reserved yet.
    pub fn new(live: &Arc<Live>, metrics: &Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { live: Arc::clone(live), metrics: Arc::clone(metrics), held: AtomicUsize::new(0) })
    }

    /// Reserves `bytes`, if the limit allows it.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Result<Reservation, NoBytes> {
        let mut reservation = Reservation { account: Arc::clone(self), bytes: 0 };
        reservation.grow(bytes)?;
        Ok(reservation)
    }
}

impl Reservation {
    /// Reserves `bytes` more.
    pub fn grow(&mut self, bytes: usize) -> Result<(), NoBytes> {
        let account = &self.account;
        let most = account.live.load().limits.http_bytes;
        let fits = |held: usize| held.checked_add(bytes).filter(|&sum| sum <= most);
        if account.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_err() {
            account.metrics.limit_hit(LimitKey::HttpBytes);
            return Err(NoBytes);
        }
        self.bytes += bytes;
        account.metrics.add(Gauge::HttpBytes, i64::try_from(bytes).unwrap_or(i64::MAX));
        Ok(())
    }

    /// `bytes` with this reservation, which ends when their last clone is dropped. The bytes of an answer are dropped
    /// once they are written.
    pub fn into_holding(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _reservation: self })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.account.held.fetch_sub(self.bytes, Ordering::AcqRel);
        self.account.metrics.add(Gauge::HttpBytes, -i64::try_from(self.bytes).unwrap_or(i64::MAX));
    }
}

struct Held {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    /// PROTOCOL 7: bytes count until their last copy is dropped. Past the limit a request gets 503 with `Retry-After`.
    #[test]
    fn bytes_count_until_their_last_copy_is_dropped() {
        let live = Live::with_limits(Limits { http_bytes: 10, ..Limits::default() });
        let account = HttpBytes::new(&live, &Arc::default());
        let held = account.reserve(8).unwrap().into_holding(Bytes::from_static(b"12345678"));
        let copy = held.slice(2..4);
        drop(held);
        assert_eq!(Problem::from(account.reserve(3).unwrap_err()).status, 503);
        let mut rest = account.reserve(1).unwrap();
        assert!(rest.grow(1).is_ok() && rest.grow(1).is_err());
        drop(copy);
        assert!(rest.grow(8).is_ok());
        drop(rest);
        assert_eq!(account.held.load(Ordering::Acquire), 0);
    }
}
