//! An accepted connection before its first bytes, as it waits in a shard: a handshake that comes whole with them is granted
//! there, and all else is spoken HTTP with.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::first_head;
use super::guarded::{Guarded, Progress, Transport};
use super::http::Http;
use super::tcp::Tcp;
use super::upgrade::Granted;
use crate::config::Config;
use crate::metrics::RejectReason;
use crate::shard::{Admitted, Porter};

/// One connection's place among the pending; given back when dropped.
pub struct Pending(Arc<AtomicUsize>);

impl Pending {
    /// Takes one; `None`: there are `most`.
    pub fn take(count: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let place = Self(Arc::clone(count));
        (count.fetch_add(1, Ordering::AcqRel) < most).then_some(place)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One accepted connection.
pub struct Accepted {
    /// What is spoken with it.
    pub http: Arc<Http>,
    /// The runtime in which HTTP is spoken.
    pub front: Handle,
    /// Who is at its other end.
    pub peer: SocketAddr,
    /// Until when its first head has to be there.
    pub until: Instant,
    /// Its place among those without one.
    pub pending: Pending,
    /// The configuration that it was accepted under.
    pub config: Arc<Config>,
}

impl Accepted {
    /// Speaks TLS with it, then HTTP; one deadline holds for both.
    pub async fn secure(self: Box<Self>, stream: TcpStream, tls: Arc<ServerConfig>) {
        let accepting = TlsAcceptor::from(tls).accept(Tcp::Unregistered(stream));
        let rejected = match tokio::time::timeout_at(self.until, accepting).await {
            Ok(Ok(stream)) => return self.serve(Transport::Tls(Box::new(stream)), Bytes::new()).await,
            Ok(Err(error)) => (RejectReason::Tls, error.to_string()),
            Err(_) => (RejectReason::Timeout, "in the TLS handshake".to_owned()),
        };
        self.http.routes.rejections.count(rejected.0, self.peer.ip(), &rejected.1);
    }

    async fn serve(self: Box<Self>, transport: Transport, said: Bytes) {
        let Self { http, peer, until, pending, config, .. } = *self;
        let progress = Progress::new(until, Box::new(pending));
        let guarded = Guarded::new(transport, said, Arc::clone(&progress), config.limits.write_timeout);
        http.serve(guarded, peer, &progress, &config.limits).await;
    }
}

impl Porter for Accepted {
    fn admit(&mut self, said: &[u8]) -> Option<Admitted> {
        let mut room = first_head::room();
        let (head, used) = first_head::read(said, &mut room).filter(|&(_, used)| used <= self.config.limits.header_bytes)?;
        let Granted { switching, newcomer } = self.http.routes.grant(&head, self.peer, self.http.surface)?;
        Some(Admitted { newcomer, head: switching.written(), used })
    }

    fn hand_on(self: Box<Self>, stream: TcpStream, said: &[u8]) {
        let (front, said) = (self.front.clone(), Bytes::copy_from_slice(said));
        front.spawn(self.serve(Transport::Plain(Tcp::Unregistered(stream)), said));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 7: connections past `pending` are closed at accept; a place is given back.
    #[test]
    fn pending_places_are_counted() {
        let count = Arc::new(AtomicUsize::new(0));
        let first = Pending::take(&count, 1).unwrap();
        assert!(Pending::take(&count, 1).is_none());
        drop(first);
        assert!(Pending::take(&count, 1).is_some());
        assert_eq!(count.load(Ordering::Acquire), 0);
    }
}
