//! Request bodies, read whole, up to a bound in bytes and in time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::{HeaderMap, StatusCode, header};

use crate::codes::ErrorCode;
use crate::server::response::Problem;

/// What is read and thrown away of a body that is refused, so that the client sees the answer and not a reset.
const DISCARDED_BYTES_MAX: usize = 16 << 20;

/// Why a body was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Past the bound: 413.
    #[error("the body is longer than {bytes_max} bytes")]
    TooLong {
        /// The bound.
        bytes_max: usize,
    },
    /// Not whole in `body_timeout`: 408.
    #[error("the body did not come in time")]
    TooSlow,
    /// The peer went away, or its chunks can't be read: 400.
    #[error("the body could not be read")]
    Broken,
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLong { .. } => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::MessageTooLarge, error.to_string()).closing()
            }
            BodyError::TooSlow => Problem::of_http(StatusCode::REQUEST_TIMEOUT, "timeout", error.to_string()).closing(),
            BodyError::Broken => Problem::bad_request(error.to_string()).closing(),
        }
    }
}

/// Reads all of `body`, at most `bytes_max` bytes, in `timeout`; a longer one is refused by its declared length alone. The
/// bytes are a copy of their own: a small message must not keep the buffer alive that it was read into.
pub async fn read(headers: &HeaderMap, body: Incoming, bytes_max: usize, timeout: Duration) -> Result<Bytes, BodyError> {
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > bytes_max {
        if !waits_for_leave(headers) {
            // Closing on a peer that still sends would reset the connection under the answer that is on its way.
            tokio::spawn(tokio::time::timeout(timeout, collect(body, 0, 0)));
        }
        return Err(BodyError::TooLong { bytes_max });
    }
    tokio::time::timeout(timeout, collect(body, declared, bytes_max)).await.unwrap_or(Err(BodyError::TooSlow))
}

/// Reads a refused request's body away, for as long as that is cheap.
pub async fn discard(headers: &HeaderMap, body: Incoming, timeout: Duration) {
    if !waits_for_leave(headers) && body.size_hint().lower() <= DISCARDED_BYTES_MAX as u64 {
        let _ = tokio::time::timeout(timeout, collect(body, 0, 0)).await;
    }
}

/// Whether the client sends its body only when told to go on (RFC 9110 §10.1.1).
fn waits_for_leave(headers: &HeaderMap) -> bool {
    headers.contains_key(header::EXPECT)
}

async fn collect(mut body: Incoming, declared: usize, bytes_max: usize) -> Result<Bytes, BodyError> {
    let mut bytes = BytesMut::with_capacity(declared.min(bytes_max));
    let mut discarded = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        if discarded == 0 && bytes.len() + data.len() <= bytes_max {
            bytes.extend_from_slice(&data);
            continue;
        }
        discarded += data.len();
        bytes = BytesMut::new();
        if discarded > DISCARDED_BYTES_MAX {
            break;
        }
    }
    if discarded > 0 { Err(BodyError::TooLong { bytes_max }) } else { Ok(bytes.freeze()) }
}
