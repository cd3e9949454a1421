//! Publishing over HTTP: one message, or a batch of lines.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;

use super::batch::{self, LineError};
use crate::clock::Clock;
use crate::codes::ErrorCode;
use crate::config::Live;
use crate::dialect::json_read;
use crate::hub::{Hub, PayloadKind, Publication, PublishError};
use crate::metrics::{LimitKey, Metrics, PublishSource};
use crate::server::limits::{RateKey, Rates, counted_as};
use crate::server::request::Caller;
use crate::server::response::{Answer, Problem, json_of};
use crate::token_bucket::Rate;
use crate::topic_name::TopicName;

/// The most errors that the answer to a batch lists; the rest are only counted, so that the answer stays small.
const ERRORS_LISTED_MAX: usize = 1_000;

/// Publishes what HTTP requests bring.
pub struct Publishing {
    hub: Arc<Hub>,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    rates: Rates,
}

/// Whose rate counts, and what it is.
struct Allowance {
    key: RateKey,
    rate: Rate,
}

#[derive(serde::Serialize)]
struct Published<'a> {
    topic: &'a str,
    offset: u64,
    epoch: &'a str,
}

#[derive(serde::Serialize)]
struct BatchPublished {
    published: usize,
    errors: Vec<LineError>,
    /// Errors past those that are listed.
    #[serde(skip_serializing_if = "is_zero")]
    errors_unlisted: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Publishing {
    /// Publishes to the topics of `hub`.
    pub fn new(hub: &Arc<Hub>, live: &Arc<Live>, metrics: &Arc<Metrics>, clock: &Clock) -> Self {
        Self { hub: Arc::clone(hub), live: Arc::clone(live), metrics: Arc::clone(metrics), rates: Rates::new(clock.clone()) }
    }

    /// `POST /v1/topics/{topic}`: the body is the message.
    pub async fn one(&self, caller: &Caller<'_>, address: IpAddr, topic: &TopicName, body: Bytes) -> Result<Answer, Problem> {
        let allowance = self.allowance(caller, address);
        self.rates.take(&allowance.key, allowance.rate).map_err(|wait| self.too_fast(wait))?;
        let position = self.hub.publish(topic, publication(&body, kind_of(&body))).await.map_err(|error| full(&error))?;
        let published = Published { topic: topic.as_str(), offset: position.offset.0, epoch: position.epoch.as_str() };
        Ok(json_of(&published))
    }

    /// `POST /v1/publish`: every good line is published, every other told. A line costs what a message costs; where the
    /// caller's bucket is empty before the first one, the whole batch is refused.
    pub async fn batch(&self, caller: &Caller<'_>, address: IpAddr, body: &[u8]) -> Result<Answer, Problem> {
        let allowance = self.allowance(caller, address);
        let mut told = BatchPublished { published: 0, errors: Vec::new(), errors_unlisted: 0 };
        for (index, (number, entry)) in batch::lines(body).enumerate() {
            let taken = self.rates.take(&allowance.key, allowance.rate);
            let outcome = match (taken, entry) {
                (Err(wait), _) if index == 0 => return Err(self.too_fast(wait)),
                (Err(wait), _) => {
                    self.metrics.limit_hit(LimitKey::CommandsPerSecond);
                    Err(LineError { line: number, code: ErrorCode::RateLimited, message: too_fast_text(wait) })
                }
                (Ok(()), Err(error)) => Err(error),
                (Ok(()), Ok(entry)) => self.line(caller, number, entry).await,
            };
            match outcome {
                Ok(()) => told.published += 1,
                Err(error) => {
                    self.metrics.command_error(error.code);
                    if told.errors.len() < ERRORS_LISTED_MAX {
                        told.errors.push(error);
                    } else {
                        told.errors_unlisted += 1;
                    }
                }
            }
        }
        Ok(json_of(&told))
    }

    async fn line(&self, caller: &Caller<'_>, number: usize, entry: batch::Entry<'_>) -> Result<(), LineError> {
        let refused = |code, message: String| LineError { line: number, code, message };
        let batch::Entry { topic, data } = entry;
        let message_bytes = self.live.load().limits.message_bytes;
        if data.len() > message_bytes {
            self.metrics.limit_hit(LimitKey::MessageBytes);
            let message = format!("data has {} bytes, the most is {message_bytes}", data.len());
            return Err(refused(ErrorCode::MessageTooLarge, message));
        }
        if !json_read::is_json_text(data.as_bytes()) {
            return Err(refused(ErrorCode::BadRequest, "data is nested deeper than 64".to_owned()));
        }
        if !caller.identity().is_some_and(|identity| identity.grants.may_publish(&topic)) {
            return Err(refused(ErrorCode::NotAllowed, format!("publishing to {topic} is not allowed")));
        }
        match self.hub.publish(&topic, publication(data.as_bytes(), PayloadKind::Json)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(refused(error.code(), error.to_string())),
        }
    }

    fn allowance(&self, caller: &Caller<'_>, address: IpAddr) -> Allowance {
        let limits = &self.live.load().limits;
        let rate = Rate { per_second: limits.commands_per_second, burst: limits.commands_burst };
        let by_address = RateKey::Address(counted_as(address));
        let Some(identity) = caller.identity().filter(|_| caller.credential().is_some()) else {
            return Allowance { key: by_address, rate };
        };
        let key = match (&identity.key, &identity.user) {
            (Some(key), _) => RateKey::ApiKey(Arc::clone(key)),
            (None, Some(user)) => RateKey::User(Arc::clone(user)),
            (None, None) => by_address,
        };
        Allowance { key, rate: rate.with_own(identity.commands_per_second) }
    }

    fn too_fast(&self, wait: Duration) -> Problem {
        self.metrics.limit_hit(LimitKey::CommandsPerSecond);
        Problem::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, too_fast_text(wait))
            .retry_after(wait.as_secs_f64().ceil() as u64)
    }
}

/// What a body is: JSON goes out as it stands, other text as a string, other bytes as Base64.
fn kind_of(body: &[u8]) -> PayloadKind {
    if json_read::is_json_text(body) {
        PayloadKind::Json
    } else if std::str::from_utf8(body).is_ok() {
        PayloadKind::Text
    } else {
        PayloadKind::Binary
    }
}

fn full(error: &PublishError) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, error.code(), error.to_string()).retry_after(1)
}

fn publication(payload: &[u8], kind: PayloadKind) -> Publication<'_> {
    Publication { payload, kind, except: None, source: PublishSource::Http }
}

fn too_fast_text(wait: Duration) -> String {
    format!("past limits.commands_per_second; try again in {} ms", wait.as_millis().max(1))
}
