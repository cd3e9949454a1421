//! The accept loop of one listening socket.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::acceptor::Acceptor;
use super::reserve_descriptor::ReserveDescriptor;
use crate::metrics::LimitKey;
use crate::server::connection::Accepting;

/// How long the loop pauses after the process ran out of file descriptors and no connection could be refused.
const BACK_OFF: Duration = Duration::from_millis(100);
/// The shortest time between two log lines about file descriptors.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// One listening socket.
pub struct Listener {
    pub socket: Accepting,
    /// Receives its connections.
    pub acceptor: Arc<Acceptor>,
}

impl Listener {
    /// Accepts connections until the future is dropped.
    pub async fn run(self) {
        let mut warned_at: Option<Instant> = None;
        let mut reserve = ReserveDescriptor::new();
        loop {
            match self.next().await {
                Ok((stream, peer)) => self.acceptor.accept(stream, peer),
                Err(error) if is_exhausted(&error) => {
                    self.acceptor.wake_shards(); // connections that were accepted before do not wait for the refusal
                    self.acceptor.limit_hit(LimitKey::Fds);
                    if warned_at.is_none_or(|at| at.elapsed() >= WARN_INTERVAL) {
                        warned_at = Some(Instant::now());
                        tracing::warn!(%error, "can't accept; raise the limit of open files (ulimit -n) or lower limits.sessions");
                    }
                    if !reserve.refuse_one(&self.socket, self.acceptor.is_plain()).await {
                        tokio::time::sleep(BACK_OFF).await;
                    }
                }
                Err(error) => tracing::debug!(%error, "a connection was gone before it was accepted"),
            }
        }
    }

    /// The next connection. Connections that came together wake their shards once, after the last of them.
    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let mut accepting = pin!(self.socket.accept());
        poll_fn(|cx| {
            let accepted = accepting.as_mut().poll(cx);
            if accepted.is_pending() {
                self.acceptor.wake_shards();
            }
            accepted
        })
        .await
    }
}

/// Whether the process or the machine has no file descriptor or no memory left for a socket. An immediate retry would
/// spin.
fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::super::bound::{ListenerSettings, UNSENT_BYTES, bind_all};
    use super::super::passed::PassedSockets;
    use super::*;
    use crate::config::ListenAddress;

    /// Accepted sockets inherit TCP_NODELAY and TCP_NOTSENT_LOWAT.
    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn accepted_sockets_inherit_the_options() {
        let listen = [ListenAddress::Network(([127, 0, 0, 1], 0).into())];
        let settings = ListenerSettings { key: "server.listen", listen: &listen, unix_mode: 0 };
        let [mut bound] = bind_all([settings], &mut PassedSockets::default()).unwrap();
        let bound = bound.remove(0);
        let ListenAddress::Network(address) = bound.address else { panic!("{bound:?}") };
        let _peer = tokio::net::TcpStream::connect(address).await.unwrap();
        let listener = Accepting::new(bound.socket).unwrap();
        let accepted = listener.accept().await.unwrap().0;
        let unsent_bytes = socket2::SockRef::from(&accepted).tcp_notsent_lowat().unwrap();
        assert_eq!((accepted.nodelay().unwrap(), unsent_bytes), (true, UNSENT_BYTES));
    }
}
