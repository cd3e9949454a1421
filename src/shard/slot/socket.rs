//! A session's socket, plain or TLS, read and written by one owner without waiting.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::ServerConnection;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The most bytes that TLS may buffer while the socket is full.
const TLS_BUFFER_BYTES: usize = 64 << 10;

/// A session's socket on its way to a shard.
pub enum Stream {
    /// Plain TCP.
    Plain(std::net::TcpStream),
    /// TCP and its TLS session.
    Tls(std::net::TcpStream, Box<ServerConnection>),
    /// A socket of a test.
    #[cfg(test)]
    Metered(Metered),
}

/// A session's socket in its shard's runtime.
pub enum Socket {
    /// The socket is on its way. Until it arrives, nothing is read and nothing can be written.
    Expected,
    /// Plain TCP that is not registered with the runtime yet.
    Fresh(std::net::TcpStream),
    /// Plain TCP.
    Plain(RegisteredSocket),
    /// TCP under TLS.
    Tls(Box<TlsSocket>),
    /// A socket of a test.
    #[cfg(test)]
    Metered(Metered),
}

/// A socket that accepts as many bytes as a test allows, and has received what the test says.
#[cfg(test)]
#[derive(Clone, Default)]
pub struct Metered(std::sync::Arc<parking_lot::Mutex<Meter>>);

#[cfg(test)]
#[derive(Default)]
pub struct Meter {
    /// The number of bytes that it still accepts.
    pub room: usize,
    /// The bytes that it has accepted.
    pub taken: Vec<u8>,
    /// The bytes that it has received and that were not read yet.
    pub received: Vec<u8>,
}

#[cfg(test)]
impl Metered {
    /// The socket's meter.
    pub fn meter(&self) -> parking_lot::MutexGuard<'_, Meter> {
        self.0.lock()
    }

    fn read(&self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let received = &mut self.meter().received;
        let bytes = received.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&received[..bytes]);
        received.drain(..bytes);
        if bytes == 0 { Poll::Pending } else { Poll::Ready(Ok(bytes)) }
    }

    fn write(&self, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Meter { room, taken, .. } = &mut *self.meter();
        let before = taken.len();
        for part in parts {
            let bytes = part.len().min(*room);
            taken.extend_from_slice(&part[..bytes]);
            *room -= bytes;
        }
        if taken.len() == before { Poll::Pending } else { Poll::Ready(Ok(taken.len() - before)) }
    }
}

/// A TCP socket that is registered with the runtime.
pub struct RegisteredSocket {
    tcp: TcpStream,
    /// Whether the runtime knows if the socket is writable. It learns this in its next turn; until then it reports
    /// every socket as not ready, and an idle session would look slow.
    is_known: bool,
}

/// TLS and the TCP socket below it.
pub struct TlsSocket {
    tcp: RegisteredSocket,
    tls: ServerConnection,
}

impl Socket {
    /// Plain TCP that is registered with the runtime of the current thread.
    pub fn registered(tcp: TcpStream) -> Self {
        Self::Plain(RegisteredSocket::new(tcp))
    }

    /// A socket from `stream`. TLS is registered with the runtime of the current thread at once, plain TCP by its first
    /// read or write.
    pub fn new(stream: Stream) -> io::Result<Self> {
        Ok(match stream {
            Stream::Plain(tcp) => Self::Fresh(tcp),
            #[cfg(test)]
            Stream::Metered(socket) => Self::Metered(socket),
            Stream::Tls(tcp, mut tls) => {
                tls.set_buffer_limit(Some(TLS_BUFFER_BYTES));
                Self::Tls(Box::new(TlsSocket { tcp: RegisteredSocket::new(TcpStream::from_std(tcp)?), tls: *tls }))
            }
        })
    }

