//! HTTP to WebSocket: the checks before the 101, and the socket on its way to a shard with it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header;

use super::admission::Admission;
use super::credentials;
use super::guarded::{Guarded, Transport};
use super::handshake::{self, Switching};
use super::head::{Fields, Head};
use super::problem::{Answer, Problem};
use super::query::{Query, QueryError, decoded};
use crate::auth::{AuthError, Identity};
use crate::codes::ErrorCode;
use crate::config::Config;
use crate::dialect::Encoding;
use crate::frame;
use crate::metrics::RejectReason;
use crate::session::{self, Opening, Purpose, Surroundings};
use crate::session_id::SessionId;
use crate::shard::{Arrived, Newcomer, Shards, Stream};
use crate::topic_name::{Pattern, TopicName};

/// What upgrading takes.
pub struct Upgrades {
    /// What every session is given.
    pub surroundings: Arc<Surroundings>,
    /// Where sessions live.
    pub shards: Arc<Shards>,
    /// Who may come in.
    pub admission: Arc<Admission>,
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

/// A handshake that is granted: the answer to it, and the session that it becomes.
pub struct Granted {
    /// The answer.
    pub switching: Switching,
    /// The session.
    pub newcomer: Newcomer,
}

/// A refusal of a request before it is looked at in full, and the label that it is counted under.
pub struct Refused(pub RejectReason, pub Problem);

impl From<QueryError> for Refused {
    fn from(error: QueryError) -> Self {
        Self(RejectReason::BadUpgrade, Problem::bad_request(error.to_string()))
    }
}

impl Upgrades {
    /// Checks everything that a handshake says, and takes a place for its session. A refusal has done nothing.
    pub fn grant<'a>(&self, head: &Head<'a, impl Fields<'a>>, address: SocketAddr) -> Result<Granted, Refused> {
        let config = self.surroundings.live.load();
        let target = target(head.path, &config.endpoints).ok_or_else(|| {
            tracing::trace!(path = head.path, "no such path");
            Refused(RejectReason::NotFound, Problem::not_found("no WebSocket is spoken on this path"))
        })?;
        let key = handshake::check(head.version, head.fields).map_err(|bad| Refused(RejectReason::BadUpgrade, bad.into()))?;
        let opening = self.opening(head, &target, &config)?;
        let pass = self.admission.admit(address.ip()).map_err(|refusal| Refused(refusal.reason(), self.admission.problem(refusal)))?;
        let is_native = matches!(opening.purpose, Purpose::Native { .. }) && handshake::offers_native(head.fields);
        let extensions = opening.agreement.as_ref().map(|agreed| agreed.response.clone());
        let window_bits = opening.agreement.as_ref().map(|agreed| agreed.server_window_bits);
        let (id, variant) = (opening.id, Encoding::websocket(opening.purpose.dialect(), window_bits));
        let subscribes_at_once = opening.purpose.subscribes_at_once();
        let reader = session::open(opening, &self.surroundings);
        let newcomer = Newcomer { id, address, variant, reader, permit: Box::new(pass), subscribes_at_once };
        Ok(Granted { switching: Switching::new(key, is_native, extensions), newcomer })
    }

    fn opening<'a>(&self, head: &Head<'a, impl Fields<'a>>, target: &Target<'_>, config: &Config) -> Result<Opening, Refused> {
        let query = Query::new(head.query);
        let purpose = purpose(target, &query)?;
        let credential = credentials::credential(head.fields, &query)?;
        let identity = match &credential {
            None => Ok(self.surroundings.auth.anonymous()),
            Some(text) => self.surroundings.auth.identify(text).map(Some),
        };
        may_open(&purpose, &identity, credential.as_ref())?;
        let agreement = config.deflate.enabled.then(|| frame::negotiate(head.fields.all(header::SEC_WEBSOCKET_EXTENSIONS))).flatten();
        Ok(Opening { id: SessionId::random(), purpose, identity, agreement })
    }
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
    let (transport, head, ahead) = guarded.into_parts();
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

/// The answer to a plain request for a path that speaks WebSocket alone: 426.
pub fn required() -> Answer {
    Answer::from(Problem::from(handshake::BadUpgrade::NotAsked))
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
