//! The admission of a subscription: grants and limits.

use crate::auth::Grants;
use crate::codes::ErrorCode;
use crate::metrics::LimitKey;
use crate::shard::SessionContext;
use crate::topic_name::Pattern;

/// The result for a subscription that is admitted.
pub enum Admission {
    /// The session has the subscription already. It gets the options of the command.
    Existing,
    /// The subscription is new, and is reserved.
    Reserved,
}

/// Checks grants and limits, and reserves a new subscription. An error has the code and the text of the answer.
pub fn admit(grants: Option<&Grants>, pattern: &Pattern, context: &mut SessionContext<'_>) -> Result<Admission, (ErrorCode, String)> {
    if !grants.is_some_and(|grants| grants.may_subscribe(pattern)) {
        return Err((ErrorCode::NotAllowed, format!("subscribing to {pattern} is not allowed for this session")));
    }
    if context.is_subscribed(pattern) {
        return Ok(Admission::Existing);
    }
    let most = context.config().limits.subscriptions_per_session;
    let taken = context.subscription_count();
    if taken >= most {
        context.limit_hit(LimitKey::SubscriptionsPerSession);
        let reason = format!("{pattern}: this session has {taken} subscriptions already, the most is {most}");
        return Err((ErrorCode::TooManySubscriptions, reason));
    }
    if let Err(limit) = context.reserve_subscription(pattern) {
        context.limit_hit(limit);
        return Err((ErrorCode::TooManySubscriptions, limit_reached(pattern, limit)));
    }
    Ok(Admission::Reserved)
}

/// The text of the refusal of a subscription to `pattern` that `limit` prevents.
fn limit_reached(pattern: &Pattern, limit: LimitKey) -> String {
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
