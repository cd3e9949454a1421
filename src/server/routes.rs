//! Decides whether a request becomes a session or is answered as plain HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode, Version, header};

use super::api::{Api, Surface};
use super::granted::Granted;
use super::limits::Rejections;
use super::request::{Cors, Fields, Head, client_address, host_name, is_own_host};
use super::response::{Answer, Problem, Refused, empty, with_security_headers};
use super::streaming::{self, EmulatedStreams, EmulatedTransport, StreamKind, Streams, head_alone};
use super::websocket::{self, Upgrades};
use crate::config::{Config, Live};
use crate::metrics::RejectReason;
use crate::shard::{Expected, Shards};

/// The parts that a listener's requests can reach.
pub struct Routes {
    live: Arc<Live>,
    rejections: Arc<Rejections>,
    upgrades: Upgrades,
    streams: Streams,
    emulated: EmulatedStreams,
    shards: Arc<Shards>,
    api: Api,
}

/// The listener that a request came by.
#[derive(Debug, Clone, Copy)]
pub struct ListenerKind {
    /// The paths that the listener serves.
    pub surface: Surface,
    /// Whether it listens on a loopback address, which every page in a browser on this machine can reach.
    pub is_loopback: bool,
}

/// The outcome of a request.
pub enum Outcome {
    Answer(Answer),
    /// The connection becomes a session once hyper has released the socket.
    Session {
        /// The answer that makes hyper release the socket. It is not sent.
        answer: Answer,
        /// The session that expects the socket.
        expected: Expected,
        /// The head that the session writes in place of `answer`.
        head: Vec<u8>,
    },
}

/// The session that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SessionRequest {
    WebSocket,
    /// A stream; for `HEAD`, only the stream's head.
    Stream(StreamKind),
    /// A session of Centrifugo's protocol over HTTP.
    Emulated(EmulatedTransport),
}

impl Routes {
    /// Handshakes go to `upgrades`, streams to `streams` and `emulated`, and everything else to `api`. Sessions live in
    /// `shards`.
    pub fn new(
        live: &Arc<Live>,
        rejections: &Arc<Rejections>,
        upgrades: Upgrades,
        streams: Streams,
        emulated: EmulatedStreams,
        shards: &Arc<Shards>,
        api: Api,
    ) -> Self {
        Self { live: Arc::clone(live), rejections: Arc::clone(rejections), upgrades, streams, emulated, shards: Arc::clone(shards), api }
    }

    /// Answers one request of `peer`, or registers the session that it becomes with a shard.
    pub async fn answer(&self, request: Request<Incoming>, peer: SocketAddr, listener: ListenerKind) -> Outcome {
        let config = self.live.load();
        let (parts, body) = request.into_parts();
        let head = Head::from(&parts);
        let address = client_address(peer, head.fields, &config.server);
        let cors = Cors::of(&head, &config);
        let granted = match session_request(&head, &cors, listener, &config) {
            Err(refused) => {
                if cors.is_foreign_page() {
                    self.rejections.log_origin(cors.origin().unwrap_or_default());
                }
                Err(self.refusal(refused, address))
            }
            Ok(Some(SessionRequest::WebSocket)) => {
                let granted = self.upgrades.grant(&head, address);
                granted.map(|granted| (granted, empty(StatusCode::SWITCHING_PROTOCOLS))).map_err(|refused| self.refusal(refused, address))
            }
            Ok(Some(SessionRequest::Stream(kind))) if *head.method == Method::HEAD => {
                let answer = self.streams.check(kind, &head, address).map(|_| head_alone(kind));
                Err(cors.add_to(answer.unwrap_or_else(|refused| self.stream_refusal(refused, kind, &head, address))))
            }
            Ok(Some(SessionRequest::Stream(kind))) => match self.streams.grant(kind, &head, &cors, address) {
                Ok(granted) => Ok((granted, closing())),
                Err(refused) => Err(cors.add_to(self.stream_refusal(refused, kind, &head, address))),
            },
            Ok(Some(SessionRequest::Emulated(transport))) => {
                let first = match head.method {
                    &Method::GET => EmulatedStreams::first_of_query(head.query),
                    _ => self.emulated.first_of_body(&parts.headers, body).await,
                };
                match first.and_then(|first| self.emulated.grant(transport, &head, first, &cors, address)) {
                    Ok(granted) => Ok((granted, closing())),
                    Err(refused) => Err(cors.add_to(self.count(refused, address).into())),
                }
            }
            Ok(None) => {
                if let Some(preflight) = cors.preflight(&head) {
                    return Outcome::Answer(preflight);
                }
                // Boxed, because this future would enlarge that of a handshake.
                let answer = Box::pin(self.api.respond(&parts, body, address.ip(), listener.surface)).await;
                Err(cors.add_to(answer.unwrap_or_else(Answer::from)))
            }
        };
        match granted {
            Ok((Granted { head, session }, answer)) => Outcome::Session { answer, expected: self.shards.expect(session).await, head },
            Err(answer) => Outcome::Answer(with_security_headers(answer)),
        }
    }

