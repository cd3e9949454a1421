//! What an operator's program asks of a session of Centrifugo's protocol.

use super::commands::Centrifugo;
use crate::dialect::centrifugo::{Disconnect, Place, Push, Reply, Subscribe, Unsubscribed};
use crate::metrics::CloseReason;
use crate::shard::{Order, OrderedSubscription, SessionContext};
use crate::topic_name::{Pattern, TopicName};

/// Has `session` do what `order` says; `false`: there was nothing to do, or a limit was in the way.
pub fn obey(session: &mut Centrifugo, order: &Order, context: &mut SessionContext<'_>) -> bool {
    match order {
        _ if !session.is_connected() => false,
        Order::Subscribe(wanted) => subscribe(session, wanted, context),
        Order::Unsubscribe(topic) => unsubscribe(session, topic.as_ref(), context),
        Order::Expire(Some(expires)) => session.expire_at(*expires),
        Order::Expire(None) => {
            context.disconnect(Disconnect::EXPIRED, CloseReason::TokenExpired);
            true
        }
    }
}

fn subscribe(session: &mut Centrifugo, wanted: &OrderedSubscription, context: &mut SessionContext<'_>) -> bool {
    let OrderedSubscription { topic, info, data, since, join_leave } = wanted;
    if context.is_subscribed(&Pattern::from(topic.clone())) {
        return false;
    }
    let held = session.held_by_gateway(info.as_deref());
    let place = since.as_ref().map(|(epoch, offset)| Place { recover: true, offset: offset.0, epoch: (&**epoch).into() });
    let asked = Subscribe { place: place.unwrap_or_default(), join_leave: *join_leave, ..Subscribe::default() };
    let Ok(beginning) = session.begin(topic.clone(), &asked, Some(held), context) else { return false };
    let data = data.as_ref().map(|(bytes, kind)| (&**bytes, *kind));
    context.reply(&Reply::Push { channel: topic.as_str(), push: Push::Subscribe { result: &beginning.result, data } });
    beginning.go(context);
    true
}

fn unsubscribe(session: &mut Centrifugo, topic: Option<&TopicName>, context: &mut SessionContext<'_>) -> bool {
    let mut ended = context.subscriptions();
    if let Some(topic) = topic {
        let wanted = Pattern::from(topic.clone());
        ended.retain(|pattern| *pattern == wanted);
    }
    session.end(&ended, Unsubscribed::BY_SERVER, context);
    !ended.is_empty()
}
