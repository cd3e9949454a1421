//! One connection from its upgrade to its close: the reading side.

mod admission;
mod centrifugo;
mod command_rate;
mod commands;
mod expiry;
mod listener;
mod new_patterns;
mod opening;
mod orders;
mod publish;
mod refused;
mod state;
mod subscribe;
mod subscribe_options;
mod subscribed;
mod subscribing;
mod unsubscribing;
mod waiting;
mod websocket;
mod work;

pub use centrifugo::{Addressed, Emulated, emulate};
pub use listener::{Charge, Listening, listen};
pub use opening::{Guesses, Opening, Purpose, Surroundings};
pub use subscribe_options::SubscribeOptions;

use std::sync::Arc;
use std::time::Duration;

use centrifugo::{Centrifugo, OverWebSocket};
use command_rate::CommandRate;
use expiry::turn_away;
use state::{Pending, Session, Speaks, Unopened};
use waiting::Waiting;
use websocket::Turn;

use crate::codes::CloseCode;
use crate::dialect::{Event, Request, json_read};
use crate::frame::{FrameReader, Inflater, OpCode, Received};
use crate::metrics::{CloseReason, LimitKey};
use crate::shard::{Held, Order, Reader, SessionContext};
use crate::token_bucket::TokenBucket;

/// A session's reading side, ready for a shard.
pub fn open(opening: Opening, surroundings: &Arc<Surroundings>) -> Box<dyn Reader> {
    let config = surroundings.live.load();
    let now = surroundings.clock.moment();
    let (identity, refused) = match opening.identity {
        Ok(identity) => (identity, None),
        Err(error) => (None, Some(error)),
    };
    let frame_rate = TokenBucket::new(config.limits.frames_burst, now);
    if let Purpose::Centrifugo { wire } = opening.purpose {
        let frames = FrameReader::new(config.limits.frame_bytes, opening.agreement.as_ref());
        let session = Centrifugo::new(opening.id, wire, identity, None, surroundings);
        return Box::new(OverWebSocket::new(frames, frame_rate, refused, session));
    }
    Box::new(Session {
        id: opening.id,
        speaks: Speaks::of(&opening.purpose, &config.limits, now),
        frames: FrameReader::new(config.limits.message_bytes, opening.agreement.as_ref()),
        identity,
        unopened: Some(Box::new(Unopened { purpose: opening.purpose, refused })),
        surroundings: Arc::clone(surroundings),
        opened_at: now,
        message_since: None,
        frame_rate,
        command_rate: CommandRate::new(&config.limits, now),
        waiting: Waiting::default(),
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
            Purpose::Native { .. } | Purpose::Echo | Purpose::Centrifugo { .. } => {}
        }
    }

    fn read(&mut self, input: &mut [u8], inflater: &mut Inflater, context: &mut SessionContext<'_>) -> usize {
        let (mut used, mut turn) = (0, Turn::default());
        let mut message_ended = false;
        if !self.finish_pending(context) {
            return used;
        }
        while used < input.len() && turn.goes_on() && self.waiting.is_over() && context.can_go_on() {
            let (taken, received) = self.frames.read(&mut input[used..], inflater);
            used += taken;
            let begun = self.frames.take_frames();
            match received {
                Ok(None) => {}
                Ok(Some(received)) => {
                    message_ended |= matches!(received, Received::Text(_) | Received::Binary(_));
                    turn.count_bytes(&received);
                    self.act(received, context);
                }
                Err(violation) => websocket::break_off(&violation, LimitKey::MessageBytes, context),
            }
            turn.count_frames(begun);
            websocket::count_frames(&mut self.frame_rate, begun, context);
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

    fn held(&self) -> Held {
        Held { unfinished: self.frames.held_bytes(), command: self.waiting.bytes(Pending::bytes) }
    }

    fn deadline(&mut self, context: &mut SessionContext<'_>) {
        let config = context.config();
        let now = context.now();
        if self.is_anonymous_too_long(now, config.limits.auth_timeout) {
            context.limit_hit(LimitKey::AuthTimeout);
            return context.close(CloseCode::Policy, "not authenticated in time", CloseReason::Policy);
        }
        if websocket::end_late(self.message_since, context) {
            return;
        }
        if self.until_expiry() == Some(Duration::ZERO) {
            return context.close(CloseCode::TokenExpired, "the token has expired", CloseReason::TokenExpired);
        }
        self.set_deadline(context);
    }

    fn order(&mut self, order: &Order, context: &mut SessionContext<'_>) -> bool {
        match (order, &self.identity) {
            (Order::Unsubscribe(topic), _) if self.is_raw() => {
                let is_ended = orders::unsubscribe(topic.as_ref(), context);
                if is_ended {
                    context.close(CloseCode::Policy, "an operator has ended the subscription", CloseReason::Policy);
                }
                is_ended
            }
            (Order::Unsubscribe(topic), _) => orders::unsubscribe(topic.as_ref(), context),
            (Order::Expire(Some(expires)), Some(identity)) => {
                self.identity = Some(Arc::new(identity.until(*expires)));
                self.set_deadline(context);
                true
            }
            (Order::Expire(None), _) => {
                orders::expire(context);
                true
            }
            (Order::Expire(Some(_)), None) | (Order::Subscribe { .. }, _) => false,
        }
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
            control => websocket::act_on_control(control, context),
        }
    }

    fn take_message(&mut self, payload: &[u8], text: bool, context: &mut SessionContext<'_>) {
        match &mut self.speaks {
            Speaks::Echo(rate) => {
                if websocket::may_echo(payload, rate, context) {
                    context.echo(if text { OpCode::Text } else { OpCode::Binary }, payload);
                }
            }
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