    /// Grants a request for a session. `None` leaves the request to [`Self::answer`], which tries again and counts the refusal; it has no
    /// effect here.
    pub fn grant<'a>(&self, head: &Head<'a, impl Fields<'a>>, peer: SocketAddr, listener: ListenerKind) -> Option<Granted> {
        let config = self.live.load();
        let cors = Cors::of(head, &config);
        let address = client_address(peer, head.fields, &config.server);
        match session_request(head, &cors, listener, &config).ok()?? {
            SessionRequest::WebSocket => self.upgrades.grant(head, address).ok(),
            SessionRequest::Stream(kind) => self.streams.grant(kind, head, &cors, address).ok(),
            SessionRequest::Emulated(transport) if *head.method == Method::GET && !head.fields.has_body() => {
                let first = EmulatedStreams::first_of_query(head.query).ok()?;
                self.emulated.grant(transport, head, first, &cors, address).ok()
            }
            SessionRequest::Emulated(_) => None,
        }
    }

    /// The answer to a refused request for a session. It closes the connection: a proxy that takes the refusal for a
    /// 101 would pass requests through unseen.
    fn refusal(&self, refused: Refused, address: SocketAddr) -> Answer {
        self.count(refused, address).closing().into()
    }

    /// The answer to a refused request for a stream.
    fn stream_refusal<'a>(&self, refused: Refused, kind: StreamKind, head: &Head<'a, impl Fields<'a>>, address: SocketAddr) -> Answer {
        self.streams.count(&refused, address);
        streaming::refusal(refused.0, self.count(refused, address), head, kind)
    }

    /// Counts a refused request for a session, and returns what answers it.
    fn count(&self, refused: Refused, address: SocketAddr) -> Problem {
        let Refused(reason, problem) = refused;
        self.rejections.count(reason, address.ip(), &problem.detail);
        problem
    }
}

/// An answer that makes hyper release the connection. It is not sent.
fn closing() -> Answer {
    let mut answer = empty(StatusCode::OK);
    answer.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    answer
}

/// The session that a request asks for, if any. The error refuses the request by its head.
fn session_request<'a>(
    head: &Head<'a, impl Fields<'a>>,
    cors: &Cors<'_>,
    listener: ListenerKind,
    config: &Config,
) -> Result<Option<SessionRequest>, Refused> {
    if !has_one_host(head) {
        return Err(Refused(RejectReason::BadUpgrade, Problem::bad_request("a request has one Host, which is a host and perhaps a port")));
    }
    if listener.is_loopback && !is_own_host(head, &config.server) {
        let detail = "a listener on a loopback address takes localhost, 127.0.0.1 or [::1] as Host; server.hosts names others";
        let problem = Problem::of_http(StatusCode::MISDIRECTED_REQUEST, "misdirected", detail);
        return Err(Refused(RejectReason::Origin, problem));
    }
    let requested = match *head.method {
        _ if listener.surface == Surface::Admin => None,
        Method::GET if websocket::is_asked(head.fields) => Some(SessionRequest::WebSocket),
        _ => {
            let kind = StreamKind::at(head.path).filter(|_| matches!(*head.method, Method::GET | Method::HEAD)).map(SessionRequest::Stream);
            let transport =
                EmulatedTransport::at(head.path).filter(|transport| config.centrifugo.enabled && transport.is_asked_by(head.method));
            kind.or(transport.map(SessionRequest::Emulated))
        }
    };
    if cors.is_foreign_page() && (requested.is_some() || matches!(*head.method, Method::POST | Method::DELETE)) {
        return Err(Refused(RejectReason::Origin, Problem::forbidden("this Origin is not allowed; server.origins lists those that are")));
    }
    Ok(requested)
}

/// Whether a request names exactly one host (RFC 9112 §3.2). With two hosts, or an ambiguous one, a proxy may have
/// routed by another.
fn has_one_host<'a>(head: &Head<'a, impl Fields<'a>>) -> bool {
    match head.fields.all(header::HOST).count() {
        0 => head.version == Version::HTTP_10,
        1 => head.fields.first(header::HOST).is_some_and(|host| host.is_empty() || host_name(host).is_some()),
        _ => false,
    }
}
