//! From path and method to whoever answers (PROTOCOL section 5).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};

use super::admission::Admission;
use super::batch::BATCH_BYTES_MAX;
use super::body::{self, BodyError};
use super::credentials::Caller;
use super::head::{Fields, Head};
use super::problem::{Answer, Problem, of_type};
use super::publishing::Publishing;
use super::query::{Query, decoded};
use super::rejections::Rejections;
use super::sessions::Sessions;
use super::topics::Topics;
use super::upgrade::{self, Granted, Refused, Upgrades};
use super::{forwarded, handshake, origin, page};
use crate::auth::Auth;
use crate::codes::ErrorCode;
use crate::config::{Config, Live};
use crate::metrics::{LimitKey, Metrics, RejectReason};
use crate::shard::Expected;
use crate::topic_name::TopicName;

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// Everything: there is one listener.
    Whole,
    /// All but what the administrators' listener has.
    Public,
    /// The `/v1` reads, sessions, `/metrics` and health.
    Admin,
}

/// Everything that a listener's requests can reach.
pub struct Routes {
    /// Who may what.
    pub auth: Arc<Auth>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// Whether the gateway drains.
    pub admission: Arc<Admission>,
    /// Where refusals are counted.
    pub rejections: Arc<Rejections>,
    /// WebSocket.
    pub upgrades: Upgrades,
    /// `POST`.
    pub publishing: Publishing,
    /// `/v1/topics`.
    pub topics: Topics,
    /// `/v1/sessions`.
    pub sessions: Sessions,
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Page,
    Library,
    Healthz,
    Readyz,
    Metrics,
    Topics,
    Topic(&'a str),
    History(&'a str),
    Presence(&'a str),
    Publish,
    Sessions,
    Session(&'a str),
    /// A path that speaks WebSocket alone.
    WebSocket,
}

impl<'a> Place<'a> {
    fn of(path: &'a str, config: &Config) -> Option<Self> {
        let place = match path {
            "/" => Self::Page,
            "/belfry.js" => Self::Library,
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            "/metrics" => Self::Metrics,
            "/v1/topics" => Self::Topics,
            "/v1/publish" => Self::Publish,
            "/v1/sessions" => Self::Sessions,
            _ => return Self::below(path).or_else(|| upgrade::target(path, &config.endpoints).map(|_| Self::WebSocket)),
        };
        Some(place)
    }

    fn below(path: &'a str) -> Option<Self> {
        if let Some(id) = path.strip_prefix("/v1/sessions/") {
            return (!id.is_empty() && !id.contains('/')).then_some(Self::Session(id));
        }
        let rest = path.strip_prefix("/v1/topics/")?;
        match rest.split_once('/') {
            None => (!rest.is_empty()).then_some(Self::Topic(rest)),
            Some(("", _)) => None,
            Some((topic, "history")) => Some(Self::History(topic)),
            Some((topic, "presence")) => Some(Self::Presence(topic)),
            Some(_) => None,
        }
    }

    /// The methods that the place takes on `surface`; none: it isn't there.
    fn methods(&self, surface: Surface) -> &'static str {
        const NONE: &str = "";
        const READ: &str = "GET, HEAD";
        match (self, surface) {
            (Self::Healthz | Self::Readyz, _) => READ,
            (Self::Page | Self::Library, Surface::Whole | Surface::Public) => READ,
            (Self::WebSocket, Surface::Whole | Surface::Public) => "GET",
            (Self::Topic(_), Surface::Whole) => "GET, HEAD, POST",
            (Self::Publish, Surface::Whole | Surface::Public) | (Self::Topic(_), Surface::Public) => "POST",
            (
                Self::Metrics | Self::Topics | Self::Topic(_) | Self::History(_) | Self::Presence(_) | Self::Sessions,
                Surface::Whole | Surface::Admin,
            ) => READ,
            (Self::Session(_), Surface::Whole | Surface::Admin) => "DELETE",
            (Self::Page | Self::Library | Self::WebSocket | Self::Publish, Surface::Admin) => NONE,
            (Self::Metrics | Self::Topics | Self::History(_) | Self::Presence(_) | Self::Sessions | Self::Session(_), Surface::Public) => {
                NONE
            }
        }
    }
}

impl Routes {
    /// Answers one request of `peer`; with 101, for the session that expects its socket.
    pub async fn answer(&self, request: Request<Incoming>, peer: SocketAddr, surface: Surface) -> (Answer, Option<Expected>) {
        let config = self.live.load();
        let (parts, body) = request.into_parts();
        let head = Head::from(&parts);
        let address = forwarded::address(peer, head.fields, &config.server.trusted_proxies);
        let from = Sender::of(&head, &config);
        let granted = match is_handshake(&head, &from, surface) {
            Ok(false) => None,
            Ok(true) => Some(self.upgrades.grant(&head, address)),
            Err(refused) => Some(Err(refused)),
        };
        match granted {
            Some(Ok(Granted { switching, newcomer })) => return (switching.into(), Some(self.upgrades.shards.expect(newcomer).await)),
            Some(Err(Refused(reason, problem))) => return (self.turn_down(reason, address.ip(), problem), None),
            None => {}
        }
        if parts.method == Method::OPTIONS && from.is_allowed_page && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return (from.preflight(), None);
        }
        // Boxed, as an upgrade would carry its room along.
        let mut answer = Box::pin(self.respond(&parts, body, address.ip(), surface, &config)).await.unwrap_or_else(Answer::from);
        from.mark(&mut answer);
        (answer, None)
    }

    /// Grants a request if it is a handshake that can be granted. `None`: [`Self::answer`] is to see it, and nothing was done.
    pub fn grant<'a>(&self, head: &Head<'a, impl Fields<'a>>, peer: SocketAddr, surface: Surface) -> Option<Granted> {
        let config = self.live.load();
        if !is_handshake(head, &Sender::of(head, &config), surface).unwrap_or(false) {
            return None;
        }
        self.upgrades.grant(head, forwarded::address(peer, head.fields, &config.server.trusted_proxies)).ok()
    }

    /// Refuses a request before anything else is looked at, and with it whatever may follow on the connection: a proxy that took
    /// the refusal of a handshake for a 101 would pass on as frames what a client hides behind it.
    fn turn_down(&self, reason: RejectReason, address: IpAddr, problem: Problem) -> Answer {
        self.rejections.count(reason, address, problem.detail());
        problem.closing().into()
    }

    async fn respond(&self, head: &Parts, body: Incoming, address: IpAddr, surface: Surface, config: &Config) -> Result<Answer, Problem> {
        let place = Place::of(head.uri.path(), config);
        let methods = place.as_ref().map_or("", |place| place.methods(surface));
        let (Some(place), false) = (place, methods.is_empty()) else {
            return Err(self.absent(&head.method, &head.uri));
        };
        if !methods.split(", ").any(|method| method == head.method.as_str()) {
            return Err(self.other_method(methods, &head.method, surface));
        }
        let query = Query::new(head.uri.query());
        if head.method == Method::POST {
            let published = self.publish(&place, &head.headers, &query, body, address, config).await;
            return published.inspect_err(|problem| problem.error().into_iter().for_each(|code| self.metrics.command_error(code)));
        }
        let caller = || Caller::of(&self.auth, &head.headers, &query);
        match place {
            Place::Page => Ok(page::page(&head.headers)),
            Place::Library => Ok(page::library(&head.headers)),
            Place::Healthz => Ok(of_type("text/plain; charset=utf-8", Bytes::from_static(b"ok\n"))),
            Place::Readyz => self.ready(),
            Place::Metrics => Ok(of_type("text/plain; version=0.0.4; charset=utf-8", Bytes::from(self.metrics.render()))),
            Place::Topics => self.topics.list(&caller()?, &query),
            Place::Topic(topic) => self.topics.one(&caller()?, &topic_name(topic)?),
            Place::History(topic) => self.topics.history(&caller()?, &topic_name(topic)?, &query),
            Place::Presence(topic) => self.topics.presence(&caller()?, &topic_name(topic)?),
            Place::Sessions => self.sessions.list(&caller()?, &query).await,
            Place::Session(id) => self.sessions.close(&caller()?, id).await,
            Place::WebSocket | Place::Publish => {
                self.rejections.count(RejectReason::BadUpgrade, address, "no upgrade was asked for");
                Ok(upgrade::required())
            }
        }
    }

    fn absent(&self, method: &Method, uri: &Uri) -> Problem {
        tracing::trace!(%method, path = uri.path(), "no such path");
        Problem::not_found("there is nothing on this path")
    }

    /// 405; a read that only the administrators' listener answers is as good as not there.
    fn other_method(&self, methods: &'static str, method: &Method, surface: Surface) -> Problem {
        if surface == Surface::Public && methods == "POST" && matches!(*method, Method::GET | Method::HEAD) {
            return Problem::not_found("there is nothing to read on this path");
        }
        Problem::method_not_allowed(methods)
    }

    fn ready(&self) -> Result<Answer, Problem> {
        match self.admission.is_draining() {
            true => Err(self.admission.draining_problem()),
            false => Ok(of_type("text/plain; charset=utf-8", Bytes::from_static(b"ready\n"))),
        }
    }

    async fn publish(
        &self,
        place: &Place<'_>,
        headers: &HeaderMap,
        query: &Query<'_>,
        body: Incoming,
        address: IpAddr,
        config: &Config,
    ) -> Result<Answer, Problem> {
        let limits = &config.limits;
        let (caller, topic) = match self.may_publish(place, headers, query) {
            Ok(may) => may,
            Err(problem) => {
                body::discard(headers, body, limits.body_timeout).await;
                return Err(problem);
            }
        };
        let bytes_max = if topic.is_some() { limits.message_bytes } else { BATCH_BYTES_MAX };
        let body = body::read(headers, body, bytes_max, limits.body_timeout).await.inspect_err(|error| match error {
            BodyError::TooLong { .. } => self.rejections.limit_hit(LimitKey::MessageBytes),
            BodyError::TooSlow => self.rejections.limit_hit(LimitKey::BodyTimeout),
            BodyError::Broken => {}
        })?;
        match topic {
            Some(topic) => self.publishing.one(&caller, address, &topic, body).await,
            None => self.publishing.batch(&caller, address, &body).await,
        }
    }

    /// Everything that can be said before the body was read. A batch asks for the right to each topic line by line.
    fn may_publish<'a>(
        &self,
        place: &Place<'_>,
        headers: &'a HeaderMap,
        query: &Query<'a>,
    ) -> Result<(Caller<'a>, Option<TopicName>), Problem> {
        if self.admission.is_draining() {
            return Err(self.admission.draining_problem());
        }
        let caller = Caller::of(&self.auth, headers, query)?;
        let Place::Topic(topic) = place else {
            caller.require("publishing", |_| true)?;
            return Ok((caller, None));
        };
        let topic = topic_name(topic)?;
        caller.require(&format!("publishing to {topic}"), |identity| identity.grants.may_publish(&topic))?;
        Ok((caller, Some(topic)))
    }
}

