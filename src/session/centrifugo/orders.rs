//! Operators' orders for sessions of Centrifugo's protocol.

use super::subscriber::Subscriber;
use crate::dialect::centrifugo::{Disconnect, Place, Push, Reply, Subscribe, Unsubscribed};
use crate::metrics::CloseReason;
use crate::shard::{Order, OrderedSubscription, SessionContext};
use crate::topic_name::{Pattern, TopicName};

/// Executes `order` for a connected session; `false`: the order had no effect, or a limit prevents it.
pub fn execute(subscriber: &mut Subscriber, order: &Order, context: &mut SessionContext<'_>) -> bool {
    match order {
        Order::Subscribe(wanted) => subscribe(subscriber, wanted, context),
        Order::Unsubscribe(topic) => unsubscribe(subscriber, topic.as_ref(), context),
        Order::Expire(Some(expires)) => subscriber.principal_mut().expire_at(*expires),
        Order::Expire(None) => {
            context.disconnect(Disconnect::EXPIRED, CloseReason::TokenExpired);
            true
        }
    }
}

fn subscribe(subscriber: &mut Subscriber, wanted: &OrderedSubscription, context: &mut SessionContext<'_>) -> bool {
    let OrderedSubscription { topic, info, data, since, join_leave } = wanted;
    if context.is_subscribed(&Pattern::from(topic.clone())) {
        return false;
    }
    let authorization = subscriber.gateway_authorization(info.as_deref());
    let place = since.as_ref().map(|(epoch, offset)| Place { recover: true, offset: offset.0, epoch: (&**epoch).into() });
    let asked = Subscribe { place: place.unwrap_or_default(), join_leave: *join_leave, ..Subscribe::default() };
    let Ok(beginning) = subscriber.begin(topic.clone(), &asked, Some(authorization), context) else { return false };
    let data = data.as_ref().map(|(bytes, kind)| (&**bytes, *kind));
    context.reply(&Reply::Push { channel: topic.as_str(), push: Push::Subscribe { result: &beginning.result, data } });
    beginning.go(context);
    true
}

fn unsubscribe(subscriber: &mut Subscriber, topic: Option<&TopicName>, context: &mut SessionContext<'_>) -> bool {
    let mut ended = context.subscriptions();
    if let Some(topic) = topic {
        let wanted = Pattern::from(topic.clone());
        ended.retain(|pattern| *pattern == wanted);
    }
    subscriber.end(&ended, Unsubscribed::BY_SERVER, context);
    !ended.is_empty()
}
