//! Commands for a session of another gateway, forwarded to that gateway over core NATS.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Message, Request, RequestErrorKind, SubscribeError};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;

use super::gateway_id::GatewayId;
use crate::session_id::Forwarded;

/// How long the other gateway may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How many forwarded requests the gateway handles at a time. As many more may wait on the connection.
pub const REQUESTS_MAX: usize = 64;

/// Why it is unknown what became of a forwarded frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each error says what it is")]
pub enum ForwardError {
    #[error("a command for a session of another gateway has at most {0} bytes")]
    TooLong(usize),
    #[error("the session's gateway can't be reached now")]
    Unanswered,
}

/// Hands a frame to the session of this gateway that has the given name.
pub type CommandHandler = Arc<dyn Fn(String, Bytes) -> BoxFuture<'static, Forwarded> + Send + Sync>;

/// Forwards `frame` to `session` of the gateway `node`.
pub async fn forward(client: &Client, node: &str, session: &str, frame: &[u8]) -> Result<Forwarded, ForwardError> {
    // The client chooses the text of `node`. In a subject, `*` and `.` would have a meaning.
    let Some(node) = GatewayId::parse(node) else { return Ok(Forwarded::NoSession) };
    let most = client.server_info().max_payload.saturating_sub(session.len() + 1);
    if client.connection_state() != State::Connected {
        return Err(ForwardError::Unanswered);
    }
    if frame.len() > most {
        return Err(ForwardError::TooLong(most));
    }
    let payload = [session.as_bytes(), b"\n", frame].concat();
    let request = Request::new().payload(payload.into()).timeout(Some(ANSWER_TIMEOUT));
    match client.send_request(subject(node), request).await {
        Ok(answer) => read_answer(&answer.payload).ok_or(ForwardError::Unanswered),
        Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(Forwarded::NoSession),
        Err(_) => Err(ForwardError::Unanswered),
    }
}

/// Answers requests that other gateways forward to sessions of this one, `node`, for as long as the future is polled.
pub async fn serve(client: &Client, node: &str, handler: &CommandHandler) -> Result<(), SubscribeError> {
    let requests = client.subscribe(subject(node)).await?;
    requests
        .for_each_concurrent(REQUESTS_MAX, |message| async move {
            let Message { reply: Some(reply), payload, .. } = message else { return };
            let forwarded = match read_request(&payload) {
                Some((session, frame)) => handler(session, frame).await,
                None => Forwarded::NoSession,
            };
            // An answer that is lost is a timeout for the gateway that asked.
            _ = client.publish(reply, Bytes::from_static(write_answer(forwarded))).await;
        })
        .await;
    Ok(())
}

fn subject(node: impl std::fmt::Display) -> String {
    format!("$belfry.emulation.{node}")
}

fn read_request(payload: &Bytes) -> Option<(String, Bytes)> {
    let end = payload.iter().position(|byte| *byte == b'\n')?;
    let session = std::str::from_utf8(payload.get(..end)?).ok()?.to_owned();
    Some((session, payload.slice(end + 1..)))
}

fn write_answer(forwarded: Forwarded) -> &'static [u8] {
    match forwarded {
        Forwarded::Accepted => b"taken",
        Forwarded::Full => b"full",
        Forwarded::NoSession => b"nobody",
    }
}

fn read_answer(payload: &[u8]) -> Option<Forwarded> {
    [Forwarded::Accepted, Forwarded::Full, Forwarded::NoSession].into_iter().find(|forwarded| write_answer(*forwarded) == payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_round_trip() {
        let request = Bytes::from_static(b"session1\n{\"a\":1}\n{}");
        assert_eq!(read_request(&request), Some(("session1".to_owned(), Bytes::from_static(b"{\"a\":1}\n{}"))));
        assert_eq!((read_request(&Bytes::from_static(b"session")), read_answer(b"")), (None, None));
        for forwarded in [Forwarded::Accepted, Forwarded::Full, Forwarded::NoSession] {
            assert_eq!(read_answer(write_answer(forwarded)), Some(forwarded));
        }
    }
}
