//! What an operator's program asks of native sessions and of streams. The gateway makes no subscriptions for these.

use crate::codes::{CloseCode, ErrorCode};
use crate::metrics::CloseReason;
use crate::shard::SessionContext;
use crate::topic_name::{Pattern, TopicName};

/// Ends the subscription to `topic`, or all, and says so; whether there was one.
pub fn unsubscribe(topic: Option<&TopicName>, context: &mut SessionContext<'_>) -> bool {
    let mut ended = context.subscriptions();
    if let Some(topic) = topic {
        let wanted = Pattern::from(topic.clone());
        ended.retain(|pattern| *pattern == wanted);
    }
    if ended.is_empty() {
        return false;
    }
    context.unsubscribe(&ended);
    let names: Vec<&str> = ended.iter().map(Pattern::as_str).collect();
    context.refuse(None, ErrorCode::NotAllowed, &format!("an operator has ended these subscriptions: {}", names.join(", ")));
    true
}

/// Ends a session whose credential an operator has let expire.
pub fn expire(context: &mut SessionContext<'_>) {
    context.close(CloseCode::TokenExpired, "an operator has let the token expire", CloseReason::TokenExpired);
}
