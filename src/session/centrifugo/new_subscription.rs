//! A subscription of Centrifugo's protocol that was made and is not answered yet.

use crate::dialect::centrifugo::{Push, Reply, SubscribeResult};
use crate::hub::TopicStart;
use crate::session_id::Member;
use crate::shard::SessionContext;
use crate::topic_name::TopicName;

/// A subscription that was made. Its answer is sent before the first message.
pub struct NewSubscription {
    pub topic: TopicName,
    /// The result that the answer has.
    pub result: SubscribeResult,
    /// The session as a member, if the session receives joins, its own included.
    pub joined: Option<Member>,
    pub start: TopicStart,
}

impl NewSubscription {
    /// Called after the answer: sends the session's own join, then begins the replay, which precedes live messages.
    pub fn begin(self, context: &mut SessionContext<'_>) {
        if let Some(member) = &self.joined {
            context.reply(&Reply::Push { channel: self.topic.as_str(), push: Push::Join(member) });
        }
        context.begin(self.start);
    }
}
