//! What every session over a WebSocket does with its frames, whatever it speaks: rates, time-outs, the closing handshake.

use crate::clock::Moment;
use crate::codes::CloseCode;
use crate::config::Limits;
use crate::frame::{Received, Violation};
use crate::metrics::{CloseReason, LimitKey};
use crate::shard::SessionContext;
use crate::token_bucket::TokenBucket;

/// Frames that one session may have acted on in one turn, so that the others get theirs.
const FRAMES_PER_READ: u32 = 256;

/// Bytes of messages, inflated, that one session may have acted on in one turn, but for one message of any size: a small input may
/// inflate to a thousand times as much.
const BYTES_PER_READ: usize = 64 << 10;

/// Bytes of an echoed message that count as a frame.
const ECHOED_BYTES_PER_FRAME: usize = 4 << 10;

/// Which part of `frames_burst` may be echoed at once.
const ECHOED_BURST_PART: u32 = 8;

/// What one session has had of its turn.
#[derive(Debug, Default)]
pub struct Turn {
    frames: u32,
    bytes: usize,
}

impl Turn {
    /// Whether it may have more.
    pub fn goes_on(&self) -> bool {
        self.frames < FRAMES_PER_READ && self.bytes < BYTES_PER_READ
    }

    /// Counts frames that have begun.
    pub fn count_frames(&mut self, begun: u32) {
        self.frames += begun;
    }

    /// Counts the bytes of a message, as they are acted on.
    pub fn count_bytes(&mut self, received: &Received<'_>) {
        if let Received::Text(payload) | Received::Binary(payload) = received {
            self.bytes += payload.len();
        }
    }
}

/// What one session of `/echo` may have sent back. A message is inflated and deflated, whatever it took on the wire, so a long one counts
/// as several frames against this rate. It may go below zero, and holds less than a burst: a new connection brings it along each time.
pub fn echo_rate(limits: &Limits, now: Moment) -> TokenBucket {
    TokenBucket::new((limits.frames_burst / ECHOED_BURST_PART).max(1), now)
}

/// Whether a message may be echoed at `rate`; if not, the session is closed.
pub fn may_echo(payload: &[u8], rate: &mut TokenBucket, context: &mut SessionContext<'_>) -> bool {
    let config = context.config();
    let (per_second, burst) = (config.limits.frames_per_second, (config.limits.frames_burst / ECHOED_BURST_PART).max(1));
    let cost = u32::try_from(payload.len() / ECHOED_BYTES_PER_FRAME).unwrap_or(u32::MAX);
    if cost > 0 && !rate.take(1, per_second, burst, context.now()) {
        context.limit_hit(LimitKey::FramesPerSecond);
        context.close(CloseCode::RateLimited, "too much to echo; see limits.frames_per_second", CloseReason::RateLimited);
        return false;
    }
    rate.charge(cost.saturating_sub(1), per_second, burst, context.now());
    true
}

/// Acts on a frame that is no message.
pub fn act_on_control(received: Received<'_>, context: &mut SessionContext<'_>) {
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
pub fn break_off(violation: &Violation, limit: LimitKey, context: &mut SessionContext<'_>) {
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

/// Takes frames that have begun from their rate; ends a session that goes past it.
pub fn count_frames(rate: &mut TokenBucket, begun: u32, context: &mut SessionContext<'_>) {
    let config = context.config();
    let limits = &config.limits;
    if begun > 0 && !rate.take(begun, limits.frames_per_second, limits.frames_burst, context.now()) && context.is_open() {
        context.limit_hit(LimitKey::FramesPerSecond);
        context.close(CloseCode::RateLimited, "too many frames; see limits.frames_per_second", CloseReason::RateLimited);
    }
}

/// Ends a session whose message, begun at `since`, is not whole in time; whether it did.
pub fn end_late(since: Option<Moment>, context: &mut SessionContext<'_>) -> bool {
    let timeout = context.config().limits.message_timeout;
    let is_late = since.is_some_and(|since| context.now().since(since) >= timeout);
    if is_late {
        context.limit_hit(LimitKey::MessageTimeout);
        context.close(CloseCode::Policy, "a message was not whole in time", CloseReason::Policy);
    }
    is_late
}
