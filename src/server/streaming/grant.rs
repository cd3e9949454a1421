//! The checks of a request for a stream, and the session that it becomes.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderName;

use super::accept_header::{AcceptMatch, accept_match};
use super::head::{has_chunks, written};
use super::kind::StreamKind;
use crate::auth::Identity;
use crate::codes::ErrorCode;
use crate::dialect::{Dialect, Encoding, INTERVAL_MS, STREAM_TOPICS_MAX, Since, read_event_id};
use crate::hub::{Hub, Payer};
use crate::metrics::RejectReason;
use crate::position::Offset;
use crate::server::granted::Granted;
use crate::server::limits::{Accounts, Admission, Failures, Rates, bucket_of};
use crate::server::request::{Cors, Fields, Head, Query, QueryError, credential, identify, not_allowed};
use crate::server::response::{Problem, Refused};
use crate::session::{Charge, Services, StreamOpening, SubscribeOptions, open_stream};
use crate::session_id::SessionId;
use crate::shard::{NewSession, Shards};
use crate::token_bucket::Rate;
use crate::topic_name::{Pattern, TopicNameError};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Grants requests for streams.
pub struct Streams {
    services: Arc<Services>,
    admission: Arc<Admission>,
    shards: Arc<Shards>,
    failures: Arc<Failures>,
    rates: Arc<Rates>,
    hub: Arc<Hub>,
}

impl Streams {
    /// Sessions live in `shards`, share `services`, count in `admission` and have their topics in `hub`. `accounts` count
    /// bad credentials and work units.
    pub fn new(services: &Arc<Services>, admission: &Arc<Admission>, shards: &Arc<Shards>, accounts: &Accounts, hub: &Arc<Hub>) -> Self {
        let (services, admission) = (Arc::clone(services), Arc::clone(admission));
        let (failures, rates) = (Arc::clone(&accounts.failures), Arc::clone(&accounts.rates));
        Self { services, admission, shards: Arc::clone(shards), failures, rates, hub: Arc::clone(hub) }
    }

    /// Checks a request, and takes a place for its session. A refusal has no effect, because a request may be tried twice: units are
    /// taken last. If others take the last unit between the check and that, the new topic dies again.
    pub fn grant<'a>(
        &self,
        kind: StreamKind,
        head: &Head<'a, impl Fields<'a>>,
        cors: &Cors<'_>,
        address: SocketAddr,
    ) -> Result<Granted, Refused> {
        let opening = self.check(kind, head, address)?;
        let permit = self.admission.admit_stream(address.ip(), &self.shards)?;
        let by_credential = credential(head.fields, &Query::new(head.query))?.is_some();
        let identity = Some(&*opening.identity).filter(|_| by_credential);
        let (payer, rate) = bucket_of(identity, address.ip(), &self.services.live.load().limits);
        self.rates.check(&payer, rate).map_err(past_rate)?;
        self.make_topic(&opening, address)?;
        let charge = self.charge(payer, rate, &opening)?;
        let dialect = if opening.is_raw { Dialect::Raw } else { Dialect::Json };
        let session = NewSession {
            id: opening.id,
            address,
            encoding: Encoding { dialect, framing: kind.framing(has_chunks(head.version)) },
            reader: open_stream(opening, charge, &self.services),
            permit: Box::new(permit),
            subscribes_at_once: true,
        };
        Ok(Granted { head: written(kind.content_type(), head.version, cors), session })
    }

    /// Charges a stream (PROTOCOL section 7): at first what its request alone shows. The result charges the rest, once
    /// its patterns are matched.
    fn charge(&self, payer: Payer, rate: Rate, opening: &StreamOpening) -> Result<Charge, Refused> {
        self.rates.take(&payer, rate, 1 + opening.units()).map_err(past_rate)?;
        let rates = Arc::clone(&self.rates);
        Ok(Box::new(move |units| rates.charge(&payer, rate, units)))
    }

    /// Makes the first topic of the stream that can be made, because a stream without any topic would end at once.
    /// Topics that can't be made are reported by an error in the stream.
    fn make_topic(&self, opening: &StreamOpening, address: SocketAddr) -> Result<(), Refused> {
        let payer = Payer::of_address(address.ip());
        let mut refused = Ok(());
        for pattern in opening.topics.iter().flatten().filter(|pattern| opening.identity.grants.may_subscribe(pattern)) {
            let Some(name) = pattern.as_name() else { return Ok(()) }; // a pattern needs no topic
            refused = self.hub.make(&name, Some(&payer)).map_err(|error| Refused::not_made(&name, error));
            if refused.is_ok() {
                break;
            }
        }
        refused
    }

    pub fn check<'a>(&self, kind: StreamKind, head: &Head<'a, impl Fields<'a>>, address: SocketAddr) -> Result<StreamOpening, Refused> {
        let bad = |problem| Refused(RejectReason::BadUpgrade, problem);
        if accept_match(head.fields, kind) == AcceptMatch::No {
            let detail = format!("this path answers {}, which the request's Accept does not take", kind.media_type());
            return Err(bad(Problem::of_http(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail)));
        }
        if head.fields.has_body() {
            return Err(bad(Problem::bad_request("a request for a stream has no body").closing()));
        }
        let query = Query::new(head.query);
        let topics = topics(&query)?;
        let is_raw = query.flag("raw")?;
        if is_raw && !matches!(&*topics, [Ok(topic)] if topic.as_name().is_some()) {
            return Err(bad(Problem::bad_request("raw=true takes one topic, by its name")));
        }
        let options = SubscribeOptions {
            last: query.size("last", 0)?,
            since: since(head.fields, &query, &topics)?,
            interval: query.number("interval_ms", INTERVAL_MS)?.map(Duration::from_millis),
            presence: query.flag("presence")?,
        };
        let identity = self.identity(head.fields, &query, &topics, address)?;
        let tells_position = kind == StreamKind::Events;
        Ok(StreamOpening { id: SessionId::random(), identity, topics, options, is_raw, tells_position })
    }

    /// The identity of the sender, who must have a grant for at least one of `topics`.
    fn identity<'a>(
        &self,
        fields: impl Fields<'a>,
        query: &Query<'a>,
        topics: &[Result<Pattern, TopicNameError>],
        address: SocketAddr,
    ) -> Result<Arc<Identity>, Refused> {
        let refused = |problem| Refused(RejectReason::Unauthorized, problem);
        let credential = credential(fields, query)?;
        let identity = identify(&self.services.auth, &self.failures, address.ip(), credential.as_deref())?;
        let identity = identity.map_err(|error| refused(Problem::unauthorized(error.code(), error.to_string())))?;
        let names = || topics.iter().flatten();
        let may = |identity: &Arc<Identity>| names().any(|pattern| identity.grants.may_subscribe(pattern));
        identity.filter(may).ok_or_else(|| {
            let what = names().map(Pattern::as_str).collect::<Vec<_>>().join(", ");
            refused(not_allowed(&format!("subscribing to {what}"), credential.is_some()))
        })
    }

    /// Counts a bad credential from `address`. It is separate from the checks, because a request may be checked twice
    /// and is refused once.
    pub fn count(&self, refused: &Refused, address: SocketAddr) {
        let Refused(_, problem) = refused;
        if problem.error == Some(ErrorCode::TokenInvalid) {
            self.failures.count(address.ip());
        }
    }
}