    /// Reads from the socket. Returns the number of bytes read; 0 means that the peer has ended its side.
    pub fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.register()?;
        match self {
            Self::Expected | Self::Fresh(_) => Poll::Pending,
            Self::Plain(socket) => socket.poll_read(context, buffer),
            Self::Tls(socket) => socket.poll_read(context, buffer),
            #[cfg(test)]
            Self::Metered(socket) => socket.read(buffer),
        }
    }

    /// Writes as much of `parts`, in order, as the socket accepts. Returns the number of bytes written.
    pub fn poll_write(&mut self, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Self::Fresh(tcp) = self {
            let written = if let [part] = parts { tcp.write(part) } else { tcp.write_vectored(parts) };
            self.register()?;
            if !is_full(&written) {
                return Poll::Ready(written);
            }
        }
        match self {
            Self::Expected | Self::Fresh(_) => Poll::Pending,
            Self::Plain(socket) => socket.poll_write(context, parts),
            Self::Tls(socket) => socket.poll_write(context, parts),
            #[cfg(test)]
            Self::Metered(socket) => socket.write(parts),
        }
    }

    fn register(&mut self) -> io::Result<()> {
        if matches!(self, Self::Fresh(_))
            && let Self::Fresh(tcp) = std::mem::replace(self, Self::Expected)
        {
            let registered = TcpStream::from_std(tcp);
            let tcp = registered.inspect_err(|error| tracing::warn!(%error, "a new session's socket can't be used"))?;
            *self = Self::Plain(RegisteredSocket::new(tcp));
        }
        Ok(())
    }

    /// Writes the bytes that TLS has buffered.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Expected => Poll::Pending,
            Self::Fresh(_) | Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(socket) => socket.poll_flush(context),
            #[cfg(test)]
            Self::Metered(_) => Poll::Ready(Ok(())),
        }
    }

    /// Ends the writing side. The caller has written everything; the reading side stays open.
    pub fn end_writing(&mut self, context: &mut Context<'_>) {
        match self {
            Self::Expected => {}
            Self::Fresh(tcp) => shut_down_writing(tcp),
            Self::Plain(socket) => shut_down_writing(&socket.tcp),
            Self::Tls(socket) => {
                socket.tls.send_close_notify();
                let _ = socket.poll_flush(context); // the peer may have gone; nothing is owed to it any more
                shut_down_writing(&socket.tcp.tcp);
            }
            #[cfg(test)]
            Self::Metered(_) => {}
        }
    }
}

fn shut_down_writing(tcp: &impl AsFd) {
    let _ = SockRef::from(tcp).shutdown(Shutdown::Write); // fails only if the peer has gone
}

impl RegisteredSocket {
    fn new(tcp: TcpStream) -> Self {
        Self { tcp, is_known: false }
    }

    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(buffer);
        Pin::new(&mut self.tcp).poll_read(context, &mut read).map_ok(|()| read.filled().len())
    }

    fn poll_write(&mut self, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let tcp = Pin::new(&mut self.tcp);
        let polled = if let [part] = parts { tcp.poll_write(context, part) } else { tcp.poll_write_vectored(context, parts) };
        if std::mem::replace(&mut self.is_known, true) || polled.is_ready() {
            return polled;
        }
        let mut socket = &*SockRef::from(&self.tcp);
        let written = if let [part] = parts { socket.write(part) } else { socket.write_vectored(parts) };
        if is_full(&written) {
            return Poll::Pending; // the runtime wakes the session when there is room: it was polled above
        }
        self.is_known = false;
        Poll::Ready(written)
    }
}

/// Whether a socket accepted nothing because it has no room.
fn is_full(written: &io::Result<usize>) -> bool {
    written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

impl TlsSocket {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(0)),
                other => return Poll::Ready(other),
            }
            let mut blocking = BlockingTcp { tcp: &mut self.tcp, context };
            match self.tls.read_tls(&mut blocking) {
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
            let mut blocking = BlockingTcp { tcp: &mut self.tcp, context };
            match self.tls.write_tls(&mut blocking) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The blocking interface to TCP that rustls needs. An operation that can't complete now returns `WouldBlock`, and the
/// context is woken later.
struct BlockingTcp<'a, 'c> {
    tcp: &'a mut RegisteredSocket,
    context: &'a mut Context<'c>,
}

impl Read for BlockingTcp<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.tcp.poll_read(self.context, buffer) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for BlockingTcp<'_, '_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self.tcp.poll_write(self.context, &[IoSlice::new(buffer)]) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A socket in this thread's runtime, and its far end.
    fn connected() -> (Socket, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, _) = listener.accept().unwrap();
        near.set_nonblocking(true).unwrap();
        (Socket::registered(TcpStream::from_std(near).unwrap()), far)
    }

    /// Between its registration and the runtime's next turn, a socket accepts as many bytes as it has room for.
    #[tokio::test]
    async fn a_socket_that_was_just_registered_is_not_slow() {
        let (mut socket, mut far) = connected();
        let mut context = Context::from_waker(Waker::noop());
        for part in [&b"one "[..], b"two "] {
            assert!(matches!(socket.poll_write(&mut context, &[IoSlice::new(part)]), Poll::Ready(Ok(4))));
        }
        assert!(matches!(socket.poll_write(&mut context, &[IoSlice::new(b"thr"), IoSlice::new(b"ee")]), Poll::Ready(Ok(5))));
        let mut read = [0; 13];
        far.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"one two three");
    }

    /// A socket that is full from the start is written to again once the runtime reports room.
    #[tokio::test]
    async fn a_socket_that_was_just_registered_may_be_full() {
        let (mut socket, mut far) = connected();
        let bytes = vec![b'x'; 1 << 20];
        let mut written = 0;
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(taken) = socket.poll_write(&mut context, &[IoSlice::new(&bytes)]) {
            written += taken.unwrap();
        }
        let reader = std::thread::spawn(move || far.read_exact(&mut vec![0; written]).map(|()| far));
        let more = std::future::poll_fn(|context| socket.poll_write(context, &[IoSlice::new(b"more")])).await;
        assert_eq!(more.unwrap(), 4);
        reader.join().unwrap().unwrap();
    }
}
