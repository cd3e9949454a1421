//! The socket under hyper, with the deadlines that hyper does not have. The answer of a session is withheld here,
//! because the session writes it.
//!
//! hyper's header time-out begins with the first byte of the first request, so it does not bound a slow TLS handshake.
//! Here one deadline runs from the accept to the end of the first head.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;

use super::progress::{Phase, Progress};
use super::tcp::Tcp;
use crate::shard::{Arrived, Stream};

/// The answer to a head that was not complete in time.
const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// TCP, plain or under TLS.
pub enum Transport {
    Plain(Tcp),
    Tls(Box<TlsStream<Tcp>>),
}

/// Any byte stream.
trait Socket: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Socket for S {}

impl Transport {
    fn socket(&mut self) -> Pin<&mut dyn Socket> {
        match self {
            Self::Plain(stream) => Pin::new(stream),
            Self::Tls(stream) => Pin::new(stream),
        }
    }
}

/// The socket of one connection, until it becomes a session or ends.
pub struct TimedStream {
    transport: Transport,
    /// Bytes that were read from the socket before.
    ahead: Bytes,
    progress: Arc<Progress>,
    read_timer: Option<(Instant, Pin<Box<Sleep>>)>,
    write_timeout: Duration,
    /// Runs while the socket accepts no bytes.
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl TimedStream {
    /// Wraps `transport`, from which `ahead` was read before. The connection ends if the socket accepts no byte for
    /// `write_timeout`.
    pub fn new(transport: Transport, ahead: Bytes, progress: Arc<Progress>, write_timeout: Duration) -> Self {
        Self { transport, ahead, progress, read_timer: None, write_timeout, write_timer: None }
    }

    /// The socket on its way to its shard, with the head of its answer. `already_read` are the bytes behind the
    /// request's head. `None`: the socket is unusable.
    pub fn into_arrived(self, head: Vec<u8>, already_read: Bytes) -> Option<Arrived> {
        let Self { transport, ahead, .. } = self;
        let already_read = if ahead.is_empty() { already_read } else { [already_read, ahead].concat().into() };
        let stream = match transport {
            Transport::Plain(tcp) => Stream::Plain(tcp.into_std().ok()?),
            Transport::Tls(stream) => {
                let (tcp, tls) = stream.into_inner();
                Stream::Tls(tcp.into_std().ok()?, Box::new(tls))
            }
        };
        Some(Arrived { stream, head, already_read })
    }

    /// Whether the session writes the answer in place of hyper.
    fn is_switching(&self) -> bool {
        self.progress.phase() == Phase::Switching
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(until) = self.progress.until(cx.waker()) else {
            self.read_timer = None;
            return Poll::Pending;
        };
        if self.read_timer.as_ref().is_none_or(|(set, _)| *set != until) {
            self.read_timer = Some((until, Box::pin(tokio::time::sleep_until(until))));
        }
        let Some((_, timer)) = &mut self.read_timer else { return Poll::Pending };
        ready!(timer.as_mut().poll(cx));
        if self.progress.end_late() {
            // A fresh socket accepts these bytes at once. If it does not, the peer gets no answer.
            let _ = self.transport.socket().poll_write(cx, LATE);
            let _ = self.transport.socket().poll_flush(cx);
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request in time")))
    }

    fn poll_transport_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = self.transport.socket().poll_read(cx, buffer);
        if read.is_pending() { self.poll_deadline(cx) } else { read }
    }

    /// Passes `written` on. While it is pending, the write timer runs.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer = None;
            return written;
        }
        let write_timeout = self.write_timeout;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(write_timeout)));
        ready!(timer.as_mut().poll(cx));
        self.progress.end_stuck();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.progress.must_give_way(cx.waker()) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "idle for longest, and another came")));
        }
        // hyper reads before it asks for the answer. A connection with a 101 reads no more here, so its socket needs no
        // registration.
        if self.progress.awaits_answer_alone() {
            return self.poll_deadline(cx);
        }
        let before = buffer.filled().len();
        if self.ahead.is_empty() {
            ready!(self.poll_transport_read(cx, buffer))?;
        } else {
            let len = buffer.remaining().min(self.ahead.len());
            let part = self.ahead.split_to(len);
            buffer.put_slice(&part);
        }
        let came = &buffer.filled()[before..];
        if !came.is_empty() {
            self.progress.bytes_received(came);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_switching() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = self.transport.socket().poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.transport.socket().poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.progress.written();
        }
        self.bounded(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_switching() {
            return Poll::Ready(Ok(()));
        }
        let shut = self.transport.socket().poll_shutdown(cx);
        self.bounded(cx, shut)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.is_switching() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let written = self.transport.socket().poll_write_vectored(cx, slices);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
