//! Routes HTTP requests by path and method (PROTOCOL section 5).

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode, Uri};

use super::batch::{BATCH_BYTES_MAX, ENVELOPE_BYTES_MAX};
use super::centrifugo::{Call, CentrifugoApi, Directory, LONG_METHODS};
use super::idempotency::KEY_BYTES_MAX;
use super::metering::{Allowance, Metering};
use super::publishing::Publishing;
use super::resource::{Resource, Surface};
use super::sessions::SessionsApi;
use super::topics::TopicsApi;
use crate::auth::Auth;
use crate::config::{Limits, Live};
use crate::hub::Hub;
use crate::metrics::{LimitKey, Metrics, RejectReason};
use crate::server::limits::{Accounts, Admission, HttpBytes};
use crate::server::request::{BodyError, BodyLines, Bounds, Caller, Query, read_body, refuse_body, topic_name};
use crate::server::response::{Answer, Problem, of_type};
use crate::server::streaming::wire_of_body;
use crate::server::websocket::required;
use crate::session::Services;
use crate::shard::Shards;
use crate::topic_name::TopicName;

/// A request without its body.
struct HttpRequest<'a> {
    headers: &'a HeaderMap,
    query: &'a Query<'a>,
    /// The client's address, as limits count it.
    address: IpAddr,
    limits: &'a Limits,
}

impl HttpRequest<'_> {
    /// Returns what was `granted` together with the body. If the request was refused, the body is read and discarded
    /// beside the answer.
    fn or_discard<T>(&self, granted: Result<T, Problem>, body: Incoming) -> Result<(T, Incoming), Problem> {
        match granted {
            Ok(granted) => Ok((granted, body)),
            Err(problem) => {
                refuse_body(self.headers, body, self.limits.body_timeout);
                Err(problem)
            }
        }
    }
}

/// All of HTTP except the requests that become sessions.
pub struct Api {
    auth: Arc<Auth>,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    admission: Arc<Admission>,
    accounts: Accounts,
    metering: Metering,
    publishing: Publishing,
    topics: TopicsApi,
    sessions: SessionsApi,
    centrifugo: CentrifugoApi,
    directory: Directory,
}

impl Api {
    /// An API that uses these parts of the gateway. `directory` finds the sessions that `/emulation` addresses.
    pub fn new(
        services: &Services,
        hub: &Arc<Hub>,
        shards: &Arc<Shards>,
        metrics: &Arc<Metrics>,
        admission: &Arc<Admission>,
        accounts: &Accounts,
        directory: Directory,
    ) -> Self {
        let Services { auth, live, clock, .. } = services;
        Self {
            auth: Arc::clone(auth),
            live: Arc::clone(live),
            metrics: Arc::clone(metrics),
            admission: Arc::clone(admission),
            accounts: accounts.clone(),
            metering: Metering::new(&accounts.rates, live, metrics),
            publishing: Publishing::new(hub, live, metrics, clock),
            topics: TopicsApi::new(hub, shards, &accounts.bytes),
            sessions: SessionsApi::new(shards),
            centrifugo: CentrifugoApi::new(hub, shards, live, metrics, clock),
            directory,
        }
    }

