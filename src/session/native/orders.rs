//! What an operator's program, and the configuration, ask of native sessions. The gateway makes no subscriptions for these.

use crate::codes::{CloseCode, ErrorCode};
use crate::metrics::CloseReason;
use crate::session::principal::Principal;
use crate::session::turned_away::turn_away;
use crate::shard::{Order, SessionContext};
use crate::topic_name::{Pattern, TopicName};

/// Does what `order` says; `false`: there was nothing to do.
pub fn obey(order: &Order, principal: &mut Principal, context: &mut SessionContext<'_>) -> bool {
    match order {
        Order::Unsubscribe(topic) => unsubscribe(topic.as_ref(), context),
        Order::Expire(Some(expires)) => principal.expire_at(*expires),
        Order::Expire(None) => {
            context.close(CloseCode::TokenExpired, "an operator has let the token expire", CloseReason::TokenExpired);
            true
        }
        Order::Subscribe(_) => false,
    }
}

/// Ends the subscription to `topic`, or all, and says so; whether there was one.
fn unsubscribe(topic: Option<&TopicName>, context: &mut SessionContext<'_>) -> bool {
    let mut ended = context.subscriptions();
    if let Some(topic) = topic {
        let wanted = Pattern::from(topic.clone());
        ended.retain(|pattern| *pattern == wanted);
    }
    if ended.is_empty() {
        return false;
    }
    context.unsubscribe(&ended);
    context.refuse(None, ErrorCode::NotAllowed, &format!("an operator has ended these subscriptions: {}", names(&ended)));
    true
}

/// Follows the configuration in force; `false`: the credential is not good any more, and the session ends.
pub fn renew(principal: &mut Principal, context: &mut SessionContext<'_>) -> bool {
    principal.renew().inspect_err(|error| turn_away(error, context)).is_ok()
}

/// Ends the subscriptions that the session's grants do not cover any more; what it is to be told of that, if there were some.
pub fn end_uncovered(principal: &Principal, context: &mut SessionContext<'_>) -> Option<String> {
    let uncovered = principal.uncovered(context);
    if uncovered.is_empty() {
        return None;
    }
    context.unsubscribe(&uncovered);
    Some(format!("no longer allowed, so these subscriptions have ended: {}", names(&uncovered)))
}

fn names(patterns: &[Pattern]) -> String {
    patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join(", ")
}
