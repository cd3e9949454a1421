//! Accepting: who may connect at all, TLS, and one deadline from accept to the end of the first request's head.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper::{Request, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::first_head::{self, FIELDS_MAX};
use super::guarded::{Ended, Guarded, Phase, Progress, Transport};
use super::problem::{Answer, Problem};
use super::rejections::Rejections;
use super::routes::{Routes, Surface};
use super::spare::Spare;
use super::tcp::{Accepting, Tcp};
use super::tls::TlsInForce;
use super::upgrade::{self, Granted};
use crate::config::{Limits, Live};
use crate::metrics::{LimitKey, RejectReason};
use crate::shard::Expected;

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
    /// What it serves.
    pub surface: Surface,
    /// Who answers.
    pub routes: Arc<Routes>,
    /// TLS, where this listener has it.
    pub tls: Option<Arc<TlsInForce>>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// Where refusals are counted.
    pub rejections: Arc<Rejections>,
    /// Connections before the end of their first head; all listeners share it.
    pub pending: Arc<AtomicUsize>,
}

/// One connection's place among the pending; given back when dropped.
struct Pending(Arc<AtomicUsize>);

impl Pending {
    fn take(count: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let place = Self(Arc::clone(count));
        (count.fetch_add(1, Ordering::AcqRel) < most).then_some(place)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Listens on `address`; port 0 picks one.
pub fn bind(address: SocketAddr) -> io::Result<Accepting> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if let Err(error) = set_options(&socket) {
        tracing::warn!(%error, %address, "connections do without TCP_NODELAY or a bound on what the kernel holds unsent");
    }
    socket.listen(BACKLOG)?;
    Accepting::new(socket.into())
}

impl Listener {
    /// Accepts until it is dropped.
    pub async fn run(self) {
        let listener = Arc::new(self);
        let mut told: Option<Instant> = None;
        let mut spare = Spare::new();
        loop {
            match listener.socket.accept().await {
                Ok((stream, peer)) => listener.welcome(stream, peer),
                Err(error) if is_exhausted(&error) => {
                    listener.rejections.limit_hit(LimitKey::Fds);
                    if told.is_none_or(|at| at.elapsed() >= TOLD_AGAIN) {
                        told = Some(Instant::now());
                        tracing::warn!(%error, "can't accept; raise the limit of open files (ulimit -n) or lower limits.sessions");
                    }
                    let is_plain = listener.tls.as_ref().and_then(|tls| tls.load()).is_none();
                    if !spare.turn_away(&listener.socket, is_plain).await {
                        tokio::time::sleep(BACK_OFF).await;
                    }
                }
                Err(error) => tracing::debug!(%error, "a connection was gone before it was accepted"),
            }
        }
    }

    fn welcome(self: &Arc<Self>, stream: Tcp, peer: SocketAddr) {
        let config = self.live.load();
        let Some(pending) = Pending::take(&self.pending, config.limits.pending) else {
            self.rejections.count(RejectReason::Pending, peer.ip(), "closed at accept");
            return;
        };
        let listener = Arc::clone(self);
        let until = Instant::now() + config.limits.handshake_timeout;
        let progress = Progress::new(until, Box::new(pending));
        tokio::spawn(async move {
            let Some(transport) = listener.secured(stream, peer, until).await else { return };
            let mut guarded = Guarded::new(transport, Arc::clone(&progress), config.limits.write_timeout);
            let Ok(came) = guarded.look_ahead().await else { return listener.account(Ok(()), peer, &progress) };
            match listener.granted(&came, peer, config.limits.header_bytes) {
                Some((granted, len)) => {
                    progress.head_came();
                    let Granted { switching, newcomer } = granted;
                    let expected = listener.routes.upgrades.expect(newcomer).await;
                    let (transport, _) = guarded.into_parts();
                    arrive(expected, transport, switching.written(), came.slice(len..), peer).await;
                }
                // Boxed, as a session on its way would carry hyper's room along.
                None => Box::pin(listener.serve(guarded, peer, &progress, &config.limits)).await,
            }
        });
    }

    /// The stream, under TLS where that is on.
    async fn secured(&self, stream: Tcp, peer: SocketAddr, until: Instant) -> Option<Transport> {
        let Some(config) = self.tls.as_ref().and_then(|tls| tls.load()) else { return Some(Transport::Plain(stream)) };
        // Boxed, as a connection without TLS would carry its room along.
        match Box::pin(tokio::time::timeout_at(until, handshake(config, stream))).await {
            Ok(Ok(transport)) => Some(transport),
            Ok(Err(error)) => {
                self.rejections.count(RejectReason::Tls, peer.ip(), &error.to_string());
                None
            }
            Err(_) => {
                self.rejections.count(RejectReason::Timeout, peer.ip(), "in the TLS handshake");
                None
            }
        }
    }

