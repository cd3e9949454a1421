//! A topic as the administrators' API shows it.

use std::sync::Arc;

use crate::position::Position;
use crate::topic_name::TopicName;

/// A topic as `/v1/topics` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// The topic's name.
    pub topic: TopicName,
    /// How many sessions are subscribed by name.
    pub subscribers: usize,
    /// The position of the newest message.
    pub position: Position,
    /// The label of the topic's rule.
    pub rule: Arc<str>,
}
