//! Accepting: who may connect at all, and where they wait for their first bytes.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::accepted::Accepted;
use super::reserve_descriptor::ReserveDescriptor;
use crate::config::Live;
use crate::hub::counted_as;
use crate::metrics::LimitKey;
use crate::server::connection::{Accepting, Http, TlsInForce};
use crate::server::limits::{PendingHandshakes, Rejections};
use crate::server::request::is_trusted_proxy;
use crate::shard::{HandshakeHandler, PendingConnection, Shards};

/// Connections that the kernel keeps ready between two accepts.
const BACKLOG: i32 = 4_096;
/// What the kernel may hold unsent of one socket, in bytes. Without a bound it grows to megabytes, and what an outbox's
/// rule gives up then reaches a slow session minutes late.
const UNSENT_BYTES: u32 = 64 << 10;
/// How long nothing is accepted after the process ran out of file descriptors and nobody could be told so.
const BACK_OFF: Duration = Duration::from_millis(100);
/// At most one log line in this time about file descriptors.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// One listening socket and what its connections need.
pub struct Listener {
    /// The socket.
    pub socket: Accepting,
    /// What is spoken on it.
    pub http: Arc<Http>,
    /// TLS, if this listener has it.
    pub tls: Arc<TlsInForce>,
    /// Where sessions live, and connections wait for their first bytes. `None`: no connection becomes a session.
    pub sessions: Option<Arc<Shards>>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// Where connections that are closed at accept are counted.
    pub rejections: Arc<Rejections>,
    /// Connections before the end of their first head; all listeners share it.
    pub pending: PendingHandshakes,
    /// The runtime in which HTTP and TLS are spoken.
    pub front: Handle,
}

/// Listens on `address`; port 0 picks one.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if let Err(error) = set_options(&socket) {
        tracing::warn!(%error, %address, "connections do without TCP_NODELAY or a bound on what the kernel holds unsent");
    }
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Listener {
    /// Accepts until it is dropped.
    pub async fn run(self) {
        let mut told: Option<Instant> = None;
        let mut reserve = ReserveDescriptor::new();
        loop {
            match self.next().await {
                Ok((stream, peer)) => self.welcome(stream, peer),
                Err(error) if is_exhausted(&error) => {
                    self.rouse(); // connections accepted before need not wait for this
                    self.rejections.limit_hit(LimitKey::Fds);
                    if told.is_none_or(|at| at.elapsed() >= TOLD_AGAIN) {
                        told = Some(Instant::now());
                        tracing::warn!(%error, "can't accept; raise the limit of open files (ulimit -n) or lower limits.sessions");
                    }
                    let is_plain = self.tls.load().is_none();
                    if !reserve.turn_away(&self.socket, is_plain).await {
                        tokio::time::sleep(BACK_OFF).await;
                    }
                }
                Err(error) => tracing::debug!(%error, "a connection was gone before it was accepted"),
            }
        }
    }

    /// The next connection. Those that came together wake their shards once, when there is no other.
    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let mut accepting = pin!(self.socket.accept());
        poll_fn(|cx| {
            let accepted = accepting.as_mut().poll(cx);
            if accepted.is_pending() {
                self.rouse();
            }
            accepted
        })
        .await
    }

    fn welcome(&self, stream: TcpStream, peer: SocketAddr) {
        let config = self.live.load();
        let address = (!is_trusted_proxy(peer.ip(), &config.server)).then(|| counted_as(peer.ip()));
        let pending = match self.pending.take(address, &config.limits) {
            Ok(pending) => pending,
            Err(limit) => return self.rejections.count_pending(limit, peer.ip()),
        };
        let until = Instant::now() + config.limits.handshake_timeout;
        let (http, rejections, front) = (Arc::clone(&self.http), Arc::clone(&self.rejections), self.front.clone());
        let accepted = Box::new(Accepted { http, rejections, front, peer, until, pending, config });
        match (self.tls.load(), &self.sessions) {
            (Some(tls), _) => drop(self.front.spawn(accepted.secure(stream, tls))),
            (None, None) => accepted.hand_on(stream, &[]),
            (None, Some(shards)) => shards.receive(PendingConnection { stream, until, handler: accepted }),
        }
    }

    /// Wakes the shards that were handed connections.
    fn rouse(&self) {
        self.sessions.iter().for_each(|shards| shards.rouse());
    }
}

/// What every connection is to have: accepted sockets inherit it, which spares each its own system calls.
fn set_options(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    #[cfg(target_os = "linux")]
    return socket.set_tcp_notsent_lowat(UNSENT_BYTES);
    #[cfg(not(target_os = "linux"))]
    socket.set_send_buffer_size(UNSENT_BYTES as usize)
}

/// Whether the process or the machine has no file descriptor or no memory left for a socket; trying again at once would spin.
fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepted sockets send at once, and the kernel keeps little of what they have not sent.
    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn accepted_sockets_inherit_the_options() {
        let socket = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let _peer = tokio::net::TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let listener = Accepting::new(socket).unwrap();
        let accepted = listener.accept().await.unwrap().0;
        let unsent_bytes = socket2::SockRef::from(&accepted).tcp_notsent_lowat().unwrap();
        assert_eq!((accepted.nodelay().unwrap(), unsent_bytes), (true, UNSENT_BYTES));
    }

    #[tokio::test]
    async fn an_address_in_use_is_told() {
        let first = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let error = bind(first.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
