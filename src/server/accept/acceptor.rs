//! From accept to a shard or HTTP: the limit of pending handshakes, and the PROXY header.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::accepted::Accepted;
use super::bound::UNSENT_BYTES;
use super::proxy_header::{PROXY_HEADER_BYTES_MAX, read_proxy_header};
use crate::client_address::counting_unit;
use crate::config::{Config, Live, UNIX_PEER};
use crate::metrics::{LimitKey, RejectReason};
use crate::server::connection::{Http, TlsInForce};
use crate::server::limits::{PendingHandshakes, PendingPlace, Rejections};
use crate::server::request::is_trusted_proxy;
use crate::shard::{HandshakeHandler, PendingConnection, Shards};

/// What the connections of one listening socket share.
pub struct Acceptor {
    /// The HTTP of this listener.
    pub http: Arc<Http>,
    /// The certificate in force, if this listener has TLS.
    pub tls: Arc<TlsInForce>,
    /// The shards, in which connections wait for their first bytes. `None`: no connection of this listener becomes a
    /// session.
    pub sessions: Option<Arc<Shards>>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// Counts the connections that are closed at accept.
    pub rejections: Arc<Rejections>,
    /// Connections before the end of their first head, over all listeners.
    pub pending: Arc<PendingHandshakes>,
    /// The runtime of HTTP and TLS connections.
    pub http_runtime: Handle,
}

impl Acceptor {
    /// Hands an accepted connection to its shard or to HTTP. The shard sees the connection after [`Acceptor::wake_shards`].
    pub fn accept(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let config = self.live.load();
        if peer.ip() == UNIX_PEER
            && let Err(error) = set_socket_send_buffer_size(&stream, UNSENT_BYTES as usize)
        {
            tracing::debug!(%error, "the bound on unsent bytes can't be set for a connection");
        }
        let until = Instant::now() + config.limits.handshake_timeout;
        let Some(pending) = self.take_pending_place(peer, &config) else { return };
        if config.server.proxy_protocol && is_trusted_proxy(peer.ip(), &config.server) {
            drop(self.http_runtime.spawn(Arc::clone(self).behind_proxy(stream, peer, until, pending, config)));
        } else {
            self.receive(stream, peer, until, pending, config);
        }
    }

    /// Wakes the shards that were given connections.
    pub fn wake_shards(&self) {
        self.sessions.iter().for_each(|shards| shards.wake());
    }

    /// Counts one hit of `limit`.
    pub fn limit_hit(&self, limit: LimitKey) {
        self.rejections.limit_hit(limit);
    }

    /// Whether the listener has no certificate now.
    pub fn is_plain(&self) -> bool {
        self.tls.load().is_none()
    }

    fn take_pending_place(&self, peer: SocketAddr, config: &Config) -> Option<PendingPlace> {
        let address = (!is_trusted_proxy(peer.ip(), &config.server)).then(|| counting_unit(peer.ip()));
        self.pending.take(address, &config.limits).map_err(|limit| self.rejections.count_pending(limit, peer.ip())).ok()
    }

    fn receive(&self, stream: TcpStream, peer: SocketAddr, until: Instant, pending: PendingPlace, config: Arc<Config>) {
        let (http, rejections, http_runtime) = (Arc::clone(&self.http), Arc::clone(&self.rejections), self.http_runtime.clone());
        let accepted = Box::new(Accepted { http, rejections, http_runtime, peer, until, pending, config });
        match (self.tls.load(), &self.sessions) {
            (Some(tls), _) => drop(self.http_runtime.spawn(accepted.secure(stream, tls))),
            (None, None) => accepted.forward(stream, &[]),
            (None, Some(shards)) => {
                let timeout = until.duration_since(Instant::now());
                shards.receive(PendingConnection { stream, timeout, handler: accepted });
            }
        }
    }

    /// Reads the PROXY header of the proxy `peer`. From then on the client that the header names is the peer, and has
    /// its own place among the pending connections.
    async fn behind_proxy(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        until: Instant,
        pending: PendingPlace,
        config: Arc<Config>,
    ) {
        let rejected = match timeout_at(until, read_client(stream)).await {
            Ok(Ok((stream, None))) => {
                self.receive(stream, peer, until, pending, config);
                return self.wake_shards();
            }
            Ok(Ok((stream, Some(client)))) => {
                let Some(own) = self.take_pending_place(client, &config) else { return };
                drop(pending);
                self.receive(stream, client, until, own, config);
                return self.wake_shards();
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => (RejectReason::BadUpgrade, error.to_string()),
            Ok(Err(error)) => return tracing::trace!(%error, %peer, "connection ended"),
            Err(_) => (RejectReason::Timeout, "before the end of the PROXY header".to_owned()),
        };
        self.rejections.count(rejected.0, peer.ip(), &rejected.1);
    }
}

/// The client that the PROXY header of `stream` names, if any. Reads no byte behind the header.
async fn read_client(stream: TcpStream) -> io::Result<(TcpStream, Option<SocketAddr>)> {
    let mut stream = tokio::net::TcpStream::from_std(stream)?;
    let mut bytes = vec![0; PROXY_HEADER_BYTES_MAX];
    let mut len = 0;
    loop {
        let there = stream.peek(&mut bytes[len..]).await?;
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let header = read_proxy_header(&bytes[..len + there]).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let end = header.as_ref().map_or(len + there, |header| header.len);
        stream.read_exact(&mut bytes[len..end]).await?;
        if let Some(header) = header {
            return Ok((stream.into_std()?, header.client));
        }
        len = end;
    }
}
