//! Operators' orders and reloads for native sessions. The gateway does not subscribe native sessions by order.

use crate::codes::{CloseCode, ErrorCode};
use crate::metrics::CloseReason;
use crate::session::principal::Principal;
use crate::session::rejected::reject;
use crate::shard::{Order, SessionContext};
use crate::topic_name::{Pattern, TopicName};

/// Executes `order`; `false`: the order had no effect.
pub fn execute(order: &Order, principal: &mut Principal, context: &mut SessionContext<'_>) -> bool {
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

/// Ends the subscription to `topic`, or all subscriptions, and names them in an error. Returns whether there was one.
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

/// Applies the configuration in force; `false`: the credential is no longer valid, and the session was closed.
pub fn renew(principal: &mut Principal, context: &mut SessionContext<'_>) -> bool {
    principal.renew().inspect_err(|error| reject(error, context)).is_ok()
}

/// Ends the subscriptions that the session's grants no longer cover. Returns the text of the error that names them, if there were any.
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
