//! Requests to JetStream's API, which a stream's leader answers in JSON.

use std::ops::RangeInclusive;
use std::time::Duration;

use async_nats::{Client, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::follower::{StoredMessage, StreamInfo};
use crate::config::Stream;
use crate::position::Epoch;

/// How long a request waits for its answer. The election of a leader takes longer, so callers try again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The code of an answer about a stream or a message that does not exist.
const NOT_FOUND: u64 = 404;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("no answer to {subject}: {source}")]
    Unanswered { subject: String, source: async_nats::RequestError },
    #[error("{subject} was refused: {description} (code {code}, error {error_code})")]
    Refused {
        subject: String,
        /// A code like those of HTTP.
        code: u64,
        error_code: u64,
        description: String,
    },
    #[error("the answer to {subject} can't be read")]
    Unreadable { subject: String },
}

impl ApiError {
    /// Whether the requested stream or message does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: NOT_FOUND, .. })
    }
}

/// Sends a request to JetStream's API.
pub async fn request(client: &Client, what: &str, body: &Value) -> Result<Value, ApiError> {
    let subject = format!("$JS.API.{what}");
    let payload = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::new().payload(payload.into()).timeout(Some(ANSWER_TIMEOUT));
    let answer = client.send_request(subject.clone(), request).await;
    let answer = answer.map_err(|source| ApiError::Unanswered { subject: subject.clone(), source })?;
    let answer: Value = serde_json::from_slice(&answer.payload).map_err(|_| ApiError::Unreadable { subject: subject.clone() })?;
    match answer.get("error") {
        None => Ok(answer),
        Some(error) => Err(ApiError::Refused {
            subject,
            code: error["code"].as_u64().unwrap_or(0),
            error_code: error["err_code"].as_u64().unwrap_or(0),
            description: error["description"].as_str().unwrap_or_default().to_owned(),
        }),
    }
}

/// The numbers of the first and the last message of a stream.
pub async fn first_and_last(client: &Client, stream: &Stream) -> Result<(u64, u64), ApiError> {
    let what = format!("STREAM.INFO.{}", stream.name);
    let answer = request(client, &what, &Value::Null).await?;
    let state = &answer["state"];
    match (state["first_seq"].as_u64(), state["last_seq"].as_u64()) {
        (Some(first), Some(last)) => Ok((first, last)),
        _ => Err(ApiError::Unreadable { subject: what }),
    }
}

/// What the leader says about a stream. `recognizable` is that of the follower. The first and the last number are asked
/// first: messages may be added between the requests, but the last one does not disappear.
pub async fn stream_info(client: &Client, stream: &Stream, recognizable: Option<RangeInclusive<u64>>) -> Result<StreamInfo, ApiError> {
    let (first, last) = first_and_last(client, stream).await?;
    let what = format!("STREAM.MSG.GET.{}", stream.name);
    let epoch = match request(client, &what, &json!({ "last_by_subj": stream.epoch_subject() })).await {
        Ok(answer) => {
            let message = &answer["message"];
            let Some(sequence) = message["seq"].as_u64() else { return Err(ApiError::Unreadable { subject: what }) };
            let data = STANDARD.decode(message["data"].as_str().unwrap_or_default()).unwrap_or_default();
            Some((sequence, parse_epoch(&data)))
        }
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    let recognized = match recognizable {
        Some(numbers) => newest_message(client, &what, numbers).await?,
        None => None,
    };
    Ok(StreamInfo { first, last, epoch, recognized })
}

/// The newest message of the stream whose number is in `numbers`. It mostly is the last of them; if not, a binary
/// search finds it.
async fn newest_message(client: &Client, what: &str, numbers: RangeInclusive<u64>) -> Result<Option<StoredMessage>, ApiError> {
    let (mut least, most) = numbers.into_inner();
    let (mut number, mut above, mut newest) = (most, most + 1, None);
    while least < above {
        match first_message_from(client, what, number).await? {
            Some(found) if found.sequence <= most => {
                least = found.sequence + 1;
                newest = Some(found);
            }
            _ => above = number,
        }
        number = least + above.saturating_sub(least) / 2;
    }
    Ok(newest)
}

/// The first message of the stream from that number on.
async fn first_message_from(client: &Client, what: &str, number: u64) -> Result<Option<StoredMessage>, ApiError> {
    let unreadable = || ApiError::Unreadable { subject: what.to_owned() };
    let message = match request(client, what, &json!({ "seq": number, "next_by_subj": ">" })).await {
        Ok(mut answer) => answer["message"].take(),
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let stored_at = nanoseconds(message["time"].as_str().unwrap_or_default());
    let found = message["seq"].as_u64().zip(stored_at).map(|(sequence, stored_at)| StoredMessage { sequence, stored_at });
    found.map(Some).ok_or_else(unreadable)
}

/// The time in RFC 3339, in nanoseconds since 1970.
fn nanoseconds(text: &str) -> Option<u64> {
    u64::try_from(OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos()).ok()
}

/// The epoch in the payload of an epoch message.
pub fn parse_epoch(payload: &[u8]) -> Option<Epoch> {
    Epoch::parse(std::str::from_utf8(payload).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_parsed_to_the_nanosecond() {
        assert_eq!(nanoseconds("2001-09-09T01:46:40.000000123Z"), Some(1_000_000_000_000_000_123));
        assert_eq!((nanoseconds("2001-09-09T03:46:40+02:00"), nanoseconds("")), (Some(1_000_000_000_000_000_000), None));
    }
}