    /// The session that `came`, a connection's first bytes, asks for in full and may have; and how long their head is.
    fn granted(&self, came: &[u8], peer: SocketAddr, header_bytes: usize) -> Option<(Granted, usize)> {
        let mut room = first_head::room();
        let (head, len) = first_head::read(came, &mut room).filter(|&(_, len)| len <= header_bytes)?;
        Some((self.routes.grant(&head, peer, self.surface)?, len))
    }

    async fn serve(&self, guarded: Guarded, peer: SocketAddr, progress: &Arc<Progress>, limits: &Limits) {
        let answer = |request: Request<Incoming>| async move {
            let (answer, expected) = match progress.is_ambiguous(request.headers().contains_key(header::TRANSFER_ENCODING)) {
                true => (self.ambiguous(peer), None),
                false => self.routes.answer(request, peer, self.surface).await,
            };
            (answer, expected, self.live.load().limits.keep_alive)
        };
        match converse(guarded, limits, progress, answer).await {
            Ok(None) => self.account(Ok(()), peer, progress),
            Err(error) => self.account(Err(error), peer, progress),
            Ok(Some((expected, guarded, already_read))) => {
                let (transport, head) = guarded.into_parts();
                arrive(expected, transport, head, already_read, peer).await;
            }
        }
    }

    /// The answer to a request whose end a proxy may see elsewhere than hyper: nothing that follows on the connection can be
    /// trusted.
    fn ambiguous(&self, peer: SocketAddr) -> Answer {
        let detail = "the request has both Content-Length and Transfer-Encoding, or was sent ahead with a Transfer-Encoding";
        self.rejections.count(RejectReason::BadUpgrade, peer.ip(), detail);
        Problem::bad_request(detail).closing().into()
    }

