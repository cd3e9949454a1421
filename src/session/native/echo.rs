//! A session of `/echo`: every message is sent back.

use super::admin;
use crate::clock::Moment;
use crate::codes::CloseCode;
use crate::config::Limits;
use crate::frame::OpCode;
use crate::metrics::{CloseReason, LimitKey};
use crate::session::principal::Principal;
use crate::session::protocol::Protocol;
use crate::shard::{AdminCommand, SessionContext};
use crate::token_bucket::{Rate, TokenBucket};

/// The bytes of an echoed message that count as one frame.
const ECHOED_BYTES_PER_FRAME: usize = 4 << 10;

/// The burst of echoed frames is `limits.frames_burst` divided by this number.
const ECHOED_BURST_PART: u32 = 8;

/// The protocol of one session.
pub struct Echo {
    principal: Principal,
    /// The rate of echoed frames. A long message counts as several frames, because it is inflated and deflated again, however small it was
    /// on the wire. The bucket may go below zero. Its burst is smaller than that of frames, because each new connection begins with a full
    /// bucket.
    rate: TokenBucket,
}

impl Echo {
    /// A session that opens at `now`.
    pub fn new(principal: Principal, now: Moment) -> Self {
        Self { principal, rate: TokenBucket::new(now) }
    }

    /// Whether the rate allows `message`. If not, the session was closed.
    fn may_echo(&mut self, message: &[u8], context: &mut SessionContext<'_>) -> bool {
        let rate = rate(&context.config().limits);
        let cost = u32::try_from(message.len() / ECHOED_BYTES_PER_FRAME).unwrap_or(u32::MAX);
        if cost > 0 && !self.rate.take(1, rate, context.now()) {
            context.limit_hit(LimitKey::FramesPerSecond);
            context.close(CloseCode::RateLimited, "too much to echo; see limits.frames_per_second", CloseReason::RateLimited);
            return false;
        }
        self.rate.charge(cost.saturating_sub(1), rate, context.now());
        true
    }
}

fn rate(limits: &Limits) -> Rate {
    Rate { per_second: limits.frames_per_second, burst: (limits.frames_burst / ECHOED_BURST_PART).max(1) }
}

impl Protocol for Echo {
    fn principal(&self) -> &Principal {
        &self.principal
    }

    fn on_open(&mut self, context: &mut SessionContext<'_>) {
        self.on_reload(context); // a reload after the upgrade was granted did not reach this session
    }

    fn on_message(&mut self, message: &[u8], is_text: bool, context: &mut SessionContext<'_>) {
        if self.may_echo(message, context) {
            context.echo(if is_text { OpCode::Text } else { OpCode::Binary }, message);
        }
    }

    fn resume(&mut self, _: &mut SessionContext<'_>) -> bool {
        true
    }

    fn accepts_messages(&self) -> bool {
        true
    }

    fn on_admin_command(&mut self, command: &AdminCommand, context: &mut SessionContext<'_>) -> bool {
        admin::execute(command, &mut self.principal, context)
    }

    fn on_reload(&mut self, context: &mut SessionContext<'_>) {
        admin::renew(&mut self.principal, context);
    }
}
