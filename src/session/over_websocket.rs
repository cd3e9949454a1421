//! A WebSocket that carries a session's messages: its frames, its turns, the closing handshake.

use super::carrier::Carrier;
use super::frame_rate::FrameRate;
use super::protocol::Protocol;
use crate::clock::Moment;
use crate::codes::CloseCode;
use crate::config::Limits;
use crate::frame::{Agreement, FrameReader, Inflater, Received, Violation};
use crate::metrics::{CloseReason, LimitKey};
use crate::shard::SessionContext;

/// Frames that one session may have acted on in one turn, so that the others get theirs.
const FRAMES_PER_READ: u32 = 256;

/// Bytes of messages, inflated, that one session may have acted on in one turn, but for one message of any size: a small input may
/// inflate to a thousand times as much.
const BYTES_PER_READ: usize = 64 << 10;

/// One WebSocket.
pub struct OverWebSocket {
    frames: FrameReader,
    rate: FrameRate,
    /// Since when a message has begun and isn't whole.
    message_since: Option<Moment>,
}

/// What one session has had of its turn.
#[derive(Debug, Default)]
struct Turn {
    frames: u32,
    bytes: usize,
    /// Whether a message came to its end.
    message_ended: bool,
}

impl Turn {
    /// Whether it may have more.
    fn goes_on(&self) -> bool {
        self.frames < FRAMES_PER_READ && self.bytes < BYTES_PER_READ
    }

    /// Counts a message as it is acted on.
    fn count_message(&mut self, message: &[u8]) {
        self.message_ended = true;
        self.bytes += message.len();
    }
}

impl OverWebSocket {
    /// A connection that opens now, for messages of at most `message_bytes`.
    pub fn new(message_bytes: usize, agreement: Option<&Agreement>, limits: &Limits, now: Moment) -> Self {
        Self { frames: FrameReader::new(message_bytes, agreement), rate: FrameRate::new(limits, now), message_since: None }
    }
}

impl Carrier for OverWebSocket {
    fn read<P: Protocol>(
        &mut self,
        input: &mut [u8],
        inflater: &mut Inflater,
        protocol: &mut P,
        context: &mut SessionContext<'_>,
    ) -> usize {
        if !protocol.go_on(context) {
            return if context.is_open() { 0 } else { input.len() };
        }
        let (mut used, mut turn) = (0, Turn::default());
        while used < input.len() && turn.goes_on() && protocol.hears_on() && context.can_go_on() {
            let (taken, received) = self.frames.read(&mut input[used..], inflater);
            used += taken;
            let begun = self.frames.take_frames();
            match received {
                Ok(None) => {}
                Ok(Some(Received::Text(message))) => {
                    turn.count_message(message);
                    protocol.hear(message, true, context);
                }
                Ok(Some(Received::Binary(message))) => {
                    turn.count_message(message);
                    protocol.hear(message, false, context);
                }
                Ok(Some(control)) => act_on_control(control, context),
                Err(violation) => break_off(&violation, P::LONGEST_MESSAGE, context),
            }
            turn.frames += begun;
            self.rate.take(begun, context);
        }
        // The time-out restarts with each message.
        let began = self.message_since.filter(|_| !turn.message_ended).unwrap_or(context.now());
        self.message_since = self.frames.is_mid_message().then_some(began);
        if context.is_open() { used } else { input.len() }
    }

    fn unheard_bytes(&self) -> usize {
        self.frames.held_bytes()
    }

    fn message_since(&self) -> Option<Moment> {
        self.message_since
    }
}

/// Acts on a frame that is no message.
fn act_on_control(received: Received<'_>, context: &mut SessionContext<'_>) {
    match received {
        Received::Ping(payload) => context.pong(payload),
        Received::Pong | Received::Text(_) | Received::Binary(_) => {}
        Received::Close(None) => context.answer_close(None, CloseReason::Normal),
        Received::Close(Some((code, _))) => {
            let why = if code == CloseCode::GoingAway.number() { CloseReason::GoingAway } else { CloseReason::Normal };
            context.answer_close(Some(code), why);
        }
    }
}

/// Ends a session whose bytes are no frames, or too long ones: `limit` is the one that bounds them.
fn break_off(violation: &Violation, limit: LimitKey, context: &mut SessionContext<'_>) {
    let why = match violation.code {
        CloseCode::NotUtf8 => CloseReason::NotUtf8,
        CloseCode::MessageTooBig => CloseReason::MessageTooBig,
        _ => CloseReason::Protocol,
    };
    if why == CloseReason::MessageTooBig {
        context.limit_hit(limit);
    }
    context.close(violation.code, violation.reason, why);
}