    /// Counts how a connection ended that no handler could count.
    fn account(&self, served: hyper::Result<()>, peer: SocketAddr, progress: &Progress) {
        let before_first_head = matches!(progress.phase(), Phase::FirstHead { .. });
        // hyper takes a read that fails before any byte came for a peaceful end.
        match progress.ended() {
            Some(Ended::Late) if before_first_head => {
                return self.rejections.count(RejectReason::Timeout, peer.ip(), "before the end of the first head");
            }
            Some(Ended::Late) => return self.rejections.limit_hit(LimitKey::KeepAlive),
            Some(Ended::Stuck) => return self.rejections.limit_hit(LimitKey::WriteTimeout),
            None => {}
        }
        let Err(error) = served else { return };
        if error.is_parse_too_large() {
            self.rejections.count(RejectReason::HeaderBytes, peer.ip(), "the head is too long or has too many headers");
        } else if error.is_parse() && before_first_head {
            self.rejections.count(RejectReason::BadUpgrade, peer.ip(), "the head is not HTTP/1.1");
        } else {
            tracing::trace!(%error, %peer, "connection ended");
        }
    }
}

/// A connection that becomes a session: who expects it, its socket, and what was read behind its request.
type Switched = (Expected, Guarded, Bytes);

/// Speaks HTTP/1.1 until the connection ends or is to become a session. `answer` also says how long the next request may take.
async fn converse<F: Future<Output = (Answer, Option<Expected>, Duration)> + Send>(
    guarded: Guarded,
    limits: &Limits,
    progress: &Arc<Progress>,
    answer: impl Fn(Request<Incoming>) -> F,
) -> hyper::Result<Option<Switched>> {
    let expecting = Mutex::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        progress.head_came();
        let (answering, expecting) = (answer(request), &expecting);
        async move {
            let (answer, expected, keep_alive) = answering.await;
            if expected.is_some() {
                *expecting.lock() = expected;
                progress.switched();
            } else {
                progress.answered(keep_alive);
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(FIELDS_MAX)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(UNSENT_BYTES as usize))
        .serve_connection(TokioIo::new(guarded), service);
    (&mut connection).await?;
    let Parts { io, read_buf, .. } = connection.into_parts();
    let mut guarded = io.into_inner();
    let expected = expecting.lock().take();
    if expected.is_none() {
        // hyper leaves that out where an upgrade was asked for and refused; else it is done already.
        let _ = guarded.shutdown().await;
    }
    Ok(expected.map(|expected| (expected, guarded, read_buf)))
}

/// Sends a session its socket.
async fn arrive(expected: Expected, transport: Transport, head: Vec<u8>, already_read: Bytes, peer: SocketAddr) {
    match upgrade::arrived(transport, head, already_read) {
        Some(arrived) => expected.arrive(arrived).await,
        None => tracing::warn!(%peer, "a new session's socket can't be used"),
    }
}

async fn handshake(config: Arc<ServerConfig>, stream: Tcp) -> io::Result<Transport> {
    Ok(Transport::Tls(Box::new(TlsAcceptor::from(config).accept(stream).await?)))
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

    /// What a peer hears that sends `request`, with a first head due and a next request due in `patience` each.
    async fn heard(request: &str, patience: Duration, limits: Limits) -> (String, bool) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let socket = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let mut peer = tokio::net::TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let (stream, _) = socket.accept().await.unwrap();
        let progress = Progress::new(Instant::now() + patience, Box::new(()));
        let guarded = Guarded::new(Transport::Plain(stream), Arc::clone(&progress), limits.write_timeout);
        peer.write_all(request.as_bytes()).await.unwrap();
        let answer = |_| async move { (super::super::problem::json(b"{}".to_vec()), None, patience) };
        let mut text = String::new();
        let (_, read) = tokio::join!(converse(guarded, &limits, &progress, answer), peer.read_to_string(&mut text));
        read.unwrap();
        (text, progress.ended() == Some(Ended::Late))
    }

    /// PROTOCOL 7: a first head that isn't whole in time gets 408, one that never began is just closed.
    #[tokio::test]
    async fn a_late_head_ends_the_connection() {
        let patience = Duration::from_millis(50);
        let (text, late) = heard("GET / HTTP/1.1\r\nHost: a\r\n", patience, Limits::default()).await;
        assert!(text.starts_with("HTTP/1.1 408 ") && late, "{text}");
        assert_eq!(heard("", patience, Limits::default()).await, (String::new(), true));
    }

    /// PROTOCOL 7: an idle kept-alive connection is closed after `keep_alive`.
    #[tokio::test]
    async fn an_idle_connection_is_closed() {
        let (text, late) = heard("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Duration::from_millis(50), Limits::default()).await;
        assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("{}") && late, "{text}");
    }

    /// An answer that is longer than the socket takes at once arrives whole, though the request's body never came.
    #[tokio::test]
    async fn a_long_answer_is_not_cut_short() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let limits = Limits::default();
        let socket = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let mut peer = tokio::net::TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let progress = Progress::new(Instant::now() + limits.handshake_timeout, Box::new(()));
        let guarded = Guarded::new(Transport::Plain(socket.accept().await.unwrap().0), Arc::clone(&progress), limits.write_timeout);
        peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await.unwrap();
        const BYTES: usize = 16 << 20;
        let answer = |_| async { (super::super::problem::json(vec![b'1'; BYTES]), None, Duration::from_secs(5)) };
        let mut text = Vec::new();
        let (_, read) = tokio::join!(converse(guarded, &limits, &progress, answer), peer.read_to_end(&mut text));
        read.unwrap();
        assert!(text.len() > BYTES, "{} bytes came", text.len());
    }

    /// PROTOCOL 7: `header_bytes` holds to the byte, below hyper's smallest buffer too; 64 headers pass and 65 don't.
    #[tokio::test]
    async fn heads_are_bounded() {
        let limits = Limits { header_bytes: 1_000, ..Limits::default() };
        let patience = Duration::from_secs(5);
        let padded = |len: usize| {
            let rest = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: \r\n\r\n".len();
            format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: {}\r\n\r\n", "x".repeat(len - rest))
        };
        let status = |text: &str| text.get(9..12).unwrap_or_default().to_owned();
        assert_eq!(status(&heard(&padded(1_000), patience, limits.clone()).await.0), "200");
        assert_eq!(status(&heard(&padded(1_001), patience, limits).await.0), "431");
        let many = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{}\r\n", "X: y\r\n".repeat(count - 2));
        assert_eq!(status(&heard(&many(64), patience, Limits::default()).await.0), "200");
        assert_eq!(status(&heard(&many(65), patience, Limits::default()).await.0), "431");
    }

    /// Accepted sockets send at once, and the kernel keeps little of what they have not sent.
    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn accepted_sockets_inherit_the_options() {
        let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let _peer = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let accepted = listener.accept().await.unwrap().0.into_std().unwrap();
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