/// The bucket has a unit in `wait`.
fn past_rate(wait: Duration) -> Refused {
    let detail = "past limits.commands_per_second, of which a stream takes as much as a subscribe";
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, detail);
    Refused(RejectReason::CommandsPerSecond, problem.retry_after(wait.as_secs_f64().ceil() as u64))
}

/// The topics of the URL, at least one of which is valid.
fn topics(query: &Query<'_>) -> Result<Vec<Result<Pattern, TopicNameError>>, Refused> {
    let bad = |problem| Refused(RejectReason::BadUpgrade, problem);
    let topics = query.topics("topics")?;
    if topics.is_empty() {
        return Err(bad(Problem::bad_request("a stream takes the topics that topics= names, as in /sse?topics=chat.lobby")));
    }
    if topics.len() > STREAM_TOPICS_MAX {
        let detail = format!("topics= names {} topics; a stream takes {STREAM_TOPICS_MAX} at most", topics.len());
        return Err(bad(Problem::bad_request(detail)));
    }
    match topics.iter().find_map(|topic| topic.as_ref().err()) {
        Some(error) if topics.iter().all(Result::is_err) => Err(bad(error.clone().into())),
        _ => Ok(topics),
    }
}

/// The position at which the client resumes: `Last-Event-ID`, or else `last_event_id=`. A foreign `id` is ignored.
fn since<'a>(
    fields: impl Fields<'a>,
    query: &Query<'_>,
    topics: &[Result<Pattern, TopicNameError>],
) -> Result<Vec<Since<'static>>, QueryError> {
    let text = match fields.first(LAST_EVENT_ID) {
        Some(id) => std::str::from_utf8(id).ok().map(Cow::Borrowed),
        None => query.text("last_event_id")?,
    };
    let places = text.as_deref().and_then(|text| read_event_id(text, topics.len())).unwrap_or_default();
    let since = |(topic, place): (&Result<Pattern, TopicNameError>, Option<(&str, Offset)>)| {
        let (topic, (epoch, offset)) = (topic.as_ref().ok()?.as_name()?, place?);
        Some(Since { topic, epoch: Cow::Owned(epoch.to_owned()), offset })
    };
    Ok(topics.iter().zip(places).filter_map(since).collect())
}
