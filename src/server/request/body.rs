//! Reads request bodies whole, with a bound on their size and on the time without a new byte.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::{HeaderMap, StatusCode, header};

use crate::codes::ErrorCode;
use crate::metrics::LimitKey;
use crate::server::limits::{HttpBytes, NoBytes, Reservation};
use crate::server::response::Problem;

/// The most bytes of a refused body that are read and discarded, so that the client gets the answer and not a reset.
const DISCARDED_BYTES_MAX: usize = 16 << 20;

/// The longest time of that. The peer has the answer meanwhile.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(2);

/// Why a body was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Longer than the bound: 413.
    #[error("the body is longer than {bytes_max} bytes")]
    TooLong {
        /// The bound.
        bytes_max: usize,
    },
    /// No new byte within `body_timeout`: 408.
    #[error("no byte of the body came in time")]
    TooSlow,
    /// `limits.http_bytes` is exhausted: 503.
    #[error(transparent)]
    NoRoom(#[from] NoBytes),
    /// The connection broke, or the chunks are malformed: 400.
    #[error("the body could not be read")]
    Broken,
}

impl BodyError {
    /// The limit that refused the body, if one did; `longest` is the limit of its length.
    pub fn limit(self, longest: LimitKey) -> Option<LimitKey> {
        match self {
            Self::TooLong { .. } => Some(longest),
            Self::TooSlow => Some(LimitKey::BodyTimeout),
            Self::Broken | Self::NoRoom(_) => None,
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLong { .. } => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::MessageTooLarge, error.to_string()).closing()
            }
            BodyError::TooSlow => Problem::of_http(StatusCode::REQUEST_TIMEOUT, "timeout", error.to_string()).closing(),
            BodyError::NoRoom(full) => Problem::from(full).closing(),
            BodyError::Broken => Problem::bad_request(error.to_string()).closing(),
        }
    }
}

/// Reads all of `body`, at most `bytes_max` bytes. They count in `account` until the reservation is dropped. `timeout`
/// restarts with each byte. A longer body is refused by its declared length, unread. The bytes are copied, so that a
/// small message does not keep hyper's read buffer alive.
pub async fn read(
    headers: &HeaderMap,
    mut body: Incoming,
    bytes_max: usize,
    timeout: Duration,
    account: &Arc<HttpBytes>,
) -> Result<(Bytes, Reservation), BodyError> {
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > bytes_max {
        refuse(headers, body, timeout);
        return Err(BodyError::TooLong { bytes_max });
    }
    let mut reservation = account.reserve(declared)?;
    let mut bytes = BytesMut::with_capacity(declared);
    while let Some(data) = next_bytes(&mut body, timeout).await? {
        let sum = bytes.len() + data.len();
        if sum > bytes_max {
            discard(body, timeout);
            return Err(BodyError::TooLong { bytes_max });
        }
        if sum > declared {
            reservation.grow(data.len())?;
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.freeze(), reservation))
}

/// Discards the body of a request that was refused by its head, beside the answer, which is written at once. A close
/// while the peer sends would reset the connection, and the peer could lose the answer.
pub fn refuse(headers: &HeaderMap, body: Incoming, timeout: Duration) {
    // A client that waits for 100 Continue has not sent its body (RFC 9110 §10.1.1).
    if !headers.contains_key(header::EXPECT) {
        discard(body, timeout);
    }
}

fn discard(body: Incoming, timeout: Duration) {
    tokio::spawn(tokio::time::timeout(timeout.min(DISCARD_TIME_MAX), drop_all(body)));
}

async fn drop_all(mut body: Incoming) {
    let mut dropped = 0;
    while let Some(Ok(frame)) = body.frame().await {
        dropped += frame.data_ref().map_or(0, Bytes::len);
        if dropped > DISCARDED_BYTES_MAX {
            return;
        }
    }
}

/// The next bytes of `body`; `None` at its end.
pub(super) async fn next_bytes(body: &mut Incoming, timeout: Duration) -> Result<Option<Bytes>, BodyError> {
    loop {
        let frame = tokio::time::timeout(timeout, body.frame()).await.map_err(|_| BodyError::TooSlow)?;
        let Some(frame) = frame else { return Ok(None) };
        if let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() {
            return Ok(Some(data));
        }
    }
}
