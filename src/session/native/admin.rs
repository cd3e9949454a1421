//! Administrators' commands, reloads and new identities of native sessions. An administrator can't subscribe a native session.

use crate::codes::{CloseCode, ErrorCode};
use crate::metrics::CloseReason;
use crate::session::principal::Principal;
use crate::session::rejected::reject;
use crate::session::subscriptions::{Cause, Reviewed, Reviews};
use crate::shard::{AdminCommand, SessionContext};
use crate::topic_name::Pattern;

/// Executes `command`; `false`: the command had no effect. [`run_reviews`] has to follow.
pub fn execute(command: &AdminCommand, principal: &mut Principal, reviews: &mut Reviews, context: &mut SessionContext<'_>) -> bool {
    match command {
        AdminCommand::Unsubscribe(topic) => {
            let is_subscribed = context.has_subscription_to(topic.as_ref());
            if is_subscribed {
                reviews.add(Cause::Operator(topic.clone()));
            }
            is_subscribed
        }
        AdminCommand::Expire(Some(expires)) => principal.expire_at(*expires),
        AdminCommand::Expire(None) => {
            context.close(CloseCode::TokenExpired, "an operator has let the token expire", CloseReason::TokenExpired);
            true
        }
        AdminCommand::Subscribe(_) => false,
    }
}

/// Applies the configuration in force; `false`: the credential is no longer valid, and the session was closed. [`run_reviews`] has to
/// follow.
pub fn renew(principal: &mut Principal, reviews: &mut Reviews, context: &mut SessionContext<'_>) -> bool {
    let Some(have_changed) = renew_identity(principal, context) else { return false };
    if have_changed {
        review(principal, false, reviews, context);
    }
    true
}

/// Applies the configuration in force to the identity alone. Returns whether the grants have changed. `None`: the credential is no longer
/// valid, and the session was closed.
pub fn renew_identity(principal: &mut Principal, context: &mut SessionContext<'_>) -> Option<bool> {
    principal.renew().inspect_err(|error| reject(error, context)).ok()
}

/// Has the subscriptions reviewed, because the session has other grants or, if `is_renamed`, another user. The new grants count at once.
/// [`run_reviews`] has to follow.
pub fn review(principal: &Principal, is_renamed: bool, reviews: &mut Reviews, context: &mut SessionContext<'_>) {
    if context.subscription_count() > 0 {
        let grants = principal.shared_grants();
        context.deny_beyond(Box::new(move |topic| grants.may_subscribe(&Pattern::from(topic.clone()))));
        reviews.add(Cause::Identity { is_renamed });
    }
}

/// Runs slices of the reviews of subscriptions, and names those that have ended in errors. Returns `true` if no review is left.
pub fn run_reviews(reviews: &mut Reviews, principal: &Principal, context: &mut SessionContext<'_>) -> bool {
    let ends = |cause: &Cause, pattern: &Pattern| !matches!(cause, Cause::Identity { .. }) || !principal.may_subscribe(pattern);
    while context.is_open()
        && let Some(Reviewed { cause, ended }) = reviews.next(ends, |_| principal.member(), context)
    {
        let why = match cause {
            Cause::Identity { .. } | Cause::Expired => "no longer allowed, so these subscriptions have ended",
            Cause::Operator(_) => "an operator has ended these subscriptions",
        };
        if !ended.is_empty() {
            context.refuse(None, ErrorCode::NotAllowed, &format!("{why}: {}", names(&ended)));
        }
    }
    reviews.are_done()
}

fn names(patterns: &[Pattern]) -> String {
    patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join(", ")
}
