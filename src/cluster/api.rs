//! JetStream's API: questions to a stream's leader, in JSON over a request.

use std::time::Duration;

use async_nats::{Client, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::follower::Found;
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

/// What the leader says of a stream that is known up to the number `known_to`. The ends are asked first: a message may come between, but
/// none goes.
pub async fn find(client: &Client, stream: &Stream, known_to: Option<u64>) -> Result<Found, AskError> {
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
    let stored_at = match known_to {
        Some(number) => stored_at(client, &what, number).await?,
        None => None,
    };
    Ok(Found { first, last, life, stored_at })
}

/// When the message with that number was stored, in nanoseconds; `None`: there is none.
async fn stored_at(client: &Client, what: &str, number: u64) -> Result<Option<u64>, AskError> {
    let unreadable = || AskError::Unreadable { subject: what.to_owned() };
    match ask(client, what, &json!({ "seq": number })).await {
        Ok(answer) => nanoseconds(answer["message"]["time"].as_str().unwrap_or_default()).map(Some).ok_or_else(unreadable),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
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
