//! Replication of streams: delivers the messages of a stream, and replaces the logs of its topics.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::hub::Hub;
use super::outlet::Outlet;
use super::stream::{StreamLife, StreamMessage};
use super::topic::{Log, Published};
use crate::position::{Epoch, Offset};
use crate::topic_name::{Pattern, TopicName};

/// The number of topics whose logs are replaced before the task yields to the runtime.
const TOPICS_PER_SLICE: usize = 1_024;

impl Hub {
    /// Makes the topics that `pattern` matches those of a stream, of which no message is known yet.
    pub fn follow_stream(&self, pattern: &Pattern) {
        self.topics.shared.streams.begin(pattern, &StreamLife::new(Epoch::random(), Offset(0), Offset(0)));
    }

    /// Delivers a message of a stream once every outlet with a subscriber has room for it.
    pub async fn apply(&self, name: &TopicName, life: &Arc<StreamLife>, streamed: StreamMessage<'_>) {
        poll_fn(|context| match self.try_apply(name, life, &streamed, context.waker()) {
            Some(outlet) => {
                outlet.when_room(context.waker());
                Poll::Pending
            }
            None => Poll::Ready(()),
        })
        .await;
    }

    /// Delivers a message of a stream, or returns the outlet that has no room for it. If the limits have no room for the topic, the message is
    /// not kept, and a subscriber that asks for it later gets a gap.
    fn try_apply(
        &self,
        name: &TopicName,
        life: &Arc<StreamLife>,
        streamed: &StreamMessage<'_>,
        follower: &Waker,
    ) -> Option<Arc<dyn Outlet>> {
        let topics = &self.topics;
        match topics.deliver(name, None, |topic| topic.apply(life, streamed, follower)) {
            Ok(Published::NoRoom(outlet)) => Some(outlet),
            Ok(Published::At { .. }) => None,
            Err(_) => {
                life.raise_base(streamed.offset);
                life.advance(streamed.offset);
                None
            }
        }
    }

    /// Replaces the logs of the topics that `pattern` matches by `logs`, which were read from their stream. Subscribers continue from their
    /// positions, and get a gap for messages that the stream no longer has.
    ///
    /// Topics that are made meanwhile begin in the former life until all logs are replaced, so that none begins without its log.
    pub async fn begin_stream(&self, pattern: &Pattern, life: &Arc<StreamLife>, logs: HashMap<TopicName, Log>) {
        let topics = &self.topics;
        for (index, (name, mut log)) in logs.into_iter().enumerate() {
            yield_after_slice(index).await;
            match topics.with_topic(&name, None, |topic| topic.replace_log(&mut log)) {
                Ok((topic, ())) => topics.after_message(&topic, true),
                Err(_) => life.raise_base(log.position().offset),
            }
        }
        topics.shared.streams.begin(pattern, life);
        for (index, topic) in topics.registry.matching(Some(pattern)).into_iter().enumerate() {
            topic.begin_empty_in(life);
            yield_after_slice(index).await;
        }
    }
}

async fn yield_after_slice(index: usize) {
    if index % TOPICS_PER_SLICE == TOPICS_PER_SLICE - 1 {
        tokio::task::yield_now().await;
    }
}