    /// Answers a request that does not become a session. `address` is the client's, as limits count it.
    pub async fn respond(&self, head: &Parts, body: Incoming, address: IpAddr, surface: Surface) -> Result<Answer, Problem> {
        let config = self.live.load();
        let resource = Resource::at(head.uri.path(), &config);
        let methods = resource.as_ref().map_or("", |resource| resource.methods(surface));
        let (Some(resource), false) = (resource, methods.is_empty()) else {
            return Err(self.not_found(&head.method, &head.uri));
        };
        if !methods.split(", ").any(|method| method == head.method.as_str()) {
            return Err(self.other_method(methods, &head.method, surface));
        }
        let query = Query::new(head.uri.query());
        let request = HttpRequest { headers: &head.headers, query: &query, address, limits: &config.limits };
        if let Resource::Api(method) = resource {
            return self.centrifugo_command(method, &request, body).await;
        }
        if let Resource::Emulation = resource {
            let account = &self.accounts.bytes;
            let read = read_body(&head.headers, body, config.limits.frame_bytes, config.limits.body_timeout, account).await;
            let (body, reservation) = read.inspect_err(|error| self.count_refused_body(error, LimitKey::FrameBytes))?;
            return self.directory.deliver(&body, wire_of_body(&head.headers), reservation).await;
        }
        if head.method == Method::POST {
            let published = self.publish(&resource, &request, body).await;
            return published.inspect_err(|problem| problem.error.into_iter().for_each(|code| self.metrics.count(code, 1)));
        }
        let has_body = head.method != Method::HEAD;
        let answer = match resource {
            Resource::Asset(asset) => return Ok(asset.answer(&head.headers)),
            Resource::Healthz => return Ok(of_type("text/plain; charset=utf-8", Bytes::from_static(b"ok\n"))),
            Resource::Readyz => {
                self.admission.check_ready()?;
                return Ok(of_type("text/plain; charset=utf-8", Bytes::from_static(b"ready\n")));
            }
            Resource::WebSocket
            | Resource::Stream
            | Resource::Publish
            | Resource::Api(_)
            | Resource::Transport(_)
            | Resource::Emulation => {
                self.accounts.rejections.count(RejectReason::BadUpgrade, address, "no upgrade was asked for");
                return Ok(required());
            }
            Resource::Metrics => of_type("text/plain; version=0.0.4; charset=utf-8", Bytes::from(self.metrics.render())),
            Resource::Topics => {
                let (caller, allowance) = self.may_look_up(&request)?;
                self.topics.list(&caller, &query, self.cost(&allowance)).await?
            }
            Resource::Topic(topic) => self.topics.one(&self.may_look_up(&request)?.0, &topic_name(topic)?)?,
            Resource::History(topic) => {
                let (caller, allowance) = self.may_look_up(&request)?;
                return self.topics.history(&caller, &topic_name(topic)?, &query, has_body, self.cost(&allowance));
            }
            Resource::Presence(topic) => {
                let (caller, allowance) = self.may_look_up(&request)?;
                return self.topics.presence(&caller, &topic_name(topic)?, has_body, self.cost(&allowance));
            }
            Resource::Sessions => self.sessions.list(&self.may_look_up(&request)?.0, &query).await?,
            Resource::Session(id) => self.sessions.close(&self.may_look_up(&request)?.0, id).await?,
        };
        counted_until_written(answer, &self.accounts.bytes).await
    }

