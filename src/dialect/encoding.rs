//! What a session speaks and how that is framed: together they say which frame of a message the session takes.

use std::time::Duration;

use super::centrifugo::Wire;
use super::framing::Framing;
use crate::config::Limits;
use crate::frame::ServerWindow;

/// What a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The native one: JSON objects (PROTOCOL section 3).
    Json,
    /// Payloads alone, of one topic (section 4).
    Raw,
    /// Every message comes back (section 4, `/echo`).
    Echo,
    /// Centrifugo's protocol (section 10), so spelt.
    Centrifugo(Wire),
}

/// How a session is asked for a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// Between two pings; where nobody answers, of silence.
    pub interval: Duration,
    /// How long the wait for the answer lasts; `None`: nobody answers.
    pub timeout: Option<Duration>,
}

/// The longest time between two pings that Centrifugo's SDKs are told of: some of them leave where no ping came in the time told plus
/// 10 s, whatever else came. And the longest silence of a stream: nginx and load balancers end answers that are silent for 60 s.
const INTERVAL_MAX: Duration = Duration::from_secs(25);

/// The longest wait for an answer of Centrifugo's SDKs.
const CENTRIFUGO_TIMEOUT_MAX: Duration = Duration::from_secs(10);

impl Dialect {
    /// Whether its clients are told of messages that were lost. Raw ones are not, for they have no words; Centrifugo's subscribe anew.
    pub fn tells_gaps(self) -> bool {
        !matches!(self, Self::Centrifugo(_))
    }
}

/// A dialect and its framing. Sessions of equal encodings share each message's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encoding {
    /// The words.
    pub dialect: Dialect,
    /// How words become bytes of the connection.
    pub framing: Framing,
}

impl Encoding {
    /// `dialect` over a WebSocket; `window` is what the server compresses with, where permessage-deflate was agreed on.
    pub fn websocket(dialect: Dialect, window: Option<ServerWindow>) -> Self {
        Self { dialect, framing: Framing::WebSocket { window } }
    }

    /// The window that its client keeps from message to message, if it does.
    pub fn kept_window(self) -> Option<ServerWindow> {
        self.framing.window().filter(|window| window.is_kept)
    }

    /// Its name in `/v1/sessions`.
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

    /// Whether its client answers a heartbeat: over a stream it can't, but Centrifugo's clients do so by requests of their own.
    pub fn is_answered(self) -> bool {
        matches!(self.framing, Framing::WebSocket { .. }) || matches!(self.dialect, Dialect::Centrifugo(_))
    }

    /// The heartbeat of sessions that take it.
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
