//! A session's socket, plain or TLS, read and written by one owner without waiting.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How much TLS may hold of what it could not write yet, in bytes.
const TLS_BUFFER_BYTES: usize = 64 << 10;

/// A session's socket on its way to a shard.
pub enum Stream {
    /// TCP alone.
    Plain(std::net::TcpStream),
    /// TCP and the TLS spoken on it.
    Tls(std::net::TcpStream, Box<ServerConnection>),
    /// A test's.
    #[cfg(test)]
    Metered(Metered),
}

/// A session's socket in its shard's runtime.
pub enum Socket {
    /// It is on its way; until it is here, nothing is read and nothing can be written.
    Expected,
    /// TCP alone, not registered with the runtime yet. It is written to first: a fresh registration reports "not ready".
    Fresh(std::net::TcpStream),
    /// TCP alone.
    Plain(TcpStream),
    /// TCP under TLS.
    Tls(Box<TlsSocket>),
    /// A test's.
    #[cfg(test)]
    Metered(Metered),
}

/// A socket that takes as many bytes as a test lets it.
#[cfg(test)]
#[derive(Clone, Default)]
pub struct Metered(std::sync::Arc<parking_lot::Mutex<Meter>>);

#[cfg(test)]
#[derive(Default)]
pub struct Meter {
    /// What it takes yet.
    pub room: usize,
    /// What it has taken.
    pub taken: Vec<u8>,
}

#[cfg(test)]
impl Metered {
    /// What a test sees of it.
    pub fn meter(&self) -> parking_lot::MutexGuard<'_, Meter> {
        self.0.lock()
    }

    fn write(&self, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Meter { room, taken } = &mut *self.meter();
        let before = taken.len();
        for part in parts {
            let bytes = part.len().min(*room);
            taken.extend_from_slice(&part[..bytes]);
            *room -= bytes;
        }
        if taken.len() == before { Poll::Pending } else { Poll::Ready(Ok(taken.len() - before)) }
    }
}

/// TLS and what it is spoken on.
pub struct TlsSocket {
    tcp: TcpStream,
    tls: ServerConnection,
}

impl Socket {
    /// `stream` in the runtime of the current thread.
    pub fn new(stream: Stream) -> io::Result<Self> {
        Ok(match stream {
            Stream::Plain(tcp) => Self::Fresh(tcp),
            #[cfg(test)]
            Stream::Metered(socket) => Self::Metered(socket),
            Stream::Tls(tcp, mut tls) => {
                tls.set_buffer_limit(Some(TLS_BUFFER_BYTES));
                Self::Tls(Box::new(TlsSocket { tcp: TcpStream::from_std(tcp)?, tls: *tls }))
            }
        })
    }

    /// Reads what there is; 0 bytes: the peer has ended its side.
    pub fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.register()?;
        match self {
            Self::Expected | Self::Fresh(_) => Poll::Pending,
            Self::Plain(tcp) => {
                let mut read = ReadBuf::new(buffer);
                Pin::new(tcp).poll_read(context, &mut read).map_ok(|()| read.filled().len())
            }
            Self::Tls(socket) => socket.poll_read(context, buffer),
            #[cfg(test)]
            Self::Metered(_) => Poll::Pending,
        }
    }

    /// Writes what the socket takes of `parts`, in order.
    pub fn poll_write(&mut self, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Self::Fresh(tcp) = self {
            let written = if let [part] = parts { tcp.write(part) } else { tcp.write_vectored(parts) };
            self.register()?;
            if !written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return Poll::Ready(written);
            }
        }
        match (self, parts) {
            (Self::Expected | Self::Fresh(_), _) => Poll::Pending,
            (Self::Plain(tcp), [part]) => Pin::new(tcp).poll_write(context, part),
            (Self::Plain(tcp), _) => Pin::new(tcp).poll_write_vectored(context, parts),
            (Self::Tls(socket), _) => socket.poll_write(context, parts),
            #[cfg(test)]
            (Self::Metered(socket), _) => socket.write(parts),
        }
    }

    fn register(&mut self) -> io::Result<()> {
        if matches!(self, Self::Fresh(_))
            && let Self::Fresh(tcp) = std::mem::replace(self, Self::Expected)
        {
            let registered = TcpStream::from_std(tcp);
            *self = Self::Plain(registered.inspect_err(|error| tracing::warn!(%error, "a new session's socket can't be used"))?);
        }
        Ok(())
    }

    /// Writes what TLS still holds.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Expected => Poll::Pending,
            Self::Fresh(_) | Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(socket) => socket.poll_flush(context),
            #[cfg(test)]
            Self::Metered(_) => Poll::Ready(Ok(())),
        }
    }

    /// Ends the writing side once all is written; the reading side stays open.
    pub fn end_writing(&mut self, context: &mut Context<'_>) {
        match self {
            Self::Expected => {}
            Self::Fresh(tcp) => shut_down_writing(tcp),
            Self::Plain(tcp) => shut_down_writing(tcp),
            Self::Tls(socket) => {
                socket.tls.send_close_notify();
                let _ = socket.poll_flush(context); // the peer may be gone already; nothing is owed to it any more
                shut_down_writing(&socket.tcp);
            }
            #[cfg(test)]
            Self::Metered(_) => {}
        }
    }
}

fn shut_down_writing(tcp: &impl AsFd) {
    let _ = socket2::SockRef::from(tcp).shutdown(Shutdown::Write); // fails only where the peer has gone
}

impl TlsSocket {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(0)),
                other => return Poll::Ready(other),
            }
            let mut carrier = Carrier { tcp: &mut self.tcp, context };
            match self.tls.read_tls(&mut carrier) {
                Ok(_) => {
                    self.tls.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.poll_flush(context)?.is_pending() {
            return Poll::Pending;
        }
        let mut taken = 0;
        for part in parts {
            let written = self.tls.writer().write(part)?;
            taken += written;
            if written < part.len() {
                break;
            }
        }
        let _ = self.poll_flush(context)?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            let mut carrier = Carrier { tcp: &mut self.tcp, context };
            match self.tls.write_tls(&mut carrier) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// TCP as rustls wants to see it: an attempt that can't be done now says `WouldBlock`, and the context is woken.
struct Carrier<'a, 'c> {
    tcp: &'a mut TcpStream,
    context: &'a mut Context<'c>,
}

impl Read for Carrier<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = ReadBuf::new(buffer);
        match Pin::new(&mut *self.tcp).poll_read(self.context, &mut read) {
            Poll::Ready(result) => result.map(|()| read.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Carrier<'_, '_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.tcp).poll_write(self.context, buffer) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
