//! HTTP to WebSocket: the checks before the 101, and the socket on its way to a shard with it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Request, Response};

use super::admission::Admission;
use super::credentials;
use super::guarded::{Guarded, Transport};
use super::handshake::{self, NATIVE_SUBPROTOCOL};
use super::problem::{Answer, Problem};
use super::query::{Query, QueryError, decoded};
use super::rejections::Rejections;
use crate::auth::{AuthError, Identity};
use crate::codes::ErrorCode;
use crate::config::Config;
use crate::dialect::Variant;
use crate::frame::{self, Agreement};
use crate::metrics::RejectReason;
use crate::session::{self, Opening, Purpose, Surroundings};
use crate::session_id::SessionId;
use crate::shard::{Arrived, Expected, Newcomer, Shards, Stream};
use crate::topic_name::{Pattern, TopicName};

/// What upgrading takes.
pub struct Upgrades {
    /// What every session is given.
    pub surroundings: Arc<Surroundings>,
    /// Where sessions live.
    pub shards: Arc<Shards>,
    /// Who may come in.
    pub admission: Arc<Admission>,
    /// Where refusals are counted.
    pub rejections: Arc<Rejections>,
}

/// What a path's WebSocket is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/ws` and `/`.
    Native,
    /// `/raw/{topic}`, its topic as it stands in the path.
    RawPath(&'a str),
    /// One of `[endpoints]`.
    Endpoint(TopicName),
    /// `/echo`.
    Echo,
}

/// What `path` is, as a WebSocket; `[endpoints]` goes before all others.
pub fn target<'a>(path: &'a str, endpoints: &BTreeMap<String, TopicName>) -> Option<Target<'a>> {
    if let Some(topic) = endpoints.get(path) {
        return Some(Target::Endpoint(topic.clone()));
    }
    match path {
        "/ws" | "/" => Some(Target::Native),
        "/echo" => Some(Target::Echo),
        _ => path.strip_prefix("/raw/").filter(|topic| !topic.is_empty() && !topic.contains('/')).map(Target::RawPath),
    }
}

/// A refusal on the way to the 101, and the label that it is counted under.
struct Refused(RejectReason, Problem);

impl From<QueryError> for Refused {
    fn from(error: QueryError) -> Self {
        Self(RejectReason::BadUpgrade, Problem::bad_request(error.to_string()))
    }
}

impl Upgrades {
    /// Answers the handshake with 101 and with the session that expects the socket, or says why not. A session that
    /// subscribes at once is seated before the answer goes out: what is published once the client has it reaches the session.
    pub async fn answer(&self, request: Request<Incoming>, target: &Target<'_>, address: SocketAddr) -> (Answer, Option<Expected>) {
        match self.begin(request, target, address).await {
            Ok((answer, expected)) => (answer, Some(expected)),
            Err(Refused(reason, problem)) => {
                self.rejections.count(reason, address.ip(), problem.detail());
                // A proxy that took the refusal for a 101 would pass on as frames what a client hides behind its handshake.
                (problem.closing().into(), None)
            }
        }
    }

    async fn begin(&self, mut request: Request<Incoming>, target: &Target<'_>, address: SocketAddr) -> Result<(Answer, Expected), Refused> {
        let config = self.surroundings.live.load();
        let (opening, head) = self.opening(&request, target, &config)?;
        let pass = self.admission.admit(address.ip()).map_err(|refusal| Refused(refusal.reason(), self.admission.problem(refusal)))?;
        let (switching, _) = fastwebsockets::upgrade::upgrade(&mut request)
            .map_err(|error| Refused(RejectReason::BadUpgrade, Problem::bad_request(error.to_string()).closing()))?;
        let mut answer = switching.map(|_| Full::new(Bytes::new()));
        answer.headers_mut().extend(head);
        let window_bits = opening.agreement.as_ref().map(|agreed| agreed.server_window_bits);
        let (id, variant) = (opening.id, Variant { dialect: opening.purpose.dialect(), window_bits });
        let subscribes_at_once = opening.purpose.subscribes_at_once();
        let reader = session::open(opening, &self.surroundings);
        let expected = self.shards.expect(Newcomer { id, address, variant, reader, pass: Box::new(pass), subscribes_at_once }).await;
        Ok((answer, expected))
    }

    /// Checks everything that a request says, and answers with what the session begins with and the 101's own headers.
    fn opening(&self, request: &Request<Incoming>, target: &Target<'_>, config: &Config) -> Result<(Opening, HeaderMap), Refused> {
        let headers = request.headers();
        handshake::check(request.version(), headers).map_err(|bad| Refused(RejectReason::BadUpgrade, bad.into()))?;
        let query = Query::new(request.uri().query());
        let purpose = purpose(target, &query)?;
        let credential = credentials::credential(headers, &query)?;
        let identity = match &credential {
            None => Ok(self.surroundings.auth.anonymous()),
            Some(text) => self.surroundings.auth.identify(text).map(Some),
        };
        may_open(&purpose, &identity, credential.as_ref())?;
        let mut head = HeaderMap::new();
        if matches!(purpose, Purpose::Native { .. }) && handshake::offers_native(headers) {
            head.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(NATIVE_SUBPROTOCOL));
        }
        let agreement = agreement(headers, config);
        if let Some(value) = agreement.as_ref().and_then(|agreed| HeaderValue::from_str(&agreed.response).ok()) {
            head.insert(header::SEC_WEBSOCKET_EXTENSIONS, value);
        }
        Ok((Opening { id: SessionId::random(), purpose, identity, agreement }, head))
    }
}