/// Whether a request is to become a session, or why it isn't looked at.
fn is_handshake<'a>(head: &Head<'a, impl Fields<'a>>, from: &Sender<'_>, surface: Surface) -> Result<bool, Refused> {
    if !has_one_host(head) {
        return Err(Refused(RejectReason::BadUpgrade, Problem::bad_request("a request has one Host, no more and no fewer")));
    }
    let is_handshake = *head.method == Method::GET && surface != Surface::Admin && handshake::is_asked(head.fields);
    if from.is_foreign_page && (is_handshake || matches!(*head.method, Method::POST | Method::DELETE)) {
        return Err(Refused(RejectReason::Origin, Problem::forbidden("this Origin is not allowed")));
    }
    Ok(is_handshake)
}

/// Whether a request names one host, as HTTP/1.1 wants it (RFC 9112 §3.2): where there are two, a proxy may have gone by the other.
fn has_one_host<'a>(head: &Head<'a, impl Fields<'a>>) -> bool {
    let hosts = head.fields.all(header::HOST).count();
    hosts == 1 || (hosts == 0 && head.version == Version::HTTP_10)
}

/// A topic as a path has it: percent-decoded, then checked.
fn topic_name(segment: &str) -> Result<TopicName, Problem> {
    let bad = |reason: String| Problem::new(StatusCode::BAD_REQUEST, ErrorCode::BadTopic, reason);
    let text = decoded(segment, "the topic").map_err(|error| bad(error.to_string()))?;
    TopicName::parse(&text).map_err(|error| bad(error.to_string()))
}

