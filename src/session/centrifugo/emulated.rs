//! Emulated sessions of Centrifugo's protocol: a stream carries the replies, and requests to `/emulation` carry the commands.

use std::sync::Arc;

use bytes::Bytes;

use super::commands::Centrifugo;
use super::session_address::EmulatedAddress;
use crate::auth::{AuthError, Identity};
use crate::dialect::centrifugo::Wire;
use crate::session::carriers::RequestCarrier;
use crate::session::principal::Principal;
use crate::session::reading::Session;
use crate::session::rejected::Rejected;
use crate::session::services::Services;
use crate::session_id::SessionId;
use crate::shard::Reader;

/// The parameters of an emulated session, from the request for its stream.
pub struct EmulatedOpening {
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
pub fn open_emulated(opening: EmulatedOpening, services: &Arc<Services>) -> Box<dyn Reader> {
    let EmulatedOpening { id, wire, identity, first, node } = opening;
    let identity = match identity {
        Ok(identity) => identity,
        Err(error) => return Rejected::new(error),
    };
    let (config, now) = (services.live.load(), services.clock.moment());
    let emulated_address = EmulatedAddress::new(&node);
    let carrier = RequestCarrier::new(emulated_address.secret(), first, now);
    let principal = Principal::new(id, identity, services);
    Box::new(Session::new(carrier, Centrifugo::new(wire, principal, Some(emulated_address), &config.limits, now)))
}
