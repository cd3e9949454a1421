//! Publishes over HTTP: one message, or a batch of lines.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::batch::{self, LineError};
use super::idempotency::Idempotency;
use super::metering::{Allowance, Metering, TooFast};
use crate::clock::Clock;
use crate::codes::ErrorCode;
use crate::config::Live;
use crate::dialect::is_json_text;
use crate::hub::{Hub, Payer, PayloadKind, Publication, PublishError, Receipt, Submitted};
use crate::metrics::{LimitKey, Metrics, PublishSource};
use crate::position::Position;
use crate::server::request::{BodyError, BodyLines, Caller, Line};
use crate::server::response::{Answer, Problem, json_of};
use crate::topic_name::TopicName;

/// The largest number of errors in the answer to a batch. Further errors are only counted, so that the answer stays
/// small.
const ERRORS_LISTED_MAX: usize = 1_000;
/// Lines that are published before the task yields to others of its thread.
const LINES_AT_ONCE: usize = 64;
/// The largest number of lines that wait for an engine's answer.
const LINES_AWAITED_MAX: usize = 256;

/// Publishes the messages of HTTP requests.
pub struct Publishing {
    hub: Arc<Hub>,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    idempotency: Idempotency,
}

#[derive(serde::Serialize)]
struct Published<'a> {
    topic: &'a str,
    offset: u64,
    epoch: &'a str,
}

#[derive(serde::Serialize)]
struct BatchAnswer {
    published: usize,
    errors: Vec<LineError>,
    /// The number of errors beyond [`ERRORS_LISTED_MAX`].
    #[serde(skip_serializing_if = "is_zero")]
    errors_unlisted: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl BatchAnswer {
    /// Refuses every line that was received so far. Returns their number.
    fn refuse_received(&mut self, lines: &mut BodyLines, number: &mut usize, too_fast: TooFast) -> usize {
        let mut refused = 0;
        lines.drop_whole(|is_blank| {
            *number += 1;
            if is_blank {
                return;
            }
            refused += 1;
            self.list(|| LineError { line: *number, code: ErrorCode::RateLimited, message: too_fast.to_string() });
        });
        refused
    }

    /// Counts the outcome of a line.
    fn count(&mut self, outcome: Result<(), LineError>, metrics: &Metrics) {
        match outcome {
            Ok(()) => self.published += 1,
            Err(error) => {
                metrics.count(error.code, 1);
                self.list(|| error);
            }
        }
    }

    /// Adds an error to the list, if there is room. It is made only then, because a body may have millions of bad lines.
    fn list(&mut self, error: impl FnOnce() -> LineError) {
        if self.errors.len() < ERRORS_LISTED_MAX {
            self.errors.push(error());
        } else {
            self.errors_unlisted += 1;
        }
    }
}

impl Publishing {
    /// Publishes to topics of `hub`.
    pub fn new(hub: &Arc<Hub>, live: &Arc<Live>, metrics: &Arc<Metrics>, clock: &Clock) -> Self {
        let idempotency = Idempotency::new(live, metrics, clock);
        Self { hub: Arc::clone(hub), live: Arc::clone(live), metrics: Arc::clone(metrics), idempotency }
    }

    /// As [`Publishing::publish`], but does not wait for an engine's answer to a message without a key.
    pub async fn submit(&self, topic: &TopicName, publication: Publication<'_>, key: Option<&str>) -> Result<Submitted, PublishError> {
        match key {
            None => self.hub.submit(topic, publication).await,
            Some(_) => self.publish(topic, publication, key).await.map(Submitted::Published),
        }
    }

    /// Publishes, or returns the position of the earlier message with this `key`.
    pub async fn publish(&self, topic: &TopicName, publication: Publication<'_>, key: Option<&str>) -> Result<Position, PublishError> {
        match key {
            None => self.hub.publish(topic, publication).await,
            Some(key) => self.idempotency.once(topic, key, self.hub.publish(topic, publication)).await,
        }
    }

    /// `POST /v1/topics/{topic}`: the body is the message; `key` is its `Idempotency-Key`.
    pub async fn publish_body(&self, allowance: &Allowance, topic: &TopicName, body: Bytes, key: Option<&str>) -> Result<Answer, Problem> {
        let publication = publication(&body, kind_of(&body), &allowance.payer);
        let position = self.publish(topic, publication, key).await?;
        let published = Published { topic: topic.as_str(), offset: position.offset.0, epoch: position.epoch.as_str() };
        Ok(json_of(&published))
    }

