//! Publishing over HTTP: one message, or a batch of lines.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;

use super::batch::{self, LineError};
use super::metering::{Allowance, Metering};
use crate::codes::ErrorCode;
use crate::config::Live;
use crate::dialect::json_read;
use crate::hub::{Hub, Payer, PayloadKind, Publication, PublishError};
use crate::metrics::{LimitKey, Metrics, PublishSource};
use crate::server::request::{BodyError, BodyLines, Caller, Line};
use crate::server::response::{Answer, Problem, json_of};
use crate::topic_name::TopicName;

/// The most errors that the answer to a batch lists; the rest are only counted, so that the answer stays small.
const ERRORS_LISTED_MAX: usize = 1_000;
/// Lines of a batch between two turns of others on its thread.
const LINES_AT_ONCE: usize = 64;

/// Publishes what HTTP requests bring.
pub struct Publishing {
    hub: Arc<Hub>,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
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

impl BatchPublished {
    fn tell(&mut self, error: LineError) {
        if self.errors.len() < ERRORS_LISTED_MAX {
            self.errors.push(error);
        } else {
            self.errors_unlisted += 1;
        }
    }
}

impl Publishing {
    /// Publishes to the topics of `hub`.
    pub fn new(hub: &Arc<Hub>, live: &Arc<Live>, metrics: &Arc<Metrics>) -> Self {
        Self { hub: Arc::clone(hub), live: Arc::clone(live), metrics: Arc::clone(metrics) }
    }

    /// `POST /v1/topics/{topic}`: the body is the message.
    pub async fn one(&self, allowance: &Allowance, topic: &TopicName, body: Bytes) -> Result<Answer, Problem> {
        let publication = publication(&body, kind_of(&body), allowance.payer());
        let position = self.hub.publish(topic, publication).await.map_err(|error| full(&error))?;
        let published = Published { topic: topic.as_str(), offset: position.offset.0, epoch: position.epoch.as_str() };
        Ok(json_of(&published))
    }

    /// `POST /v1/publish`: every good line is published as it comes, every other told. A line costs what a message costs; one that
    /// its caller's bucket has no unit for is not looked at. A body that breaks off leaves the lines before published.
    pub async fn batch(
        &self,
        caller: &Caller<'_>,
        metering: &Metering,
        allowance: &Allowance,
        lines: &mut BodyLines,
    ) -> Result<Answer, BodyError> {
        let mut told = BatchPublished { published: 0, errors: Vec::new(), errors_unlisted: 0 };
        let mut number = 0;
        while let Some(line) = lines.next().await? {
            number += 1;
            if number % LINES_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
            let refused = |code, message: String| LineError { line: number, code, message };
            let outcome = match line {
                Line::Whole(text) if text.trim_ascii().is_empty() => continue,
                _ if let Err(too_fast) = metering.take(allowance) => Err(refused(ErrorCode::RateLimited, too_fast.to_string())),
                Line::TooLong => {
                    self.metrics.limit_hit(LimitKey::MessageBytes);
                    Err(refused(ErrorCode::MessageTooLarge, "the line is longer than a message may be".to_owned()))
                }
                Line::Whole(text) => match batch::entry(number, text.trim_ascii()) {
                    Ok(entry) => self.line(caller, allowance.payer(), number, entry).await,
                    Err(error) => Err(error),
                },
            };
            match outcome {
                Ok(()) => told.published += 1,
                Err(error) => {
                    self.metrics.command_error(error.code);
                    told.tell(error);
                }
            }
        }
        Ok(json_of(&told))
    }

    async fn line(&self, caller: &Caller<'_>, payer: &Payer, number: usize, entry: batch::Entry<'_>) -> Result<(), LineError> {
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
        match self.hub.publish(&topic, publication(data.as_bytes(), PayloadKind::Json, payer)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(refused(error.code(), error.to_string())),
        }
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

fn publication<'a>(payload: &'a [u8], kind: PayloadKind, payer: &'a Payer) -> Publication<'a> {
    Publication { payload, kind, except: None, source: PublishSource::Http, payer: Some(payer) }
}
