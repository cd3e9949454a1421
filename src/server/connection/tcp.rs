//! A TCP socket that is registered with the runtime only when it has to wait. Most connections from shards need no
//! registration: their request is answered at once, or their session continues in a shard.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

use crate::config::UNIX_PEER;

/// A listening TCP or Unix socket. Its accepted connections are not registered with the runtime.
#[derive(Debug)]
pub struct Accepting {
    socket: AsyncFd<OwnedFd>,
}

impl Accepting {
    /// Accepts on `socket`, which must be non-blocking, in the caller's runtime.
    #[allow(deprecated, reason = "its successor is unsafe; the socket is owned here and open for as long as it is registered")]
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: AsyncFd::new(socket)? })
    }

    /// The next connection and its peer. A connection by a Unix socket is a `TcpStream` too, because read, write and
    /// shutdown are the same calls.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            // Yields to the tasks of accepted connections, however many wait.
            coop::consume_budget().await;
            let mut ready = self.socket.readable().await?;
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            if let Ok(accepted) = ready.try_io(|socket| Ok(acceptfrom_with(socket, flags)?)) {
                let (stream, peer) = accepted?;
                let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                return Ok((stream.into(), peer.unwrap_or_else(|| SocketAddr::new(UNIX_PEER, 0))));
            }
        }
    }
}

/// One connection.
pub enum Tcp {
    /// Not registered: no operation has had to wait.
    Unregistered(TcpStream),
    /// Registered with the runtime.
    Registered(tokio::net::TcpStream),
    /// The registration failed.
    Lost,
}

impl Tcp {
    /// The socket, without its registration.
    pub fn into_std(self) -> io::Result<TcpStream> {
        match self {
            Self::Unregistered(stream) => Ok(stream),
            Self::Registered(stream) => stream.into_std(),
            Self::Lost => Err(lost()),
        }
    }

    /// Runs `attempt` on an unregistered socket, within the task's cooperative budget. `None`: the socket is
    /// registered, or has to wait now.
    fn at_once<T>(&self, cx: &mut Context<'_>, attempt: impl FnOnce(&TcpStream) -> io::Result<T>) -> Option<Poll<io::Result<T>>> {
        let Self::Unregistered(stream) = self else { return None };
        let Poll::Ready(share) = coop::poll_proceed(cx) else { return Some(Poll::Pending) };
        let done = attempt(stream);
        let waits = |error: &io::Error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
        if done.as_ref().is_err_and(waits) {
            return None;
        }
        share.made_progress();
        Some(Poll::Ready(done))
    }

    /// The registered socket; registers it if needed.
    fn registered(&mut self) -> io::Result<Pin<&mut tokio::net::TcpStream>> {
        if matches!(self, Self::Unregistered(_))
            && let Self::Unregistered(stream) = std::mem::replace(self, Self::Lost)
        {
            *self = Self::Registered(tokio::net::TcpStream::from_std(stream)?);
        }
        match self {
            Self::Registered(stream) => Ok(Pin::new(stream)),
            Self::Unregistered(_) | Self::Lost => Err(lost()),
        }
    }
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the socket could not be registered")
}

impl AsyncRead for Tcp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(read) = self.at_once(cx, |mut stream| stream.read(buffer.initialize_unfilled())) {
            return read.map_ok(|bytes| buffer.advance(bytes));
        }
        self.registered()?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(written) = self.at_once(cx, |mut stream| stream.write(bytes)) {
            return written;
        }
        self.registered()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(written) = self.at_once(cx, |mut stream| stream.write_vectored(slices)) {
            return written;
        }
        self.registered()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // std's TcpStream has no buffer
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unregistered(stream) => Poll::Ready(stream.shutdown(Shutdown::Write)),
            Self::Registered(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Lost => Poll::Ready(Err(lost())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn listening() -> (Accepting, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        (Accepting::new(socket.into()).unwrap(), address)
    }

    async fn pair() -> (Tcp, tokio::net::TcpStream) {
        let (accepting, address) = listening();
        let peer = tokio::net::TcpStream::connect(address).await.unwrap();
        (Tcp::Unregistered(accepting.accept().await.unwrap().0), peer)
    }

    /// Available bytes are read and an answer is written without a registration.
    #[tokio::test]
    async fn a_ready_socket_is_not_registered() {
        let (mut tcp, mut peer) = pair().await;
        peer.write_all(b"hello").await.unwrap();
        let Tcp::Unregistered(stream) = &tcp else { panic!("registered") };
        stream.set_nonblocking(false).unwrap();
        stream.peek(&mut [0]).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut read = [0; 8];
        assert_eq!(tcp.read(&mut read).await.unwrap(), 5);
        tcp.write_all(b"back").await.unwrap();
        assert!(matches!(tcp, Tcp::Unregistered(_)));
        assert_eq!(peer.read(&mut read).await.unwrap(), 4);
    }

    /// Accepting yields to other tasks, however many connections wait.
    #[tokio::test]
    async fn accepting_yields_to_other_tasks() {
        let (accepting, address) = listening();
        let mut peers = vec![TcpStream::connect(address).unwrap()];
        accepting.accept().await.unwrap(); // from now on the runtime knows that the listener is readable
        let (mut turns, mut accepted) = (0, 1);
        while turns == 0 {
            // A listener of std has a backlog of at least 128.
            peers.extend((0..100).map(|_| TcpStream::connect(address).unwrap()));
            tokio::select! {
                biased;
                () = async {
                    while accepted < peers.len() {
                        accepting.accept().await.unwrap();
                        accepted += 1;
                    }
                } => {}
                () = async {} => turns += 1,
            }
            assert!(peers.len() < 1_000, "{accepted} were accepted without a pause");
        }
        assert!(accepted > 1, "{accepted}");
    }

    /// A read without available bytes waits, and is woken by the next bytes.
    #[tokio::test]
    async fn a_socket_that_is_not_ready_is_registered() {
        let (mut tcp, mut peer) = pair().await;
        let mut buffer = [0; 8];
        for _ in 0..2 {
            let (read, written) = tokio::join!(tcp.read(&mut buffer), async {
                tokio::task::yield_now().await;
                peer.write_all(b"late").await
            });
            assert_eq!((read.unwrap(), written.is_ok()), (4, true));
            assert!(matches!(tcp, Tcp::Registered(_)));
        }
        tcp.shutdown().await.unwrap();
        assert_eq!(peer.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(tcp.into_std().unwrap().peer_addr().unwrap(), peer.local_addr().unwrap());
    }
}
