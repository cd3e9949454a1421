//! JetStream's API: questions to a stream's leader, in JSON over a request.

use std::ops::RangeInclusive;
use std::time::Duration;

use async_nats::{Client, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::follower::{Found, Kept};
use crate::config::Stream;
use crate::position::Epoch;

/// How long an answer is awaited. An election takes longer, so whoever asks asks again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The code of a stream or a message that is not there.
const NOT_FOUND: u64 = 404;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody has answered.
    #[error("no answer to {subject}: {source}")]
    Unanswered {
        /// What was asked.
        subject: String,
        /// Why.
        source: async_nats::RequestError,
    },
    /// The answer says no.
    #[error("{subject} was refused: {description} (code {code}, error {error_code})")]
    Refused {
        /// What was asked.
        subject: String,
        /// As HTTP has it.
        code: u64,
        /// The servers' own number of the error.
        error_code: u64,
        /// In words.
        description: String,
    },
    /// The answer is none.
    #[error("the answer to {subject} can't be read")]
    Unreadable {
        /// What was asked.
        subject: String,
    },
}

impl AskError {
    /// Whether what was asked for is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: NOT_FOUND, .. })
    }
}

/// Asks JetStream's API.
pub async fn ask(client: &Client, what: &str, body: &Value) -> Result<Value, AskError> {
    let subject = format!("$JS.API.{what}");
    let payload = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::new().payload(payload.into()).timeout(Some(ANSWER_TIMEOUT));
    let answer = client.send_request(subject.clone(), request).await;
    let answer = answer.map_err(|source| AskError::Unanswered { subject: subject.clone(), source })?;
    let answer: Value = serde_json::from_slice(&answer.payload).map_err(|_| AskError::Unreadable { subject: subject.clone() })?;
    match answer.get("error") {
        None => Ok(answer),
        Some(error) => Err(AskError::Refused {
            subject,
            code: error["code"].as_u64().unwrap_or(0),
            error_code: error["err_code"].as_u64().unwrap_or(0),
            description: error["description"].as_str().unwrap_or_default().to_owned(),
        }),
    }
}

/// The first and the last number of a stream.
pub async fn ends(client: &Client, stream: &Stream) -> Result<(u64, u64), AskError> {
    let what = format!("STREAM.INFO.{}", stream.name);
    let answer = ask(client, &what, &Value::Null).await?;
    let state = &answer["state"];
    match (state["first_seq"].as_u64(), state["last_seq"].as_u64()) {
        (Some(first), Some(last)) => Ok((first, last)),
        _ => Err(AskError::Unreadable { subject: what }),
    }
}

/// What the leader says of a stream of which `known` numbers would be known again. The ends are asked first: a message may come between, but
/// none goes.
pub async fn find(client: &Client, stream: &Stream, known: Option<RangeInclusive<u64>>) -> Result<Found, AskError> {
    let (first, last) = ends(client, stream).await?;
    let what = format!("STREAM.MSG.GET.{}", stream.name);
    let life = match ask(client, &what, &json!({ "last_by_subj": stream.life_subject() })).await {
        Ok(answer) => {
            let message = &answer["message"];
            let Some(sequence) = message["seq"].as_u64() else { return Err(AskError::Unreadable { subject: what }) };
            let data = STANDARD.decode(message["data"].as_str().unwrap_or_default()).unwrap_or_default();
            Some((sequence, epoch_in(&data)))
        }
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    let kept = match known {
        Some(known) => newest_kept(client, &what, known).await?,
        None => None,
    };
    Ok(Found { first, last, life, kept })
}

/// The newest message that the stream has with one of `numbers`. Mostly that is the last of them; where it is gone, halving finds which.
async fn newest_kept(client: &Client, what: &str, numbers: RangeInclusive<u64>) -> Result<Option<Kept>, AskError> {
    let (mut least, most) = numbers.into_inner();
    let (mut number, mut above, mut newest) = (most, most + 1, None);
    while least < above {
        match first_kept_from(client, what, number).await? {
            Some(kept) if kept.sequence <= most => {
                least = kept.sequence + 1;
                newest = Some(kept);
            }
            _ => above = number,
        }
        number = least + above.saturating_sub(least) / 2;
    }
    Ok(newest)
}

/// The first message that the stream has from that number on.
async fn first_kept_from(client: &Client, what: &str, number: u64) -> Result<Option<Kept>, AskError> {
    let unreadable = || AskError::Unreadable { subject: what.to_owned() };
    let message = match ask(client, what, &json!({ "seq": number, "next_by_subj": ">" })).await {
        Ok(mut answer) => answer["message"].take(),
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let stored_at = nanoseconds(message["time"].as_str().unwrap_or_default());
    let kept = message["seq"].as_u64().zip(stored_at).map(|(sequence, stored_at)| Kept { sequence, stored_at });
    kept.map(Some).ok_or_else(unreadable)
}

/// A moment as the servers write it, in nanoseconds since 1970.
fn nanoseconds(text: &str) -> Option<u64> {
    u64::try_from(OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos()).ok()
}

/// The epoch that a message names.
pub fn epoch_in(payload: &[u8]) -> Option<Epoch> {
    Epoch::parse(std::str::from_utf8(payload).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_to_the_nanosecond() {
        assert_eq!(nanoseconds("2001-09-09T01:46:40.000000123Z"), Some(1_000_000_000_000_000_123));
        assert_eq!((nanoseconds("2001-09-09T03:46:40+02:00"), nanoseconds("")), (Some(1_000_000_000_000_000_000), None));
    }
}
