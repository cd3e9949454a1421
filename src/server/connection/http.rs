//! Serves HTTP/1.1 on one connection, until it ends or becomes a session.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;

use super::progress::{Ended, Phase, Progress};
use super::timed_stream::TimedStream;
use crate::client_address::counting_unit;
use crate::config::{Limits, Live};
use crate::metrics::{LimitKey, RejectReason};
use crate::server::granted::Granted;
use crate::server::limits::{Accounts, HttpConnections, Rejections, no_place};
use crate::server::request::{FIELDS_MAX, Fields, Head, is_trusted_proxy};
use crate::server::response::Problem;
use crate::server::routes::{ListenerKind, Outcome, Routes};
use crate::server::streaming::{EmulatedTransport, StreamKind};
use crate::server::websocket::is_asked;
use crate::shard::Expected;

/// The smallest read buffer of hyper for one connection, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// The HTTP of one listener.
pub struct Http {
    routes: Arc<Routes>,
    listener: ListenerKind,
    live: Arc<Live>,
    rejections: Arc<Rejections>,
    connections: Arc<HttpConnections>,
}

impl Http {
    /// `routes` answer the requests that come by `listener`.
    pub fn new(routes: &Arc<Routes>, listener: ListenerKind, live: &Arc<Live>, accounts: &Accounts) -> Self {
        let Accounts { rejections, connections, .. } = accounts;
        let (rejections, connections) = (Arc::clone(rejections), Arc::clone(connections));
        Self { routes: Arc::clone(routes), listener, live: Arc::clone(live), rejections, connections }
    }

