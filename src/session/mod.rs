//! One connection from its upgrade to its close: the reading side.

mod commands;
mod opening;
mod publish;
mod refused;
mod state;
mod subscribe;
mod subscribing;
mod work;

pub use opening::{Opening, Purpose, Surroundings};

use std::sync::Arc;
use std::time::Duration;

use state::{Session, Speaks, Unopened};

use crate::auth::AuthError;
use crate::codes::CloseCode;
use crate::dialect::{Event, Request, json_read};
use crate::frame::{FrameReader, Inflater, OpCode, Received, Violation};
use crate::metrics::{CloseReason, LimitKey};
use crate::shard::{Reader, SessionContext};
use crate::token_bucket::TokenBucket;

/// Frames that one session may have acted on in one turn, so that the others get theirs.
const FRAMES_PER_READ: u32 = 256;

/// A session's reading side, ready for a shard.
pub fn open(opening: Opening, surroundings: &Arc<Surroundings>) -> Box<dyn Reader> {
    let config = surroundings.live.load();
    let now = surroundings.clock.moment();
    let (identity, refused) = match opening.identity {
        Ok(identity) => (identity, None),
        Err(error) => (None, Some(error)),
    };
    Box::new(Session {
        id: opening.id,
        speaks: Speaks::of(&opening.purpose),
        frames: FrameReader::new(config.limits.message_bytes, opening.agreement.as_ref()),
        identity,
        unopened: Some(Box::new(Unopened { purpose: opening.purpose, refused })),
        surroundings: Arc::clone(surroundings),
        opened_at: now,
        message_since: None,
        frame_rate: TokenBucket::new(config.limits.frames_burst, now),
        command_rate: TokenBucket::new(config.limits.commands_burst, now),
        refused: 0,
        pending: None,
    })
}

impl Reader for Session {
    fn open(&mut self, context: &mut SessionContext<'_>) {
        let Some(unopened) = self.unopened.take() else { return };
        if let Some(error) = unopened.refused {
            return turn_away(&error, context);
        }
        if matches!(self.speaks, Speaks::Native) {
            let config = context.config();
            let ping_interval = config.limits.ping_interval;
            context.say(&Event::Welcome { session: self.id, ping_interval, max_message_bytes: config.limits.message_bytes });
        }
        // There may have been one since the upgrade was granted, and the shard told only those that it had.
        self.reload(context);
        if !context.is_open() {
            return;
        }
        match unopened.purpose {
            Purpose::Native { topics, last } if !topics.is_empty() => self.subscribe_at_upgrade(topics, last, context),
            Purpose::Raw { topic, last, .. } => self.subscribe_raw(&topic, last, context),
            Purpose::Native { .. } | Purpose::Echo => {}
        }
    }

    fn read(&mut self, input: &mut [u8], inflater: &mut Inflater, context: &mut SessionContext<'_>) -> usize {
        let (mut used, mut frames) = (0, 0);
        let mut message_ended = false;
        if !self.finish_pending(context) {
            return used;
        }
        while used < input.len() && frames < FRAMES_PER_READ && self.pending.is_none() && context.can_go_on() {
            let (taken, received) = self.frames.read(&mut input[used..], inflater);
            used += taken;
            let begun = self.frames.take_frames();
            match received {
                Ok(None) => {}
                Ok(Some(received)) => {
                    message_ended |= matches!(received, Received::Text(_) | Received::Binary(_));
                    self.act(received, context);
                }
                Err(violation) => self.break_off(&violation, context),
            }
            frames += begun;
            self.count_frames(begun, context);
        }
        // The time-out restarts with each message.
        let began = self.message_since.filter(|_| !message_ended).unwrap_or(context.now());
        let message_since = self.frames.is_mid_message().then_some(began);
        if message_since != self.message_since {
            self.message_since = message_since;
            self.set_deadline(context);
        }
        if !context.is_open() { input.len() } else { used }
    }

    fn deadline(&mut self, context: &mut SessionContext<'_>) {
        let config = context.config();
        let now = context.now();
        if self.is_anonymous_too_long(now, config.limits.auth_timeout) {
            context.limit_hit(LimitKey::AuthTimeout);
            return context.close(CloseCode::Policy, "not authenticated in time", CloseReason::Policy);
        }
        if self.message_since.is_some_and(|since| now.since(since) >= config.limits.message_timeout) {
            context.limit_hit(LimitKey::MessageTimeout);
            return context.close(CloseCode::Policy, "a message was not whole in time", CloseReason::Policy);
        }
        if self.until_expiry() == Some(Duration::ZERO) {
            return context.close(CloseCode::TokenExpired, "the token has expired", CloseReason::TokenExpired);
        }
        self.set_deadline(context);
    }

