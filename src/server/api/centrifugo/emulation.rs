//! `/emulation`: commands for sessions whose own connection is a stream, which only carries events to the client.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::StatusCode;

use crate::cluster::{Cluster, CommandHandler, ForwardError};
use crate::codes::ErrorCode;
use crate::dialect::centrifugo::Wire;
use crate::server::limits::{HttpBytes, Reservation};
use crate::server::response::{Answer, Problem, empty};
use crate::session::SessionAddress;
use crate::session_id::Forwarded;
use crate::shard::Shards;

/// `Retry-After` where a session has too many unread commands, in seconds.
const RETRY_SECONDS: u64 = 1;

/// Finds sessions by node and id, at this gateway or at another.
pub struct Directory {
    node: Arc<str>,
    shards: Arc<Shards>,
    cluster: Option<Arc<Cluster>>,
}

impl Directory {
    /// The sessions of `shards`, which clients address by `node`, and those of the other gateways of `cluster`.
    pub fn new(node: &Arc<str>, shards: &Arc<Shards>, cluster: Option<&Arc<Cluster>>) -> Self {
        Self { node: Arc::clone(node), shards: Arc::clone(shards), cluster: cluster.cloned() }
    }

    /// Passes the commands in `body` to the session that it names. `reservation` holds their bytes until the session has
    /// handled them.
    pub async fn deliver(&self, body: &[u8], wire: Wire, reservation: Reservation) -> Result<Answer, Problem> {
        let read = wire.emulation(body).map_err(|error| Problem::bad_request(error.to_string()))?;
        let forwarded = match (SessionAddress::parse(&read.session), &self.cluster) {
            (Some(address), _) if *read.node == *self.node => {
                let commands = reservation.into_holding(Bytes::from(read.data.into_owned()));
                self.shards.forward_frame(address.shard, address.secret, commands).await
            }
            (Some(_), Some(cluster)) => {
                cluster.forward(&read.node, &read.session, &read.data).await.map_err(|error| unavailable(&error))?
            }
            _ => Forwarded::NoSession,
        };
        match forwarded {
            Forwarded::Accepted => Ok(empty(StatusCode::NO_CONTENT)),
            Forwarded::Full => {
                let detail = "as many bytes wait for the session as limits.frame_bytes allows";
                Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, detail).retry_after(RETRY_SECONDS))
            }
            Forwarded::NoSession => Err(Problem::not_found("no gateway has such a session")),
        }
    }
}

/// The handler of commands that other gateways forward to sessions of `shards`. Their bytes count in `http_bytes` until the
/// session has handled them.
pub fn forwarded_commands(shards: &Arc<Shards>, account: &Arc<HttpBytes>) -> CommandHandler {
    let (shards, account) = (Arc::clone(shards), Arc::clone(account));
    Arc::new(move |session: String, commands: Bytes| -> BoxFuture<'static, Forwarded> {
        let (shards, reserved) = (Arc::clone(&shards), account.reserve(commands.len()));
        Box::pin(async move {
            match (SessionAddress::parse(&session), reserved) {
                (Some(address), Ok(reservation)) => {
                    shards.forward_frame(address.shard, address.secret, reservation.into_holding(commands)).await
                }
                (Some(_), Err(_)) => Forwarded::Full,
                (None, _) => Forwarded::NoSession,
            }
        })
    })
}

fn unavailable(error: &ForwardError) -> Problem {
    match error {
        ForwardError::TooLong(_) => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::MessageTooLarge, error.to_string()),
        ForwardError::Unanswered => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, error.to_string()).retry_after(RETRY_SECONDS)
        }
    }
}
