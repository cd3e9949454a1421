//! Encodings: a dialect and a framing, which together determine the frame of each message.

use std::time::Duration;

use super::centrifugo::Wire;
use super::framing::Framing;
use crate::config::Limits;
use crate::frame::ServerWindow;

/// The protocol of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The native protocol: JSON objects (PROTOCOL section 3).
    Json,
    /// Payloads of one topic, without envelopes (PROTOCOL section 4).
    Raw,
    /// Every message is sent back (PROTOCOL section 4, `/echo`).
    Echo,
    /// Centrifugo's protocol in this encoding (PROTOCOL section 10).
    Centrifugo(Wire),
}

/// The heartbeat of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// The time between two pings. Without answers: the longest silence before a ping.
    pub interval: Duration,
    /// The longest wait for the answer; `None`: the client does not answer.
    pub timeout: Option<Duration>,
}

/// The longest interval of heartbeats for Centrifugo's SDKs and for streams. Some SDKs disconnect if no ping came in the announced interval
/// plus 10 s. nginx and load balancers end HTTP answers that are silent for 60 s.
const INTERVAL_MAX: Duration = Duration::from_secs(25);

/// The longest wait for the answer of Centrifugo's SDKs to a ping.
const CENTRIFUGO_TIMEOUT_MAX: Duration = Duration::from_secs(10);

impl Dialect {
    /// Whether a gap reports lost messages to clients. The raw dialect has no form for one. Centrifugo's clients subscribe again.
    pub fn tells_gaps(self) -> bool {
        !matches!(self, Self::Centrifugo(_))
    }
}

/// A dialect and its framing. Sessions of equal encodings share each message's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encoding {
    /// The dialect.
    pub dialect: Dialect,
    /// The framing.
    pub framing: Framing,
}

impl Encoding {
    /// `dialect` over a WebSocket. `window`: that of the server's compressor, if permessage-deflate was negotiated.
    pub fn websocket(dialect: Dialect, window: Option<ServerWindow>) -> Self {
        Self { dialect, framing: Framing::WebSocket { window } }
    }

    /// The window, if the client keeps it from message to message.
    pub fn kept_window(self) -> Option<ServerWindow> {
        self.framing.window().filter(|window| window.is_kept)
    }

    /// The name of the dialect in `/v1/sessions`.
    pub fn name(self) -> &'static str {
        match (self.dialect, self.framing) {
            (Dialect::Centrifugo(_), _) => "centrifugo",
            (_, Framing::EventStream { .. }) => "sse",
            (_, Framing::Lines { .. }) => "stream",
            (Dialect::Json, Framing::WebSocket { .. }) => "json",
            (Dialect::Raw, Framing::WebSocket { .. }) => "raw",
            (Dialect::Echo, Framing::WebSocket { .. }) => "echo",
        }
    }

    /// Whether the client answers heartbeats. Clients of streams do not, except Centrifugo's, which answer by requests.
    pub fn is_answered(self) -> bool {
        matches!(self.framing, Framing::WebSocket { .. }) || matches!(self.dialect, Dialect::Centrifugo(_))
    }

    /// The heartbeat of sessions with this encoding.
    pub fn heartbeat(self, limits: &Limits) -> Heartbeat {
        let (interval, timeout) = (limits.ping_interval, limits.pong_timeout);
        let (interval, timeout) = match self.dialect {
            Dialect::Centrifugo(_) => (interval.min(INTERVAL_MAX), timeout.min(CENTRIFUGO_TIMEOUT_MAX)),
            _ if !self.is_answered() => (interval.min(INTERVAL_MAX), timeout),
            Dialect::Json | Dialect::Raw | Dialect::Echo => (interval, timeout),
        };
        Heartbeat { interval, timeout: self.is_answered().then_some(timeout) }
    }
}
