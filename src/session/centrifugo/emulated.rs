//! A session of Centrifugo's protocol over HTTP: replies are the body of a long answer, commands come in requests of their own.

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
use crate::session::turned_away::TurnedAway;
use crate::session_id::SessionId;
use crate::shard::Reader;

/// How such a session begins, as the request for its stream said.
pub struct Emulated {
    /// The session's name.
    pub id: SessionId,
    /// How the protocol is spelt.
    pub wire: Wire,
    /// Who it is by the request's credential; `Ok(None)`: nobody yet.
    pub identity: Result<Option<Arc<Identity>>, AuthError>,
    /// The first frame: `connect`, and what the client has put behind it.
    pub first: Bytes,
    /// The gateway, as its clients name it to find the session.
    pub node: Arc<str>,
}

/// The session's reading side, ready for a shard.
pub fn emulate(emulated: Emulated, surroundings: &Arc<Surroundings>) -> Box<dyn Reader> {
    let Emulated { id, wire, identity, first, node } = emulated;
    let identity = match identity {
        Ok(identity) => identity,
        Err(error) => return TurnedAway::new(error),
    };
    let (config, now) = (surroundings.live.load(), surroundings.clock.moment());
    let by_requests = ByRequests::new(&node);
    let carrier = OverRequests::new(by_requests.secret(), first, &config.limits, now);
    let principal = Principal::new(id, identity, surroundings);
    Box::new(Session::new(carrier, Centrifugo::new(wire, principal, Some(by_requests), &config.limits, now)))
}
