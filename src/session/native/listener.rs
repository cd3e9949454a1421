//! The session of a stream (PROTOCOL section 11), whose client only listens.

use std::sync::Arc;

use super::admin;
use crate::auth::Identity;
use crate::codes::{CloseCode, ErrorCode};
use crate::metrics::CloseReason;
use crate::session::carriers::OneWay;
use crate::session::principal::Principal;
use crate::session::protocol::Protocol;
use crate::session::reading::Session;
use crate::session::services::Services;
use crate::session::subscriptions::{SubscribeOptions, Subscribing};
use crate::session::work;
use crate::session_id::SessionId;
use crate::shard::{AdminCommand, Reader, SessionContext};
use crate::topic_name::{Pattern, TopicNameError};

/// The parameters of a stream, from its request.
pub struct StreamOpening {
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

impl StreamOpening {
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
    subscribe: Option<Box<StreamSubscribe>>,
    /// Charges the work that the stream causes.
    charge: Charge,
}

/// The subscribe of a stream.
struct StreamSubscribe {
    subscribing: Subscribing,
    topics: Vec<Result<Pattern, TopicNameError>>,
    tells_position: bool,
}

/// The reading side of a stream, ready for a shard. Bytes that its client sends after the request are discarded. `charge` is called with
/// the work that the stream causes.
pub fn open_stream(opening: StreamOpening, charge: Charge, services: &Arc<Services>) -> Box<dyn Reader> {
    let StreamOpening { id, identity, topics, options, is_raw, tells_position } = opening;
    let subscribing = Subscribing::new(topics.clone(), options);
    let subscribe = Some(Box::new(StreamSubscribe { subscribing, topics, tells_position }));
    let principal = Principal::new(id, Some(identity), services);
    Box::new(Session::new(OneWay, Listener { principal, is_raw, subscribe, charge }))
}

impl Listener {
    /// Continues the subscribe.
    fn run_subscribe(&mut self, context: &mut SessionContext<'_>) {
        let Some(mut subscribe) = self.subscribe.take() else { return };
        if subscribe.subscribing.resume(self.principal.grants(), &self.principal.member(), context).is_pending() {
            self.subscribe = Some(subscribe);
            return;
        }
        let StreamSubscribe { subscribing, topics, tells_position } = *subscribe;
        (self.charge)(work::of_nodes(subscribing.visited()));
        let done = subscribing.finish(context);
        let (announced, before_replay) = done.stream_positions(&topics);
        if self.is_raw {
            if let Err(reason) = done.begin_raw(context) {
                context.close(CloseCode::Policy, &reason, CloseReason::Policy);
            }
        } else {
            done.begin_stream(&announced, &before_replay, context);
            done.begin_all(None, context);
        }
        if tells_position {
            context.set_stream_position(before_replay);
        }
        self.end_if_unsubscribed(context);
    }

    /// Closes a stream without subscriptions, because it has no command to subscribe.
    fn end_if_unsubscribed(&self, context: &mut SessionContext<'_>) {
        if self.subscribe.is_none() && context.is_open() && context.subscription_count() == 0 {
            context.close(CloseCode::Policy, "this stream is subscribed to nothing", CloseReason::Policy);
        }
    }
}

impl Protocol for Listener {
    fn principal(&self) -> &Principal {
        &self.principal
    }

    fn on_open(&mut self, context: &mut SessionContext<'_>) {
        self.principal.send_welcome(context);
        // A reload after the request was granted did not reach this session, because the shard did not have it yet.
        if admin::renew(&mut self.principal, context) {
            self.run_subscribe(context);
        }
    }

    fn on_message(&mut self, _: &[u8], _: bool, _: &mut SessionContext<'_>) {}

    fn resume(&mut self, context: &mut SessionContext<'_>) -> bool {
        self.run_subscribe(context);
        self.accepts_messages()
    }

    fn accepts_messages(&self) -> bool {
        self.subscribe.is_none()
    }

    fn held_bytes(&self) -> usize {
        self.subscribe.as_ref().map_or(0, |subscribe| subscribe.subscribing.bytes())
    }

    fn on_work(&mut self, context: &mut SessionContext<'_>) {
        (self.charge)(context.take_work(work::TOPICS_PER_UNIT));
    }

    fn on_admin_command(&mut self, command: &AdminCommand, context: &mut SessionContext<'_>) -> bool {
        let is_done = admin::execute(command, &mut self.principal, context);
        self.end_if_unsubscribed(context);
        is_done
    }

    fn on_reload(&mut self, context: &mut SessionContext<'_>) {
        if admin::renew(&mut self.principal, context)
            && let Some(reason) = admin::end_uncovered(&self.principal, context)
        {
            context.refuse(None, ErrorCode::NotAllowed, &reason);
            self.end_if_unsubscribed(context);
        }
    }
}
