//! Emulated sessions of Centrifugo's protocol: a stream carries the replies, and requests to `/emulation` carry the commands.

use std::sync::Arc;

use bytes::Bytes;

use super::commands::Centrifugo;
use super::spoken_for::ByRequests;
use crate::auth::{AuthError, Identity};
use crate::dialect::centrifugo::Wire;
use crate::session::opening::Surroundings;
use crate::session::over_requests::OverRequests;
use crate::session::principal::Principal;
use crate::session::reading::Session;
use crate::session::rejected::Rejected;
use crate::session_id::SessionId;
use crate::shard::Reader;

/// The parameters of an emulated session, from the request for its stream.
pub struct Emulated {
    /// The session's id.
    pub id: SessionId,
    /// The encoding, JSON or protobuf.
    pub wire: Wire,
    /// The identity of the request's credential; `Ok(None)`: the request had none.
    pub identity: Result<Option<Arc<Identity>>, AuthError>,
    /// The first frame: `connect`, and any commands behind it.
    pub first: Bytes,
    /// The name of the gateway, by which clients address the session.
    pub node: Arc<str>,
}

/// The reading side of an emulated session, ready for a shard.
pub fn emulate(emulated: Emulated, surroundings: &Arc<Surroundings>) -> Box<dyn Reader> {
    let Emulated { id, wire, identity, first, node } = emulated;
    let identity = match identity {
        Ok(identity) => identity,
        Err(error) => return Rejected::new(error),
    };
    let (config, now) = (surroundings.live.load(), surroundings.clock.moment());
    let by_requests = ByRequests::new(&node);
    let carrier = OverRequests::new(by_requests.secret(), first, now);
    let principal = Principal::new(id, identity, surroundings);
    Box::new(Session::new(carrier, Centrifugo::new(wire, principal, Some(by_requests), &config.limits, now)))
}