    fn reload(&mut self, context: &mut SessionContext<'_>) {
        match &self.identity {
            Some(identity) => match self.surroundings.auth.renew(identity) {
                Ok(renewed) => {
                    self.identity = Some(renewed);
                    self.end_uncovered(context);
                }
                Err(error) => return turn_away(&error, context),
            },
            None => self.identity = self.surroundings.auth.anonymous(),
        }
        self.set_deadline(context);
    }

    fn user(&self) -> Option<Arc<str>> {
        Session::user(self)
    }
}

impl Session {
    fn act(&mut self, received: Received<'_>, context: &mut SessionContext<'_>) {
        match received {
            Received::Text(text) => self.take_message(text, true, context),
            Received::Binary(bytes) => self.take_message(bytes, false, context),
            Received::Ping(payload) => context.pong(payload),
            Received::Pong => {}
            Received::Close(None) => context.answer_close(None, CloseReason::Normal),
            Received::Close(Some((code, _))) => {
                let why = if code == CloseCode::GoingAway.number() { CloseReason::GoingAway } else { CloseReason::Normal };
                context.answer_close(Some(code), why);
            }
        }
    }

    fn take_message(&mut self, payload: &[u8], text: bool, context: &mut SessionContext<'_>) {
        match &self.speaks {
            Speaks::Echo => context.echo(if text { OpCode::Text } else { OpCode::Binary }, payload),
            Speaks::Raw { topic, echo } => {
                let (topic, echo) = (topic.clone(), *echo);
                self.publish_raw(&topic, payload, text, echo, context);
            }
            Speaks::Native if text => self.take_command(payload, context),
            Speaks::Native => context.close(CloseCode::NotAcceptable, "commands are JSON in text frames", CloseReason::NotAcceptable),
        }
    }

    fn take_command(&mut self, text: &[u8], context: &mut SessionContext<'_>) {
        let request = json_read::request(text);
        let (id, op) = match &request {
            Ok(request) => (request.id, commands::op(&request.command)),
            Err(refusal) => (refusal.id, refusal.op),
        };
        context.count_command(op);
        if !self.may_command(id, context) {
            return;
        }
        match request {
            Ok(Request { id, command }) => self.obey(id, command, context),
            Err(refusal) => context.refuse(refusal.id, refusal.code, &refusal.message),
        }
    }

    fn break_off(&mut self, violation: &Violation, context: &mut SessionContext<'_>) {
        let why = match violation.code {
            CloseCode::NotUtf8 => CloseReason::NotUtf8,
            CloseCode::MessageTooBig => CloseReason::MessageTooBig,
            _ => CloseReason::Protocol,
        };
        if why == CloseReason::MessageTooBig {
            context.limit_hit(LimitKey::MessageBytes);
        }
        context.close(violation.code, violation.reason, why);
    }

    fn count_frames(&mut self, begun: u32, context: &mut SessionContext<'_>) {
        let config = context.config();
        let limits = &config.limits;
        if begun > 0 && !self.frame_rate.take(begun, limits.frames_per_second, limits.frames_burst, context.now()) && context.is_open() {
            context.limit_hit(LimitKey::FramesPerSecond);
            context.close(CloseCode::RateLimited, "too many frames; see limits.frames_per_second", CloseReason::RateLimited);
        }
    }

    /// Asks to be called when the next of its time-outs can have passed.
    fn set_deadline(&self, context: &mut SessionContext<'_>) {
        let config = context.config();
        let auth = self.waits_for_auth().then(|| self.opened_at + config.limits.auth_timeout);
        let message = self.message_since.map(|since| since + config.limits.message_timeout);
        // A machine's clock may be set meanwhile, so a far expiry is looked at again within the hour.
        let expiry = self.until_expiry().map(|left| context.now() + left.min(Duration::from_secs(3600)));
        context.wake_at([auth, message, expiry].into_iter().flatten().min());
    }
}

/// Closes a session whose credential is good no more.
fn turn_away(error: &AuthError, context: &mut SessionContext<'_>) {
    let why = if *error == AuthError::Expired { CloseReason::TokenExpired } else { CloseReason::TokenInvalid };
    context.close(error.close_code(), &error.to_string(), why);
}
