//! What a subscribe asks for.

use std::time::Duration;

use foldhash::{HashMap, HashMapExt};

use crate::dialect::Since;
use crate::position::Offset;
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// What a topic of a command takes beside its text, with its place in a list, in bytes.
const TOPIC_BYTES: usize = 64;

/// What a topic in `since` takes, in bytes.
const SINCE_BYTES: usize = 200;

/// What a subscribe asks for beside its topics.
#[derive(Debug, Default)]
pub struct SubscribeOptions<'a> {
    /// The newest messages of each topic; its rule's where it says nothing.
    pub last: Option<usize>,
    /// Where the client says it was.
    pub since: Vec<Since<'a>>,
    /// At most one message per topic in that time.
    pub interval: Option<Duration>,
    /// Whether joins and leaves are told.
    pub presence: bool,
}

impl SubscribeOptions<'_> {
    /// The same, with copies of what it refers to.
    pub fn into_owned(self) -> SubscribeOptions<'static> {
        let since = self.since.into_iter().map(Since::into_owned).collect();
        SubscribeOptions { since, last: self.last, interval: self.interval, presence: self.presence }
    }
}

/// Where a client says it was, found by topic. What it says of a topic first counts.
pub struct LastSeen {
    list: Vec<Since<'static>>,
    by_topic: HashMap<TopicName, usize>,
}

impl LastSeen {
    /// As a command names them.
    pub fn new(list: Vec<Since<'static>>) -> Self {
        let mut by_topic = HashMap::with_capacity(list.len());
        for (index, since) in list.iter().enumerate() {
            by_topic.entry(since.topic.clone()).or_insert(index);
        }
        Self { list, by_topic }
    }

    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.by_topic.len()
    }

    /// A topic of the list; `None`: it has no more.
    pub fn topic(&self, index: usize) -> Option<&TopicName> {
        self.list.get(index).map(|since| &since.topic)
    }

    /// Where the client was on `topic`, if it says so.
    pub fn of(&self, topic: &TopicName) -> Option<(Option<&str>, Offset)> {
        let since = self.list.get(*self.by_topic.get(topic)?)?;
        Some((Some(&*since.epoch), since.offset))
    }

    /// About how much memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.list.len() * SINCE_BYTES
    }
}

/// About how much memory the topics of a command take, in bytes.
pub fn bytes_of(topics: &[Result<Pattern, TopicNameError>]) -> usize {
    topics.iter().map(|topic| TOPIC_BYTES + topic.as_ref().map_or(0, |topic| topic.as_str().len())).sum()
}
