//! The reading side of sessions: from a connection's bytes to commands, and from commands to requests to the hub.

mod carrier;
mod centrifugo;
mod command_rate;
mod frame_rate;
mod native;
mod opening;
mod over_requests;
mod over_websocket;
mod principal;
mod protocol;
mod publishes;
mod reading;
mod rejected;
mod subscriptions;
mod work;

pub use centrifugo::{Addressed, Emulated, emulate};
pub use native::{Charge, Listening, listen};
pub use opening::{Guesses, Opening, Purpose, Surroundings};
pub use subscriptions::SubscribeOptions;

use std::sync::Arc;

use centrifugo::Centrifugo;
use native::{Echo, Native, Raw};
use over_websocket::OverWebSocket;
use principal::Principal;
use reading::Session;
use rejected::Rejected;

use crate::shard::Reader;

/// The reading side of a session over a WebSocket, ready for a shard.
pub fn open(opening: Opening, surroundings: &Arc<Surroundings>) -> Box<dyn Reader> {
    let Opening { id, purpose, identity, agreement } = opening;
    let identity = match identity {
        Ok(identity) => identity,
        Err(error) => return Rejected::new(error),
    };
    let (config, now) = (surroundings.live.load(), surroundings.clock.moment());
    let limits = &config.limits;
    let principal = Principal::new(id, identity, surroundings);
    let websocket = |message_bytes| OverWebSocket::new(message_bytes, agreement.as_ref(), now);
    match purpose {
        Purpose::Native { topics, last } => {
            Box::new(Session::new(websocket(limits.message_bytes), Native::new(principal, topics, last, now)))
        }
        Purpose::Raw { topic, last, echo } => {
            Box::new(Session::new(websocket(limits.message_bytes), Raw::new(principal, topic, last, echo)))
        }
        Purpose::Echo => Box::new(Session::new(websocket(limits.message_bytes), Echo::new(principal, limits, now))),
        Purpose::Centrifugo { wire } => {
            Box::new(Session::new(websocket(limits.frame_bytes), Centrifugo::new(wire, principal, None, limits, now)))
        }
    }
}