/// Which page a request comes from, if from any (the CORS protocol of the Fetch standard).
struct Sender<'a> {
    origin: Option<&'a [u8]>,
    is_allowed_page: bool,
    is_foreign_page: bool,
}

impl<'a> Sender<'a> {
    fn of(head: &Head<'a, impl Fields<'a>>, config: &Config) -> Self {
        let allowed = origin::is_allowed(head.fields, head.authority, &config.server.origins);
        let origin = head.fields.first(header::ORIGIN);
        let is_v1 = head.path.starts_with("/v1/");
        Self { is_allowed_page: allowed && origin.is_some() && is_v1, is_foreign_page: !allowed, origin }
    }

    /// Lets an allowed page read the answer; caches must not give it to another.
    fn mark(&self, answer: &mut Answer) {
        if let (true, Some(Ok(origin))) = (self.is_allowed_page, self.origin.map(HeaderValue::from_bytes)) {
            answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            answer.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
        }
    }

    fn preflight(&self) -> Answer {
        let mut answer = Response::new(Full::new(Bytes::new()));
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, DELETE"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        self.mark(&mut answer);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn methods(path: &str, surface: Surface) -> &'static str {
        Place::of(path, &testing::config()).map_or("", |place| place.methods(surface))
    }

    /// PROTOCOL 5: the table of paths, and what `admin.listen` moves away.
    #[test]
    fn the_table_of_paths() {
        for (path, whole, public, admin) in [
            ("/", "GET, HEAD", "GET, HEAD", ""),
            ("/belfry.js", "GET, HEAD", "GET, HEAD", ""),
            ("/healthz", "GET, HEAD", "GET, HEAD", "GET, HEAD"),
            ("/readyz", "GET, HEAD", "GET, HEAD", "GET, HEAD"),
            ("/metrics", "GET, HEAD", "", "GET, HEAD"),
            ("/v1/topics", "GET, HEAD", "", "GET, HEAD"),
            ("/v1/topics/a.b", "GET, HEAD, POST", "POST", "GET, HEAD"),
            ("/v1/topics/a.b/history", "GET, HEAD", "", "GET, HEAD"),
            ("/v1/topics/a.b/presence", "GET, HEAD", "", "GET, HEAD"),
            ("/v1/publish", "POST", "POST", ""),
            ("/v1/sessions", "GET, HEAD", "", "GET, HEAD"),
            ("/v1/sessions/0123456789abcdef", "DELETE", "", "DELETE"),
            ("/ws", "GET", "GET", ""),
            ("/raw/a.b", "GET", "GET", ""),
            ("/echo", "GET", "GET", ""),
            ("/v1/topics/", "", "", ""),
            ("/v1/topics/a/b", "", "", ""),
            ("/v1/topics//history", "", "", ""),
            ("/v1/sessions/a/b", "", "", ""),
            ("/nothing", "", "", ""),
        ] {
            let seen = (methods(path, Surface::Whole), methods(path, Surface::Public), methods(path, Surface::Admin));
            assert_eq!(seen, (whole, public, admin), "{path}");
        }
    }

    #[test]
    fn a_topic_in_a_path_is_checked_once_decoded() {
        assert_eq!(topic_name("chat.%E5%A4%A7").unwrap().as_str(), "chat.大");
        for segment in ["a%2Fb", "a.%3E", "%ff", "a%20b", "a..b"] {
            let problem = topic_name(segment).unwrap_err();
            assert_eq!((problem.status().as_u16(), problem.code()), (400, "bad_topic"), "{segment}");
        }
    }
}