    /// `POST /v1/publish`: publishes each valid line as it is received, and reports the others. A line costs one unit.
    /// If the bucket is empty, that line and all lines that were received with it are refused unread. If the body
    /// breaks off, the lines before stay published.
    pub async fn publish_lines(
        &self,
        caller: &Caller<'_>,
        metering: &Metering,
        allowance: &Allowance,
        lines: &mut BodyLines,
    ) -> Result<Answer, BodyError> {
        let mut answer = BatchAnswer { published: 0, errors: Vec::new(), errors_unlisted: 0 };
        let mut awaited: VecDeque<(usize, Receipt)> = VecDeque::new();
        let mut number = 0;
        while let Some(line) = lines.next().await? {
            number += 1;
            if number % LINES_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
            let refused = |code, message: String| LineError { line: number, code, message };
            let outcome = match line {
                Line::Whole(text) if text.trim_ascii().is_empty() => continue,
                _ if let Err(too_fast) = metering.take(allowance) => {
                    answer.list(|| refused(ErrorCode::RateLimited, too_fast.to_string()));
                    let others = answer.refuse_received(lines, &mut number, too_fast) as u64;
                    self.metrics.count(ErrorCode::RateLimited, 1 + others);
                    // The hit of the first line is counted where the unit was not taken.
                    self.metrics.count(LimitKey::CommandsPerSecond, others);
                    tokio::task::yield_now().await;
                    continue;
                }
                Line::TooLong => {
                    self.metrics.limit_hit(LimitKey::MessageBytes);
                    Err(refused(ErrorCode::MessageTooLarge, "the line is longer than a message may be".to_owned()))
                }
                Line::Whole(text) => match batch::entry(number, text.trim_ascii()) {
                    Ok(entry) => self.publish_line(caller, &allowance.payer, number, entry).await,
                    Err(error) => Err(error),
                },
            };
            match outcome {
                Ok(Submitted::Awaited(receipt)) => awaited.push_back((number, receipt)),
                Ok(Submitted::Published(_)) => answer.count(Ok(()), &self.metrics),
                Err(error) => answer.count(Err(error), &self.metrics),
            }
            if awaited.len() >= LINES_AWAITED_MAX
                && let Some(first) = awaited.pop_front()
            {
                answer.count(answered(first).await, &self.metrics);
            }
        }
        for line in awaited {
            answer.count(answered(line).await, &self.metrics);
        }
        answer.errors.sort_by_key(|error| error.line);
        Ok(json_of(&answer))
    }

    async fn publish_line(
        &self,
        caller: &Caller<'_>,
        payer: &Payer,
        number: usize,
        entry: batch::Entry<'_>,
    ) -> Result<Submitted, LineError> {
        let refused = |code, message: String| LineError { line: number, code, message };
        let batch::Entry { topic, data } = entry;
        let message_bytes = self.live.load().limits.message_bytes;
        if data.len() > message_bytes {
            self.metrics.limit_hit(LimitKey::MessageBytes);
            let message = format!("data has {} bytes, the most is {message_bytes}", data.len());
            return Err(refused(ErrorCode::MessageTooLarge, message));
        }
        if !is_json_text(data.as_bytes()) {
            return Err(refused(ErrorCode::BadRequest, "data is nested deeper than 64".to_owned()));
        }
        if !caller.identity().is_some_and(|identity| identity.grants.may_publish(&topic)) {
            return Err(refused(ErrorCode::NotAllowed, format!("publishing to {topic} is not allowed")));
        }
        let submitted = self.hub.submit(&topic, publication(data.as_bytes(), PayloadKind::Json, payer)).await;
        submitted.map_err(|error| refused(error.code(), error.to_string()))
    }
}

/// The outcome of a line that waits for an engine.
async fn answered((line, receipt): (usize, Receipt)) -> Result<(), LineError> {
    let position = receipt.answer().await;
    position.map(|_| ()).map_err(|error| LineError { line, code: error.code(), message: error.to_string() })
}

/// The kind of a body: JSON is delivered unchanged, other text as a string, other bytes as Base64.
pub fn kind_of(body: &[u8]) -> PayloadKind {
    if is_json_text(body) {
        PayloadKind::Json
    } else if std::str::from_utf8(body).is_ok() {
        PayloadKind::Text
    } else {
        PayloadKind::Binary
    }
}

fn publication<'a>(payload: &'a [u8], kind: PayloadKind, payer: &'a Payer) -> Publication<'a> {
    Publication { payload, kind, except: None, source: PublishSource::Http, payer: Some(payer), extra: None }
}