fn agreement(headers: &HeaderMap, config: &Config) -> Option<Agreement> {
    let offers = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter().map(HeaderValue::as_bytes);
    config.deflate.enabled.then(|| frame::negotiate(offers)).flatten()
}

fn purpose(target: &Target<'_>, query: &Query<'_>) -> Result<Purpose, Refused> {
    let raw = |topic| Ok(Purpose::Raw { topic, last: query.number("last")?, echo: query.flag("echo")? });
    match target {
        Target::Native => Ok(Purpose::Native { topics: query.topics("topics")?, last: query.number("last")? }),
        Target::Endpoint(topic) => raw(topic.clone()),
        Target::Echo => Ok(Purpose::Echo),
        Target::RawPath(path) => {
            let bad = |reason| Refused(RejectReason::BadUpgrade, Problem::new(hyper::StatusCode::BAD_REQUEST, ErrorCode::BadTopic, reason));
            let text = decoded(path, "the topic").map_err(|error| bad(error.to_string()))?;
            let topic = TopicName::parse(&text).map_err(|error| bad(error.to_string()))?;
            raw(topic)
        }
    }
}

/// A plain WebSocket can't be told what it may not, so its right is checked before the 101. A bad credential is not
/// refused here: a browser would not see the 401, but it sees the Close frame that the session sends.
fn may_open(
    purpose: &Purpose,
    identity: &Result<Option<Arc<Identity>>, AuthError>,
    credential: Option<&Cow<'_, str>>,
) -> Result<(), Refused> {
    let (Purpose::Raw { topic, .. }, Ok(identity)) = (purpose, identity) else { return Ok(()) };
    let pattern = Pattern::from(topic.clone());
    if identity.as_ref().is_some_and(|identity| identity.grants.may_subscribe(&pattern)) {
        return Ok(());
    }
    let problem = match credential {
        None => Problem::unauthorized(ErrorCode::NotAllowed, format!("subscribing to {topic} is not allowed without credentials")),
        Some(_) => Problem::forbidden(format!("subscribing to {topic} is not allowed for these credentials")),
    };
    Err(Refused(RejectReason::Unauthorized, problem))
}

/// The socket on its way to its shard, with the 101 that was held back; `None`: it can't be used.
pub fn arrived(guarded: Guarded, already_read: Bytes) -> Option<Arrived> {
    let (transport, head) = guarded.into_parts();
    let stream = match transport {
        Transport::Plain(tcp) => Stream::Plain(tcp.into_std().ok()?),
        Transport::Tls(stream) => {
            let (tcp, tls) = stream.into_inner();
            Stream::Tls(tcp.into_std().ok()?, Box::new(tls))
        }
    };
    Some(Arrived { stream, head, already_read })
}

/// The answer to a plain request for a path that speaks WebSocket alone: 426.
pub fn required() -> Answer {
    Response::from(Problem::from(handshake::BadUpgrade::NotAsked))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 4: `/raw/{topic}`, `[endpoints]`, `/echo`; section 3: `/ws`, and `/` unless `[endpoints]` says otherwise.
    #[test]
    fn paths_and_their_purposes() {
        let topic = TopicName::parse("chat.lobby").unwrap();
        let none = BTreeMap::new();
        let mapped = BTreeMap::from([("/".to_owned(), topic.clone())]);
        assert_eq!(target("/ws", &none), Some(Target::Native));
        assert_eq!(target("/", &none), Some(Target::Native));
        assert_eq!(target("/", &mapped), Some(Target::Endpoint(topic)));
        assert_eq!(target("/raw/chat.lobby", &none), Some(Target::RawPath("chat.lobby")));
        assert_eq!(target("/echo", &none), Some(Target::Echo));
        for path in ["/raw", "/raw/", "/raw/a/b", "/wss", "/echo/", "/healthz"] {
            assert_eq!(target(path, &none), None, "{path}");
        }
    }

    /// PROTOCOL 2 and 4: the topic is percent-decoded, then checked.
    #[test]
    fn a_raw_topic_is_checked_once_decoded() {
        let query = Query::new(Some("last=3&echo=true"));
        let Ok(Purpose::Raw { topic, last, echo }) = purpose(&Target::RawPath("%E8%81%8A.a"), &query) else { panic!("not raw") };
        assert_eq!((topic.as_str(), last, echo), ("聊.a", Some(3), true));
        for path in ["a%2Fb", "a%00", "a.%3E", "%ff", "a%20b", "..", "*"] {
            assert!(purpose(&Target::RawPath(path), &query).is_err(), "{path}");
        }
        assert!(purpose(&Target::Native, &Query::new(Some("last=x"))).is_err());
    }
}
