//! Administrators' commands in sessions of Centrifugo's protocol.

use super::subscriber::Subscriber;
use crate::dialect::centrifugo::{ClientPosition, Disconnect, Push, Reply, Subscribe, Unsubscribed};
use crate::metrics::CloseReason;
use crate::shard::{AdminCommand, AdminSubscription, SessionContext};
use crate::topic_name::{Pattern, TopicName};

/// Executes `command` in a connected session; `false`: the command had no effect, or a limit prevents it.
pub fn execute(subscriber: &mut Subscriber, command: &AdminCommand, context: &mut SessionContext<'_>) -> bool {
    match command {
        AdminCommand::Subscribe(wanted) => subscribe(subscriber, wanted, context),
        AdminCommand::Unsubscribe(topic) => unsubscribe(subscriber, topic.as_ref(), context),
        AdminCommand::Expire(Some(expires)) => subscriber.principal_mut().expire_at(*expires),
        AdminCommand::Expire(None) => {
            context.disconnect(Disconnect::EXPIRED, CloseReason::TokenExpired);
            true
        }
    }
}

fn subscribe(subscriber: &mut Subscriber, wanted: &AdminSubscription, context: &mut SessionContext<'_>) -> bool {
    let AdminSubscription { topic, info, data, since, join_leave } = wanted;
    if context.is_subscribed(&Pattern::from(topic.clone())) {
        return false;
    }
    let authorization = subscriber.gateway_authorization(info.as_deref());
    let position = since.as_ref().map(|(epoch, offset)| ClientPosition { recover: true, offset: offset.0, epoch: (&**epoch).into() });
    let request = Subscribe { position: position.unwrap_or_default(), join_leave: *join_leave, ..Subscribe::default() };
    let Ok(subscription) = subscriber.new_subscription(topic.clone(), &request, Some(authorization), context) else { return false };
    let data = data.as_ref().map(|(bytes, kind)| (&**bytes, *kind));
    context.reply(&Reply::Push { channel: topic.as_str(), push: Push::Subscribe { result: &subscription.result, data } });
    subscription.begin(context);
    true
}

fn unsubscribe(subscriber: &mut Subscriber, topic: Option<&TopicName>, context: &mut SessionContext<'_>) -> bool {
    let ended = context.subscriptions_to(topic);
    subscriber.end(&ended, Unsubscribed::BY_SERVER, context);
    !ended.is_empty()
}
