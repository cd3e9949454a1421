//! The session of a stream (PROTOCOL section 11): it can only listen, so what its client sends behind the request is discarded.

use std::sync::Arc;
use std::time::Duration;

use super::expiry::{turn_away, until_expiry};
use super::opening::Surroundings;
use super::orders;
use super::refused::ended;
use super::subscribe_options::SubscribeOptions;
use super::subscribing::Subscribing;
use super::work;
use crate::auth::Identity;
use crate::codes::{CloseCode, ErrorCode};
use crate::dialect::Event;
use crate::frame::Inflater;
use crate::metrics::CloseReason;
use crate::session_id::{Member, SessionId};
use crate::shard::{Answer, Held, Order, Reader, SessionContext};
use crate::topic_name::{Pattern, TopicNameError};

/// How a stream begins, as its request said.
pub struct Listening {
    /// The session's name.
    pub id: SessionId,
    /// Who it is.
    pub identity: Arc<Identity>,
    /// The topics of its URL; those that are none are told by an error.
    pub topics: Vec<Result<Pattern, TopicNameError>>,
    /// From where on, and at what pace.
    pub options: SubscribeOptions<'static>,
    /// Whether it takes payloads alone.
    pub is_raw: bool,
    /// Whether each message tells where the stream stands.
    pub tells_position: bool,
    /// Charges what the stream turns out to cost.
    pub charge: Charge,
}

/// Charges work units to whoever pays for a stream.
pub type Charge = Box<dyn Fn(u32) + Send>;

impl Listening {
    /// The work units of what the stream asks for by name (PROTOCOL section 7).
    pub fn units(&self) -> u32 {
        work::of_names(self.topics.len() + self.options.since.len())
    }
}

/// The session's reading side.
struct Listener {
    id: SessionId,
    identity: Arc<Identity>,
    is_raw: bool,
    surroundings: Arc<Surroundings>,
    /// What it begins with, until it has begun.
    unopened: Option<Box<Listening>>,
    /// Its one subscribe, while that is being done.
    beginning: Option<Box<Beginning>>,
}

/// How a stream begins, once its request was looked at.
struct Beginning {
    subscribing: Subscribing,
    topics: Vec<Result<Pattern, TopicNameError>>,
    tells_position: bool,
    charge: Charge,
}

/// A stream's reading side, ready for a shard.
pub fn listen(listening: Listening, surroundings: &Arc<Surroundings>) -> Box<dyn Reader> {
    Box::new(Listener {
        id: listening.id,
        identity: Arc::clone(&listening.identity),
        is_raw: listening.is_raw,
        surroundings: Arc::clone(surroundings),
        unopened: Some(Box::new(listening)),
        beginning: None,
    })
}

impl Reader for Listener {
    fn open(&mut self, context: &mut SessionContext<'_>) {
        let Some(unopened) = self.unopened.take() else { return };
        let limits = &context.config().limits;
        context.say(&Event::Welcome { session: self.id, ping_interval: limits.ping_interval, max_message_bytes: limits.message_bytes });
        // There may have been one since the request was granted, and the shard told only those that it had.
        if !self.renew(context) {
            return;
        }
        let Listening { topics, options, tells_position, charge, .. } = *unopened;
        let subscribing = Subscribing::new(topics.clone(), options);
        self.beginning = Some(Box::new(Beginning { subscribing, topics, tells_position, charge }));
        self.go_on_beginning(context);
    }

    fn read(&mut self, input: &mut [u8], _: &mut Inflater, context: &mut SessionContext<'_>) -> usize {
        self.go_on_beginning(context);
        input.len()
    }

    fn held(&self) -> Held {
        Held { unfinished: 0, command: self.beginning.as_ref().map_or(0, |beginning| beginning.subscribing.bytes()) }
    }

    fn deadline(&mut self, context: &mut SessionContext<'_>) {
        if self.until_expiry() == Some(Duration::ZERO) {
            return context.close(CloseCode::TokenExpired, "the token has expired", CloseReason::TokenExpired);
        }
        self.set_deadline(context);
    }

    fn order(&mut self, order: &Order, context: &mut SessionContext<'_>) -> bool {
        match order {
            Order::Unsubscribe(topic) => {
                let is_ended = orders::unsubscribe(topic.as_ref(), context);
                self.end_if_deaf(context);
                return is_ended;
            }
            Order::Expire(Some(expires)) => {
                self.identity = Arc::new(self.identity.until(*expires));
                self.set_deadline(context);
            }
            Order::Expire(None) => orders::expire(context),
            Order::Subscribe(_) => return false,
        }
        true
    }

    fn reload(&mut self, context: &mut SessionContext<'_>) {
        if !self.renew(context) {
            return;
        }
        let uncovered: Vec<Pattern> =
            context.subscriptions().into_iter().filter(|pattern| !self.identity.grants.may_subscribe(pattern)).collect();
        if uncovered.is_empty() {
            return;
        }
        context.unsubscribe(&uncovered);
        context.refuse(None, ErrorCode::NotAllowed, &ended(&uncovered));
        self.end_if_deaf(context);
    }

    fn user(&self) -> Option<Arc<str>> {
        self.identity.user.clone()
    }
}

impl Listener {
    /// Its grants are those of the configuration in force; `false`: it has none any more, and ends.
    fn renew(&mut self, context: &mut SessionContext<'_>) -> bool {
        match self.surroundings.auth.renew(&self.identity) {
            Ok(renewed) => self.identity = renewed,
            Err(error) => {
                turn_away(&error, context);
                return false;
            }
        }
        self.set_deadline(context);
        true
    }

    /// Does a slice of its subscribe; what is left waits for its next turn.
    fn go_on_beginning(&mut self, context: &mut SessionContext<'_>) {
        let Some(mut beginning) = self.beginning.take() else { return };
        let member = Member { session: self.id, user: self.identity.user.clone(), info: None };
        if beginning.subscribing.go_on(Some(&self.identity.grants), &member, context) == Answer::Pending {
            self.beginning = Some(beginning);
            return;
        }
        let Beginning { subscribing, topics, tells_position, charge } = *beginning;
        charge(work::of_places(subscribing.looked_at()));
        let done = subscribing.finish(context);
        let (told, stands) = done.stands(&topics);
        if self.is_raw {
            if let Err(reason) = done.begin_raw(context) {
                context.close(CloseCode::Policy, &reason, CloseReason::Policy);
            }
        } else {
            done.begin_stream(&told, &stands, context);
            done.begin_all(None, context);
        }
        if tells_position {
            context.stand_at(stands);
        }
        self.end_if_deaf(context);
    }

    /// Ends a stream that is subscribed to nothing: it can't subscribe again.
    fn end_if_deaf(&self, context: &mut SessionContext<'_>) {
        if context.is_open() && context.subscription_count() == 0 {
            context.close(CloseCode::Policy, "this stream is subscribed to nothing", CloseReason::Policy);
        }
    }

    fn until_expiry(&self) -> Option<Duration> {
        until_expiry(&self.identity, &self.surroundings.clock)
    }

    fn set_deadline(&self, context: &mut SessionContext<'_>) {
        // A machine's clock may be set meanwhile, so a far expiry is looked at again within the hour.
        let expiry = self.until_expiry().map(|left| context.now() + left.min(Duration::from_secs(3600)));
        context.wake_at(expiry);
    }
}
