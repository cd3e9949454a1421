//! Carriers: they take a session's messages from a WebSocket or from requests, within the rate of frames.

mod carrier;
mod frame_rate;
mod request_carrier;
mod websocket_carrier;

pub use carrier::{Carrier, OneWay};
pub use request_carrier::RequestCarrier;
pub use websocket_carrier::WebSocketCarrier;
