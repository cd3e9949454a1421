//! The session of a stream (PROTOCOL section 11), whose client only listens.

use std::sync::Arc;

use super::orders;
use crate::auth::Identity;
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
use crate::shard::{Answer, HeldInput, Order, Reader, SessionContext};
use crate::topic_name::{Pattern, TopicNameError};

/// The parameters of a stream, from its request.
pub struct Listening {
    /// The session's id.
    pub id: SessionId,
    /// The identity.
    pub identity: Arc<Identity>,
    /// The topics of its URL. Each invalid name is answered with an error.
    pub topics: Vec<Result<Pattern, TopicNameError>>,
    /// The replay and the interval.
    pub options: SubscribeOptions<'static>,
    /// Whether the stream has payloads without envelopes.
    pub is_raw: bool,
    /// Whether each message carries the position of the stream.
    pub tells_position: bool,
}

/// Charges work units to the rate that the stream's request used.
pub type Charge = Box<dyn Fn(u32) + Send>;

impl Listening {
    /// The work units of the names in the request (PROTOCOL section 7).
    pub fn units(&self) -> u32 {
        work::of_names(self.topics.len() + self.options.since.len())
    }
}

/// The protocol of one session.
struct Listener {
    principal: Principal,
    is_raw: bool,
    /// The subscribe to its topics, until it is complete.
    beginning: Option<Box<Beginning>>,
    /// Charges the work that the stream causes.
    charge: Charge,
}

/// The subscribe of a stream.
struct Beginning {
    subscribing: Subscribing,
    topics: Vec<Result<Pattern, TopicNameError>>,
    tells_position: bool,
}

/// The reading side of a stream, ready for a shard. Bytes that its client sends after the request are discarded. `charge` is called with
/// the work that the stream causes.
pub fn listen(listening: Listening, charge: Charge, surroundings: &Arc<Surroundings>) -> Box<dyn Reader> {
    let Listening { id, identity, topics, options, is_raw, tells_position } = listening;
    let subscribing = Subscribing::new(topics.clone(), options);
    let beginning = Some(Box::new(Beginning { subscribing, topics, tells_position }));
    let principal = Principal::new(id, Some(identity), surroundings);
    Box::new(Session::new(OneWay, Listener { principal, is_raw, beginning, charge }))
}

impl Listener {
    /// Runs a slice of the subscribe.
    fn go_on_beginning(&mut self, context: &mut SessionContext<'_>) {
        let Some(mut beginning) = self.beginning.take() else { return };
        if beginning.subscribing.go_on(self.principal.grants(), &self.principal.member(), context) == Answer::Pending {
            self.beginning = Some(beginning);
            return;
        }
        let Beginning { subscribing, topics, tells_position } = *beginning;
        (self.charge)(work::of_places(subscribing.looked_at()));
        let done = subscribing.finish(context);
        let (told, stands) = done.stream_positions(&topics);
        if self.is_raw {
            if let Err(reason) = done.begin_raw(context) {
                context.close(CloseCode::Policy, &reason, CloseReason::Policy);
            }
        } else {
            done.begin_stream(&told, &stands, context);
            done.begin_all(None, context);
        }
        if tells_position {
            context.set_stream_position(stands);
        }
        self.end_if_unsubscribed(context);
    }

    /// Closes a stream without subscriptions, because it has no command to subscribe.
    fn end_if_unsubscribed(&self, context: &mut SessionContext<'_>) {
        if self.beginning.is_none() && context.is_open() && context.subscription_count() == 0 {
            context.close(CloseCode::Policy, "this stream is subscribed to nothing", CloseReason::Policy);
        }
    }
}

impl Protocol for Listener {
    const LONGEST_MESSAGE: LimitKey = LimitKey::MessageBytes;

    fn principal(&self) -> &Principal {
        &self.principal
    }

    fn open(&mut self, context: &mut SessionContext<'_>) {
        let config = context.config();
        let (ping_interval, max_message_bytes) = (config.limits.ping_interval, config.limits.message_bytes);
        context.say(&Event::Welcome { session: self.principal.id(), ping_interval, max_message_bytes });
        // A reload after the request was granted did not reach this session, because the shard did not have it yet.
        if orders::renew(&mut self.principal, context) {
            self.go_on_beginning(context);
        }
    }

    fn hear(&mut self, _: &[u8], _: bool, _: &mut SessionContext<'_>) {}

    fn go_on(&mut self, context: &mut SessionContext<'_>) -> bool {
        self.go_on_beginning(context);
        self.accepts_messages()
    }

    fn accepts_messages(&self) -> bool {
        self.beginning.is_none()
    }

    fn held(&self) -> HeldInput {
        HeldInput { unfinished: 0, command: self.beginning.as_ref().map_or(0, |beginning| beginning.subscribing.bytes()) }
    }

    fn worked(&mut self, context: &mut SessionContext<'_>) {
        (self.charge)(context.take_work(work::TOPICS_PER_UNIT));
    }

    fn order(&mut self, order: &Order, context: &mut SessionContext<'_>) -> bool {
        let is_done = orders::execute(order, &mut self.principal, context);
        self.end_if_unsubscribed(context);
        is_done
    }

    fn reload(&mut self, context: &mut SessionContext<'_>) {
        if orders::renew(&mut self.principal, context)
            && let Some(reason) = orders::end_uncovered(&self.principal, context)
        {
            context.refuse(None, ErrorCode::NotAllowed, &reason);
            self.end_if_unsubscribed(context);
        }
    }
}
