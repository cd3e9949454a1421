//! The socket under hyper, with the deadlines that hyper doesn't keep by itself, and a hold on the 101.
//!
//! hyper's own header timeout begins with the first request's first byte and knows nothing of TLS, so it lets a slow
//! handshake live; here one deadline runs from accept to the end of the first head.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;

use super::tcp::Tcp;

mod framing;

use framing::Framing;

/// What a peer hears whose head did not come in time.
const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// TCP alone, or TLS on it.
pub enum Transport {
    /// TCP alone.
    Plain(Tcp),
    /// TLS.
    Tls(Box<TlsStream<Tcp>>),
}

/// Where a connection is in its life; a deadline holds for reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the end of the first request's head.
    FirstHead {
        /// Until when it has to be there.
        until: Instant,
    },
    /// A request is being answered; its body has a deadline of its own.
    Serving,
    /// Answered with 101. What is written is held back, to leave together with the session's first words.
    Switching,
    /// Answered, and kept alive for the next request.
    Idle {
        /// Until when its head has to be there.
        until: Instant,
    },
}

/// The deadline that ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nothing, or not enough, came in time.
    Late,
    /// The peer took nothing of its answer for `write_timeout`.
    Stuck,
}

impl Phase {
    fn until(self) -> Option<Instant> {
        match self {
            Self::FirstHead { until } | Self::Idle { until } => Some(until),
            Self::Serving | Self::Switching => None,
        }
    }
}

/// The phase, shared by the socket and the service above it. Both run in one task, so the lock is never waited for.
#[derive(Debug)]
pub struct Progress(Mutex<State>);

struct State {
    phase: Phase,
    bytes_came: bool,
    ended: Option<Ended>,
    framing: Framing,
    /// Whoever waits for bytes while a request is answered; hyper doesn't ask again by itself when the answer is written, so the
    /// deadline of the next request would never be set.
    reader: Option<Waker>,
    /// Held until the first head is whole.
    pending: Option<Box<dyn Send>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("phase", &self.phase).field("bytes_came", &self.bytes_came).finish_non_exhaustive()
    }
}

impl Progress {
    /// A connection whose first head has to be there `until` then; `pending` is dropped when it is.
    pub fn new(until: Instant, pending: Box<dyn Send>) -> Arc<Self> {
        let phase = Phase::FirstHead { until };
        let state = State { phase, bytes_came: false, ended: None, framing: Framing::default(), reader: None, pending: Some(pending) };
        Arc::new(Self(Mutex::new(state)))
    }

    /// A head came whole.
    pub fn head_came(&self) {
        let mut state = self.0.lock();
        state.phase = Phase::Serving;
        state.pending = None;
    }

    /// The request was answered; the next may take `keep_alive` to come.
    pub fn answered(&self, keep_alive: Duration) {
        let mut state = self.0.lock();
        state.phase = Phase::Idle { until: Instant::now() + keep_alive };
        state.bytes_came = false;
        state.framing.next();
        state.reader.take().into_iter().for_each(Waker::wake);
    }

    /// The request was answered with 101, which is held back.
    pub fn switched(&self) {
        self.0.lock().phase = Phase::Switching;
    }

    /// The deadline that holds now, if one does; else `reader` is woken when the request is answered.
    fn until(&self, reader: &Waker) -> Option<Instant> {
        let mut state = self.0.lock();
        let until = state.phase.until();
        state.reader = until.is_none().then(|| reader.clone());
        until
    }

    /// Whether the end of the request that came can be read in two ways; `has_coding`: it has a `Transfer-Encoding`.
    pub fn is_ambiguous(&self, has_coding: bool) -> bool {
        self.0.lock().framing.is_ambiguous(has_coding)
    }

    /// Whether a request is being answered that came whole with its head, so that nothing more need come before its answer.
    fn awaits_answer_alone(&self) -> bool {
        let state = self.0.lock();
        state.phase == Phase::Serving && state.framing.is_head_alone()
    }

    /// Where the connection is.
    pub fn phase(&self) -> Phase {
        self.0.lock().phase
    }

    /// Which deadline ended it, if one did.
    pub fn ended(&self) -> Option<Ended> {
        self.0.lock().ended
    }

    fn bytes_came(&self, bytes: &[u8]) {
        let mut state = self.0.lock();
        state.bytes_came = true;
        state.framing.came(bytes);
    }

    /// Ends it; says whether a head had begun.
    fn end_late(&self) -> bool {
        let mut state = self.0.lock();
        state.ended = Some(Ended::Late);
        state.bytes_came
    }

    fn end_stuck(&self) {
        self.0.lock().ended = Some(Ended::Stuck);
    }
}

/// The socket of one connection until it becomes a session or ends.
pub struct Guarded {
    transport: Transport,
    /// What was read of it before.
    ahead: Bytes,
    /// The 101.
    held: Vec<u8>,
    progress: Arc<Progress>,
    read_timer: Option<(Instant, Pin<Box<Sleep>>)>,
    write_timeout: Duration,
    /// Runs while the peer takes nothing.
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl Guarded {
    /// Guards `transport`, of which `ahead` was read before; a peer that takes nothing for `write_timeout` is given up.
    pub fn new(transport: Transport, ahead: Bytes, progress: Arc<Progress>, write_timeout: Duration) -> Self {
        Self { transport, ahead, held: Vec::new(), progress, read_timer: None, write_timeout, write_timer: None }
    }

    /// The socket itself, the 101 that it has not sent, and what was read of it before and not asked for.
    pub fn into_parts(self) -> (Transport, Vec<u8>, Bytes) {
        (self.transport, self.held, self.ahead)
    }

    /// Whether `bytes` are of a 101 and were held back.
    fn holds(&mut self, bytes: &[u8]) -> bool {
        let holds = self.progress.phase() == Phase::Switching;
        if holds {
            self.held.extend_from_slice(bytes);
        }
        holds
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
            // A fresh socket takes these bytes at once; if it doesn't, the peer goes without them.
            let _ = self.poll_transport_write(cx, LATE);
            let _ = self.poll_transport_flush(cx);
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request in time")))
    }

    fn poll_transport_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        if read.is_pending() { self.poll_deadline(cx) } else { read }
    }

    fn poll_transport_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_transport_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    /// Lets `written` through; while it waits, the write timer runs.
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

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // hyper looks for more before it asks for the answer. With a 101 no more is read here, and the runtime need not know the socket.
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
            self.progress.bytes_came(came);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.holds(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = self.poll_transport_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.poll_transport_flush(cx);
        self.bounded(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        self.bounded(cx, shut)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(first) = slices.iter().find(|slice| !slice.is_empty())
            && self.holds(first)
        {
            return Poll::Ready(Ok(first.len()));
        }
        let written = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        };
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