    /// Grants the handshake or stream that `head` asks for. `None` leaves the request to [`Http::serve`], and has no
    /// effect.
    pub fn grant<'a>(&self, head: &Head<'a, impl Fields<'a>>, peer: SocketAddr) -> Option<Granted> {
        self.routes.grant(head, peer, self.listener)
    }

    /// Serves `peer` until the connection ends or becomes a session.
    pub async fn serve(&self, stream: TimedStream, peer: SocketAddr, progress: &Arc<Progress>, limits: &Limits) {
        let answer = |request: Request<Incoming>| async move {
            let codings = request.headers().get_all(header::TRANSFER_ENCODING);
            let outcome = if progress.is_ambiguous(codings.iter().next().is_some()) {
                // A proxy may see the end of the request elsewhere than hyper, so its next bytes can't be trusted.
                let detail = "the request has both Content-Length and Transfer-Encoding, or was sent ahead with a Transfer-Encoding";
                self.refuse(Problem::bad_request(detail), peer)
            } else if codings.iter().any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")) {
                // A body with another transfer coding (RFC 9112 §6.1) would be published undecoded.
                let detail = "the only Transfer-Encoding that is understood is chunked";
                self.refuse(Problem::of_http(StatusCode::NOT_IMPLEMENTED, "not_implemented", detail), peer)
            } else if let Err(no_room) = self.enter(&request, peer, progress) {
                Outcome::Answer(no_room.into())
            } else {
                self.routes.answer(request, peer, self.listener).await
            };
            (outcome, self.live.load().limits.keep_alive)
        };
        match converse(stream, limits, progress, answer).await {
            Ok(None) => self.account(Ok(()), peer, progress),
            Err(error) => self.account(Err(error), peer, progress),
            Ok(Some(Switched { expected, head, stream, already_read })) => match stream.into_arrived(head, already_read) {
                Some(arrived) => expected.arrive(arrived).await,
                None => tracing::warn!(%peer, "a new session's socket can't be used"),
            },
        }
    }

    fn refuse(&self, problem: Problem, peer: SocketAddr) -> Outcome {
        self.rejections.count(RejectReason::BadUpgrade, peer.ip(), &problem.detail);
        Outcome::Answer(problem.closing().into())
    }

    /// Takes a place of `limits.http_connections`, unless the connection has one, or `request` asks for a session.
    fn enter(&self, request: &Request<Incoming>, peer: SocketAddr, progress: &Progress) -> Result<(), Problem> {
        let path = request.uri().path();
        // A POST for a transport has a body to read first, so it takes a place.
        let is_stream = StreamKind::at(path).is_some() || EmulatedTransport::at(path).is_some() && *request.method() == Method::GET;
        if is_asked(request.headers()) || is_stream || progress.has_place() {
            return Ok(());
        }
        let is_proxy = is_trusted_proxy(peer.ip(), &self.live.load().server);
        progress.hold(self.connections.enter((!is_proxy).then(|| counting_unit(peer.ip()))).map_err(no_place)?);
        Ok(())
    }

    /// Counts the end of a connection, if no handler has counted it.
    fn account(&self, served: hyper::Result<()>, peer: SocketAddr, progress: &Progress) {
        let before_first_head = matches!(progress.phase(), Phase::FirstHead { .. });
        // hyper treats a read that fails before the first byte as a regular end.
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

/// A connection that is to become a session.
struct Switched {
    /// The session that expects the socket.
    expected: Expected,
    /// The head of the answer, written by the session.
    head: Vec<u8>,
    stream: TimedStream,
    /// The bytes that were read behind the request.
    already_read: Bytes,
}

/// Serves HTTP/1.1 until the connection ends or is to become a session. `answer` also returns the keep-alive time.
async fn converse<F: Future<Output = (Outcome, Duration)> + Send>(
    stream: TimedStream,
    limits: &Limits,
    progress: &Arc<Progress>,
    answer: impl Fn(Request<Incoming>) -> F,
) -> hyper::Result<Option<Switched>> {
    let expecting = Mutex::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        progress.head_received();
        let (answering, expecting) = (answer(request), &expecting);
        async move {
            let answer = match answering.await {
                (Outcome::Session { answer, expected, head }, _) => {
                    *expecting.lock() = Some((expected, head));
                    progress.switched();
                    answer
                }
                (Outcome::Answer(answer), keep_alive) => {
                    progress.answered(keep_alive);
                    answer
                }
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(FIELDS_MAX)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(BUFFER_BYTES))
        .serve_connection(TokioIo::new(stream), service);
    (&mut connection).await?;
    let Parts { io, read_buf, .. } = connection.into_parts();
    let mut stream = io.into_inner();
    let expected = expecting.lock().take();
    if expected.is_none() {
        // hyper does not shut the socket down after a refused upgrade. In all other cases it has.
        let _ = stream.shutdown().await;
    }
    Ok(expected.map(|(expected, head)| Switched { expected, head, stream, already_read: read_buf }))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    use super::super::tcp::Tcp;
    use super::super::timed_stream::Transport;
    use super::*;

    /// A connection whose first head is due within `timeout`, and its peer.
    async fn connected(timeout: Duration, limits: &Limits) -> (TimedStream, Arc<Progress>, TcpStream) {
        let socket = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let peer = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let transport = Transport::Plain(Tcp::Unregistered(socket.accept().await.unwrap().0.into_std().unwrap()));
        let progress = Progress::new(Instant::now() + timeout, Box::new(()));
        (TimedStream::new(transport, Bytes::new(), Arc::clone(&progress), limits.write_timeout), progress, peer)
    }

    /// An answer with `bytes` bytes, after which the next request is due within `keep_alive`.
    fn answer_of(bytes: usize, keep_alive: Duration) -> (Outcome, Duration) {
        (Outcome::Answer(crate::server::response::json(vec![b'1'; bytes])), keep_alive)
    }

    /// Sends `request` and returns the whole response, whose body has `bytes` bytes. The first head and the next
    /// request are each due within `timeout`.
    async fn respond_to(request: &str, bytes: usize, timeout: Duration, limits: Limits) -> (String, bool) {
        let (stream, progress, mut peer) = connected(timeout, &limits).await;
        peer.write_all(request.as_bytes()).await.unwrap();
        let answer = |_| async move { answer_of(bytes, timeout) };
        let mut text = String::new();
        let (_, read) = tokio::join!(converse(stream, &limits, &progress, answer), peer.read_to_string(&mut text));
        read.unwrap();
        (text, progress.ended() == Some(Ended::Late))
    }

    /// PROTOCOL 7: a first head that is incomplete in time gets 408. Without any byte the connection is only closed.
    #[tokio::test]
    async fn a_late_head_ends_the_connection() {
        let timeout = Duration::from_millis(50);
        let (text, late) = respond_to("GET / HTTP/1.1\r\nHost: a\r\n", 2, timeout, Limits::default()).await;
        assert!(text.starts_with("HTTP/1.1 408 ") && late, "{text}");
        assert_eq!(respond_to("", 2, timeout, Limits::default()).await, (String::new(), true));
    }

    /// PROTOCOL 7: an idle kept-alive connection is closed after `keep_alive`.
    #[tokio::test]
    async fn an_idle_connection_is_closed() {
        let (text, late) = respond_to("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 2, Duration::from_millis(50), Limits::default()).await;
        assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n\r\n11") && late, "{text}");
    }

    /// An answer that is longer than the socket's buffer arrives whole, although the request's body is never sent.
    #[tokio::test]
    async fn a_long_response_is_whole_without_the_request_body() {
        let request = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
        let (text, _) = respond_to(request, 16 << 20, Duration::from_secs(5), Limits::default()).await;
        assert!(text.len() > 16 << 20, "{} bytes", text.len());
    }

    /// PROTOCOL 7: `keep_alive` begins once the answer is written, so a slow reader is not cut.
    #[tokio::test]
    async fn keep_alive_starts_after_the_response() {
        const BYTES: usize = 16 << 20;
        let (keep_alive, limits) = (Duration::from_millis(20), Limits::default());
        let (stream, progress, mut peer) = connected(limits.handshake_timeout, &limits).await;
        peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let answer = |_| async move { answer_of(BYTES, keep_alive) };
        let reading = async {
            let mut piece = vec![0; 4 << 20];
            let mut received = peer.read(&mut piece).await.unwrap();
            // The kernel buffers a few megabytes of the answer. The peer lets keep_alive pass before it reads on.
            tokio::time::sleep(5 * keep_alive).await;
            while let Ok(read @ 1..) = peer.read(&mut piece).await {
                received += read;
            }
            received
        };
        let (_, received) = tokio::join!(converse(stream, &limits, &progress, answer), reading);
        assert!(received > BYTES, "{received} bytes");
        assert_eq!(progress.ended(), Some(Ended::Late), "then keep_alive ended the connection");
    }

    /// PROTOCOL 7: `header_bytes` is exact, below hyper's smallest buffer too. 64 headers pass, and 65 do not.
    #[tokio::test]
    async fn heads_are_bounded() {
        let limits = Limits { header_bytes: 1_000, ..Limits::default() };
        let padded = |len: usize| {
            let rest = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: \r\n\r\n".len();
            format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: {}\r\n\r\n", "x".repeat(len - rest))
        };
        let status = async |request: String, limits: &Limits| {
            respond_to(&request, 2, Duration::from_secs(5), limits.clone()).await.0.get(9..12).unwrap_or_default().to_owned()
        };
        assert_eq!((status(padded(1_000), &limits).await, status(padded(1_001), &limits).await), ("200".into(), "431".into()));
        let many = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{}\r\n", "X: y\r\n".repeat(count - 2));
        let limits = Limits::default();
        assert_eq!((status(many(64), &limits).await, status(many(65), &limits).await), ("200".into(), "431".into()));
    }
}
