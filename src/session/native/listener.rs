//! The session of a stream (PROTOCOL section 11): it can only listen.

use std::sync::Arc;

use super::orders;
use crate::auth::Identity;
use crate::clock::Moment;
use crate::codes::{CloseCode, ErrorCode};
use crate::dialect::Event;
use crate::metrics::{CloseReason, LimitKey};
use crate::session::carrier::OneWay;
use crate::session::opening::Surroundings;
use crate::session::principal::Principal;
use crate::session::protocol::Protocol;
use crate::session::reading::Session;
use crate::session::subscriptions::{SubscribeOptions, Subscribing};
use crate::session::work;
use crate::session_id::SessionId;
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
}

/// Charges work units to whoever pays for a stream.
pub type Charge = Box<dyn Fn(u32) + Send>;

impl Listening {
    /// The work units of what the stream asks for by name (PROTOCOL section 7).
    pub fn units(&self) -> u32 {
        work::of_names(self.topics.len() + self.options.since.len())
    }
}

/// What the session is.
struct Listener {
    principal: Principal,
    is_raw: bool,
    /// Its one subscribe, until that is done.
    beginning: Option<Box<Beginning>>,
    /// Charges what it turns out to cost, as long as it lasts.
    charge: Charge,
}

/// How a stream begins, once its request was looked at.
struct Beginning {
    subscribing: Subscribing,
    topics: Vec<Result<Pattern, TopicNameError>>,
    tells_position: bool,
}

/// A stream's reading side, ready for a shard. What its client sends behind the request is discarded. `charge`: who pays for what it turns
/// out to cost.
pub fn listen(listening: Listening, charge: Charge, surroundings: &Arc<Surroundings>) -> Box<dyn Reader> {
    let Listening { id, identity, topics, options, is_raw, tells_position } = listening;
    let subscribing = Subscribing::new(topics.clone(), options);
    let beginning = Some(Box::new(Beginning { subscribing, topics, tells_position }));
    let principal = Principal::new(id, Some(identity), surroundings);
    Box::new(Session::new(OneWay, Listener { principal, is_raw, beginning, charge }))
}

impl Listener {
    /// Does a slice of its subscribe; what is left waits for its next turn.
    fn go_on_beginning(&mut self, context: &mut SessionContext<'_>) {
        let Some(mut beginning) = self.beginning.take() else { return };
        if beginning.subscribing.go_on(self.principal.grants(), &self.principal.member(), context) == Answer::Pending {
            self.beginning = Some(beginning);
            return;
        }
        let Beginning { subscribing, topics, tells_position } = *beginning;
        (self.charge)(work::of_places(subscribing.looked_at()));
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
        if self.beginning.is_none() && context.is_open() && context.subscription_count() == 0 {
            context.close(CloseCode::Policy, "this stream is subscribed to nothing", CloseReason::Policy);
        }
    }
}

impl Protocol for Listener {
    const LONGEST_MESSAGE: LimitKey = LimitKey::MessageBytes;

    fn open(&mut self, context: &mut SessionContext<'_>) {
        let config = context.config();
        let (ping_interval, max_message_bytes) = (config.limits.ping_interval, config.limits.message_bytes);
        context.say(&Event::Welcome { session: self.principal.id(), ping_interval, max_message_bytes });
        // There may have been a reload since the request was granted, and the shard told only the sessions that it had.
        if orders::renew(&mut self.principal, context) {
            self.go_on_beginning(context);
        }
    }

    fn hear(&mut self, _: &[u8], _: bool, _: &mut SessionContext<'_>) {}

    fn go_on(&mut self, context: &mut SessionContext<'_>) -> bool {
        self.go_on_beginning(context);
        self.hears_on()
    }

    fn hears_on(&self) -> bool {
        self.beginning.is_none()
    }

    fn held(&self) -> Held {
        Held { unfinished: 0, command: self.beginning.as_ref().map_or(0, |beginning| beginning.subscribing.bytes()) }
    }

    fn deadline(&self, context: &SessionContext<'_>) -> Option<Moment> {
        self.principal.expiry(context)
    }

    fn look_at_time(&mut self, context: &mut SessionContext<'_>) {
        self.principal.end_expired(context);
    }

    fn worked(&mut self, context: &mut SessionContext<'_>) {
        (self.charge)(context.take_work(work::TOPICS_PER_UNIT));
    }

    fn order(&mut self, order: &Order, context: &mut SessionContext<'_>) -> bool {
        let is_done = orders::obey(order, &mut self.principal, context);
        self.end_if_deaf(context);
        is_done
    }

    fn reload(&mut self, context: &mut SessionContext<'_>) {
        if orders::renew(&mut self.principal, context)
            && let Some(reason) = orders::end_uncovered(&self.principal, context)
        {
            context.refuse(None, ErrorCode::NotAllowed, &reason);
            self.end_if_deaf(context);
        }
    }

    fn user(&self) -> Option<Arc<str>> {
        self.principal.user()
    }
}
