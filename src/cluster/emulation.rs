//! Requests that speak for a session of another gateway, passed on to it over core NATS.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Message, Request, RequestErrorKind, SubscribeError};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;

/// How long the other gateway may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests of others that are looked at at a time; as many may wait on the connection.
pub const REQUESTS_MAX: usize = 64;

/// What became of what a request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// The session has it.
    Taken,
    /// Much waits for the session already.
    Full,
    /// There is no such session.
    Nobody,
}

/// Why it is not known what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreached {
    /// It does not fit a message.
    #[error("what is said to a session of another gateway has {0} bytes at most")]
    TooLong(usize),
    /// Nobody has answered.
    #[error("the session's gateway can't be reached now")]
    Unanswered,
}

/// Says a frame to a session of this gateway.
pub type Ear = Arc<dyn Fn(String, Bytes) -> BoxFuture<'static, Reached> + Send + Sync>;

/// Says `frame` to `session` of the gateway that clients know as `node`.
pub async fn speak(client: &Client, node: &str, session: &str, frame: &[u8]) -> Result<Reached, Unreached> {
    if !is_node(node) {
        return Ok(Reached::Nobody);
    }
    let most = client.server_info().max_payload.saturating_sub(session.len() + 1);
    if client.connection_state() != State::Connected {
        return Err(Unreached::Unanswered);
    }
    if frame.len() > most {
        return Err(Unreached::TooLong(most));
    }
    let payload = [session.as_bytes(), b"\n", frame].concat();
    let request = Request::new().payload(payload.into()).timeout(Some(ANSWER_TIMEOUT));
    match client.send_request(subject(node), request).await {
        Ok(answer) => read_answer(&answer.payload).ok_or(Unreached::Unanswered),
        Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(Reached::Nobody),
        Err(_) => Err(Unreached::Unanswered),
    }
}

/// Hears what other gateways pass on to sessions of this one, `node`, for as long as the future is polled.
pub async fn listen(client: &Client, node: &str, ear: &Ear) -> Result<(), SubscribeError> {
    let requests = client.subscribe(subject(node)).await?;
    requests
        .for_each_concurrent(REQUESTS_MAX, |message| async move {
            let Message { reply: Some(reply), payload, .. } = message else { return };
            let reached = match read_request(&payload) {
                Some((session, frame)) => ear(session, frame).await,
                None => Reached::Nobody,
            };
            _ = client.publish(reply, Bytes::from_static(write_answer(reached))).await; // who asks waits for a time only
        })
        .await;
    Ok(())
}

fn subject(node: &str) -> String {
    format!("$belfry.emulation.{node}")
}

/// A client says the name, and it stands in a subject.
fn is_node(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn read_request(payload: &Bytes) -> Option<(String, Bytes)> {
    let end = payload.iter().position(|byte| *byte == b'\n')?;
    let session = std::str::from_utf8(payload.get(..end)?).ok()?.to_owned();
    Some((session, payload.slice(end + 1..)))
}

fn write_answer(reached: Reached) -> &'static [u8] {
    match reached {
        Reached::Taken => b"taken",
        Reached::Full => b"full",
        Reached::Nobody => b"nobody",
    }
}

fn read_answer(payload: &[u8]) -> Option<Reached> {
    [Reached::Taken, Reached::Full, Reached::Nobody].into_iter().find(|reached| write_answer(*reached) == payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_comes_as_it_went() {
        let request = Bytes::from_static(b"session1\n{\"a\":1}\n{}");
        assert_eq!(read_request(&request), Some(("session1".to_owned(), Bytes::from_static(b"{\"a\":1}\n{}"))));
        assert_eq!((read_request(&Bytes::from_static(b"session")), read_answer(b"")), (None, None));
        for reached in [Reached::Taken, Reached::Full, Reached::Nobody] {
            assert_eq!(read_answer(write_answer(reached)), Some(reached));
        }
        assert!(is_node("0123456789abcdef") && !is_node("0123456789abcde*") && !is_node("") && !is_node("0123456789ABCDEF"));
    }
}
