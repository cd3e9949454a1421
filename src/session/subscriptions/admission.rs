//! What a session may subscribe to.

use crate::auth::Grants;
use crate::codes::ErrorCode;
use crate::metrics::LimitKey;
use crate::shard::SessionContext;
use crate::topic_name::Pattern;

/// Whether a session may subscribe to a topic or pattern.
pub enum Admission {
    /// It has it: it gets the command's options.
    Has,
    /// A place was taken for it.
    Place,
}

/// Checks grants and limits, and takes a place for a new subscription.
pub fn admit(grants: Option<&Grants>, pattern: &Pattern, context: &mut SessionContext<'_>) -> Result<Admission, (ErrorCode, String)> {
    if !grants.is_some_and(|grants| grants.may_subscribe(pattern)) {
        return Err((ErrorCode::NotAllowed, format!("subscribing to {pattern} is not allowed for this session")));
    }
    if context.is_subscribed(pattern) {
        return Ok(Admission::Has);
    }
    let most = context.config().limits.subscriptions_per_session;
    let taken = context.subscription_count();
    if taken >= most {
        context.limit_hit(LimitKey::SubscriptionsPerSession);
        let reason = format!("{pattern}: this session has {taken} subscriptions already, the most is {most}");
        return Err((ErrorCode::TooManySubscriptions, reason));
    }
    if let Err(limit) = context.take_place(pattern) {
        context.limit_hit(limit);
        return Err((ErrorCode::TooManySubscriptions, no_place(pattern, limit)));
    }
    Ok(Admission::Place)
}

/// Why there is no place for one more subscription.
fn no_place(pattern: &Pattern, limit: LimitKey) -> String {
    let key = limit.as_str();
    match limit {
        LimitKey::PatternShapes | LimitKey::PatternShapesPerAddress => {
            format!(
                "{pattern}: patterns have their `*` at as many different places as limits.{key} allows; fewer than two are always taken"
            )
        }
        _ => format!("{pattern}: the gateway has as many subscriptions as limits.{key} allows"),
    }
}
