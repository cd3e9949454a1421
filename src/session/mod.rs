//! The reading side of sessions: from a connection's bytes to commands, and from commands to requests to the hub.

mod carriers;
mod centrifugo;
mod command_rate;
mod native;
mod opening;
mod principal;
mod protocol;
mod publishes;
mod reading;
mod rejected;
mod services;
mod subscriptions;
#[cfg(test)]
mod tests;
mod work;

pub use centrifugo::{EmulatedOpening, SessionAddress, open_emulated};
pub use native::{Charge, StreamOpening, open_stream};
pub use opening::{Opening, Purpose};
pub use services::{FailureLimit, Services};
pub use subscriptions::SubscribeOptions;

use std::sync::Arc;

use carriers::WebSocketCarrier;
use centrifugo::Centrifugo;
use native::{Echo, Native, Raw};
use principal::Principal;
use reading::Session;
use rejected::Rejected;

use crate::shard::Reader;

/// The reading side of a session over a WebSocket, ready for a shard.
pub fn open_websocket(opening: Opening, services: &Arc<Services>) -> Box<dyn Reader> {
    let Opening { id, purpose, identity, agreement } = opening;
    let identity = match identity {
        Ok(identity) => identity,
        Err(error) => return Rejected::new(error),
    };
    let (config, now) = (services.live.load(), services.clock.moment());
    let limits = &config.limits;
    let principal = Principal::new(id, identity, services);
    let websocket = |message_bytes| WebSocketCarrier::new(message_bytes, agreement.as_ref(), now);
    match purpose {
        Purpose::Native { topics, last } => {
            Box::new(Session::new(websocket(limits.message_bytes), Native::new(principal, topics, last, now)))
        }
        Purpose::Raw { topic, last, echo } => {
            Box::new(Session::new(websocket(limits.message_bytes), Raw::new(principal, topic, last, echo)))
        }
        Purpose::Echo => Box::new(Session::new(websocket(limits.message_bytes), Echo::new(principal, now))),
        Purpose::Centrifugo { wire } => {
            Box::new(Session::new(websocket(limits.frame_bytes), Centrifugo::new(wire, principal, None, limits, now)))
        }
    }
}
