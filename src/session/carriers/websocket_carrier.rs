//! The carrier of a session over a WebSocket: frames, control frames, the closing handshake (RFC 6455 §5 and §7).

use super::carrier::Carrier;
use super::frame_rate::FrameRate;
use crate::clock::Moment;
use crate::codes::CloseCode;
use crate::frame::{Agreement, FrameReader, Inflater, Received, Violation};
use crate::metrics::{CloseReason, LimitKey};
use crate::session::protocol::Protocol;
use crate::shard::{HeldInput, SessionContext};

/// One WebSocket.
pub struct WebSocketCarrier {
    frames: FrameReader,
    rate: FrameRate,
    /// When the first frame of an unfinished message came.
    message_since: Option<Moment>,
}

impl WebSocketCarrier {
    /// A connection that opens at `now`, for messages of at most `message_bytes`.
    pub fn new(message_bytes: usize, agreement: Option<&Agreement>, now: Moment) -> Self {
        Self { frames: FrameReader::new(message_bytes, agreement), rate: FrameRate::new(now), message_since: None }
    }
}

impl Carrier for WebSocketCarrier {
    fn read<P: Protocol>(
        &mut self,
        input: &mut [u8],
        inflater: &mut Inflater,
        protocol: &mut P,
        context: &mut SessionContext<'_>,
    ) -> usize {
        let waited = !protocol.accepts_messages();
        if !protocol.resume(context) {
            return if context.is_open() { 0 } else { input.len() };
        }
        if waited && context.is_turn_over() {
            return 0;
        }
        let (mut used, mut message_ended) = (0, false);
        while used < input.len() && protocol.accepts_messages() && context.may_execute() {
            let (taken, received) = self.frames.read(&mut input[used..], inflater);
            used += taken;
            let begun = self.frames.take_frames();
            let commands = protocol.principal().own_commands();
            match received {
                Ok(None) => {}
                Ok(Some(Received::Text(message))) => {
                    message_ended = true;
                    protocol.on_message(message, true, context);
                }
                Ok(Some(Received::Binary(message))) => {
                    message_ended = true;
                    protocol.on_message(message, false, context);
                }
                Ok(Some(control)) => handle_control(control, context),
                Err(violation) => close_for(&violation, P::MESSAGE_LIMIT, context),
            }
            // One frame at most, whatever the number of its commands. Control frames, empty frames and fragments stay paid for.
            if protocol.principal().own_commands() != commands {
                self.rate.refund();
            }
            self.rate.take(begun, context);
            if used < input.len() && context.is_turn_over() {
                break;
            }
        }
        // `limits.message_timeout` counts for each message anew.
        let began = self.message_since.filter(|_| !message_ended).unwrap_or(context.now());
        self.message_since = self.frames.is_mid_message().then_some(began);
        if context.is_open() { used } else { input.len() }
    }

    fn held(&self) -> HeldInput {
        HeldInput { unfinished: self.frames.held_bytes(), command: 0 }
    }

    fn message_since(&self) -> Option<Moment> {
        self.message_since
    }
}

/// Handles a control frame (RFC 6455 §5.5).
fn handle_control(received: Received<'_>, context: &mut SessionContext<'_>) {
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

/// Closes a session that violates RFC 6455 or sends a message longer than `limit` allows.
fn close_for(violation: &Violation, limit: LimitKey, context: &mut SessionContext<'_>) {
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
