//! Administrators' commands and reloads in native sessions. An administrator can't subscribe a native session.

use crate::codes::{CloseCode, ErrorCode};
use crate::metrics::CloseReason;
use crate::session::principal::Principal;
use crate::session::rejected::reject;
use crate::shard::{AdminCommand, SessionContext};
use crate::topic_name::{Pattern, TopicName};

/// Executes `command`; `false`: the command had no effect.
pub fn execute(command: &AdminCommand, principal: &mut Principal, context: &mut SessionContext<'_>) -> bool {
    match command {
        AdminCommand::Unsubscribe(topic) => unsubscribe(topic.as_ref(), context),
        AdminCommand::Expire(Some(expires)) => principal.expire_at(*expires),
        AdminCommand::Expire(None) => {
            context.close(CloseCode::TokenExpired, "an operator has let the token expire", CloseReason::TokenExpired);
            true
        }
        AdminCommand::Subscribe(_) => false,
    }
}

/// Ends the subscription to `topic`, or all subscriptions, and names them in an error. Returns whether there was one.
fn unsubscribe(topic: Option<&TopicName>, context: &mut SessionContext<'_>) -> bool {
    let ended = context.subscriptions_to(topic);
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
