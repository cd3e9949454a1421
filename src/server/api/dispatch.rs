//! From path and method to the part that answers (PROTOCOL section 5).

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Uri};

use super::batch::BATCH_BYTES_MAX;
use super::place::{Place, Surface};
use super::publishing::Publishing;
use super::sessions::SessionsApi;
use super::topics::TopicsApi;
use crate::auth::Auth;
use crate::config::{Limits, Live};
use crate::hub::Hub;
use crate::metrics::{LimitKey, Metrics, RejectReason};
use crate::server::limits::{Admission, Rejections};
use crate::server::request::{BodyError, Caller, Query, discard_body, read_body, topic_name};
use crate::server::response::{Answer, Problem, of_type};
use crate::server::websocket::required;
use crate::session::Surroundings;
use crate::shard::Shards;
use crate::topic_name::TopicName;

/// The HTTP side but for handshakes.
pub struct Api {
    auth: Arc<Auth>,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    admission: Arc<Admission>,
    rejections: Arc<Rejections>,
    publishing: Publishing,
    topics: TopicsApi,
    sessions: SessionsApi,
}

impl Api {
    /// Answers out of these parts of the gateway.
    pub fn new(
        surroundings: &Surroundings,
        hub: &Arc<Hub>,
        shards: &Arc<Shards>,
        metrics: &Arc<Metrics>,
        admission: &Arc<Admission>,
        rejections: &Arc<Rejections>,
    ) -> Self {
        let Surroundings { auth, live, clock } = surroundings;
        Self {
            auth: Arc::clone(auth),
            live: Arc::clone(live),
            metrics: Arc::clone(metrics),
            admission: Arc::clone(admission),
            rejections: Arc::clone(rejections),
            publishing: Publishing::new(hub, live, metrics, clock),
            topics: TopicsApi::new(hub),
            sessions: SessionsApi::new(shards),
        }
    }

    /// Answers a request that is no handshake. `address` is the client's, as limits count it.
    pub async fn respond(&self, head: &Parts, body: Incoming, address: IpAddr, surface: Surface) -> Result<Answer, Problem> {
        let config = self.live.load();
        let place = Place::of(head.uri.path(), &config);
        let methods = place.as_ref().map_or("", |place| place.methods(surface));
        let (Some(place), false) = (place, methods.is_empty()) else {
            return Err(self.absent(&head.method, &head.uri));
        };
        if !methods.split(", ").any(|method| method == head.method.as_str()) {
            return Err(self.other_method(methods, &head.method, surface));
        }
        let query = Query::new(head.uri.query());
        if head.method == Method::POST {
            let published = self.publish(&place, &head.headers, &query, body, address, &config.limits).await;
            return published.inspect_err(|problem| problem.error().into_iter().for_each(|code| self.metrics.command_error(code)));
        }
        let caller = || Caller::of(&self.auth, &head.headers, &query);
        match place {
            Place::Asset(asset) => Ok(asset.answer(&head.headers)),
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
                Ok(required())
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
        limits: &Limits,
    ) -> Result<Answer, Problem> {
        let (caller, topic) = match self.may_publish(place, headers, query) {
            Ok(may) => may,
            Err(problem) => {
                discard_body(headers, body, limits.body_timeout).await;
                return Err(problem);
            }
        };
        let bytes_max = if topic.is_some() { limits.message_bytes } else { BATCH_BYTES_MAX };
        let body = read_body(headers, body, bytes_max, limits.body_timeout).await.inspect_err(|error| match error {
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
