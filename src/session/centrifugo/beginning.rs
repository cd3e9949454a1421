//! A subscription as it begins: told first, then gone on with.

use crate::dialect::centrifugo::{Push, Reply, SubscribeResult};
use crate::session_id::Member;
use crate::shard::{Begun, SessionContext};
use crate::topic_name::TopicName;

/// A subscription that was made, and is to be told before it goes on.
pub struct Beginning {
    pub topic: TopicName,
    /// What is told.
    pub result: SubscribeResult,
    /// The session as it has joined, where it is told of joins.
    pub joined: Option<Member>,
    pub begun: Begun,
}

impl Beginning {
    /// After the answer: one's own join, then what is replayed, then what is live.
    pub fn go(self, context: &mut SessionContext<'_>) {
        if let Some(member) = &self.joined {
            context.reply(&Reply::Push { channel: self.topic.as_str(), push: Push::Join(member) });
        }
        context.begin(self.begun);
    }
}