    /// Checks the credential of a request about topics or sessions, and takes its first unit.
    fn may_look_up<'a>(&self, request: &HttpRequest<'a>) -> Result<(Caller<'a>, Allowance), Problem> {
        let caller = self.caller(request.headers, request.query, request.address)?;
        let allowance = self.metering.allowance(&caller, request.address);
        self.metering.take(&allowance)?;
        Ok((caller, allowance))
    }

    /// Charges what an answer about topics costs beyond the first unit.
    fn cost(&self, allowance: &Allowance) -> impl FnOnce(usize, usize) {
        |amount, step| self.metering.charge(allowance, amount, step)
    }

    fn caller<'a>(&self, headers: &'a HeaderMap, query: &Query<'a>, address: IpAddr) -> Result<Caller<'a>, Problem> {
        Caller::of(&self.auth, &self.accounts.failures, address, headers, query)
    }

    fn not_found(&self, method: &Method, uri: &Uri) -> Problem {
        tracing::trace!(%method, path = uri.path(), "no such path");
        Problem::not_found("there is nothing on this path")
    }

    /// 405; or 404 for a read that only the administrators' listener answers.
    fn other_method(&self, methods: &'static str, method: &Method, surface: Surface) -> Problem {
        if surface == Surface::Public && methods == "POST" && matches!(*method, Method::GET | Method::HEAD) {
            return Problem::not_found("there is nothing to read on this path");
        }
        Problem::method_not_allowed(methods)
    }

    async fn publish(&self, resource: &Resource<'_>, request: &HttpRequest<'_>, body: Incoming) -> Result<Answer, Problem> {
        let &HttpRequest { headers, limits, .. } = request;
        let ((caller, allowance, topic), body) = request.or_discard(self.may_publish(resource, request), body)?;
        let account = &self.accounts.bytes;
        let published = match topic {
            Some(topic) => match read_body(headers, body, limits.message_bytes, limits.body_timeout, account).await {
                Ok((body, _held)) => return self.publishing.publish_body(&allowance, &topic, body, idempotency_key(headers)?).await,
                Err(error) => Err(error),
            },
            None => {
                let bounds = Bounds { body: BATCH_BYTES_MAX, line: limits.message_bytes + ENVELOPE_BYTES_MAX };
                match BodyLines::new(headers, body, bounds, limits.body_timeout, account) {
                    Ok(mut lines) => self.publishing.publish_lines(&caller, &self.metering, &allowance, &mut lines).await,
                    Err(error) => Err(error),
                }
            }
        };
        Ok(published.inspect_err(|error| self.count_refused_body(error, LimitKey::MessageBytes))?)
    }

    /// Counts a refused body; `longest` is the limit of its length.
    fn count_refused_body(&self, error: &BodyError, longest: LimitKey) {
        error.limit(longest).into_iter().for_each(|limit| self.accounts.rejections.limit_hit(limit));
    }

    /// Executes a command of Centrifugo's HTTP API.
    async fn centrifugo_command(&self, method: &str, request: &HttpRequest<'_>, body: Incoming) -> Result<Answer, Problem> {
        let &HttpRequest { headers, limits, .. } = request;
        let ((caller, allowance), body) = request.or_discard(self.may_command(request), body)?;
        // Base64 is a third longer than its bytes, and a topic and tags are added.
        let bytes_max = if LONG_METHODS.contains(&method) { BATCH_BYTES_MAX } else { 2 * limits.message_bytes + (16 << 10) };
        let account = &self.accounts.bytes;
        let read = read_body(headers, body, bytes_max, limits.body_timeout, account).await;
        let (body, _held) = read.inspect_err(|error| self.count_refused_body(error, LimitKey::MessageBytes))?;
        let by_status = headers.get("x-centrifugo-error-mode").is_some_and(|mode| mode == "transport");
        let call = Call { caller: &caller, allowance: &allowance, metering: &self.metering, publishing: &self.publishing };
        let answer = self.centrifugo.answer(method, &body, by_status, &call).await;
        counted_until_written(answer.ok_or_else(|| Problem::bad_request("the body is no command: a JSON object is"))?, account).await
    }

    /// Checks the credential of a command of Centrifugo's HTTP API: it must be an API key.
    fn may_command<'a>(&self, request: &HttpRequest<'a>) -> Result<(Caller<'a>, Allowance), Problem> {
        let &HttpRequest { headers, query, address, .. } = request;
        self.admission.check_not_draining()?;
        let caller = Caller::of_api_key(&self.auth, &self.accounts.failures, address, headers, query)?;
        let allowance = self.metering.allowance(&caller, address);
        self.metering.take(&allowance)?;
        Ok((caller, allowance))
    }

    /// Checks what can be checked before the body is read. A batch is checked and charged line by line.
    fn may_publish<'a>(
        &self,
        resource: &Resource<'_>,
        request: &HttpRequest<'a>,
    ) -> Result<(Caller<'a>, Allowance, Option<TopicName>), Problem> {
        let &HttpRequest { headers, query, address, .. } = request;
        self.admission.check_not_draining()?;
        if headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            let detail = "the body has a Content-Encoding, and only bodies without one are read";
            let problem = Problem::of_http(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", detail);
            return Err(problem.with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
        }
        let caller = self.caller(headers, query, address)?;
        let allowance = self.metering.allowance(&caller, address);
        let Resource::Topic(topic) = resource else {
            caller.require("publishing", |identity| identity.grants.may_publish_anywhere())?;
            self.metering.check(&allowance)?;
            return Ok((caller, allowance, None));
        };
        let topic = topic_name(topic)?;
        caller.require(&format!("publishing to {topic}"), |identity| identity.grants.may_publish(&topic))?;
        self.metering.take(&allowance)?;
        Ok((caller, allowance, Some(topic)))
    }
}

/// The `Idempotency-Key`, if there is one.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    match key.to_str() {
        Ok(key) if (1..=KEY_BYTES_MAX).contains(&key.len()) => Ok(Some(key)),
        _ => Err(Problem::bad_request(format!("Idempotency-Key is not 1 to {KEY_BYTES_MAX} characters of ASCII"))),
    }
}

/// `answer`, with its body counted in `account` until it is written.
async fn counted_until_written(answer: Answer, account: &Arc<HttpBytes>) -> Result<Answer, Problem> {
    let (head, body) = answer.into_parts();
    let bytes = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(never) => match never {},
    };
    let bytes = account.reserve(bytes.len())?.into_holding(bytes);
    Ok(Answer::from_parts(head, Full::new(bytes)))
}
