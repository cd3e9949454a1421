//! The options of a subscribe.

use std::time::Duration;

use foldhash::{HashMap, HashMapExt};

use crate::dialect::Since;
use crate::position::Offset;
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// The memory of a topic of a command beside its text, in bytes.
const TOPIC_BYTES: usize = 64;

/// The memory of a topic in `since`, in bytes.
const SINCE_BYTES: usize = 200;

/// The options of a subscribe beside its topics.
#[derive(Debug, Default)]
pub struct SubscribeOptions<'a> {
    /// How many of the newest messages of each topic are replayed; `None`: as many as the topic's rule says.
    pub last: Option<usize>,
    /// The positions that the client has.
    pub since: Vec<Since<'a>>,
    /// The shortest time between two messages of one topic.
    pub interval: Option<Duration>,
    /// Whether the session is sent joins and leaves.
    pub presence: bool,
}

impl SubscribeOptions<'_> {
    /// The same options, with copies of what they borrow.
    pub fn into_owned(self) -> SubscribeOptions<'static> {
        let since = self.since.into_iter().map(Since::into_owned).collect();
        SubscribeOptions { since, last: self.last, interval: self.interval, presence: self.presence }
    }
}

/// The positions that a client has, by topic. Of several positions for one topic, the first one counts.
pub struct LastSeen {
    list: Vec<Since<'static>>,
    by_topic: HashMap<TopicName, usize>,
}

impl LastSeen {
    /// The positions in the order of the command.
    pub fn new(list: Vec<Since<'static>>) -> Self {
        let mut by_topic = HashMap::with_capacity(list.len());
        for (index, since) in list.iter().enumerate() {
            by_topic.entry(since.topic.clone()).or_insert(index);
        }
        Self { list, by_topic }
    }

    /// The number of different topics.
    pub fn len(&self) -> usize {
        self.by_topic.len()
    }

    /// The topic at `index` of the command's list; `None`: the list is shorter.
    pub fn topic(&self, index: usize) -> Option<&TopicName> {
        self.list.get(index).map(|since| &since.topic)
    }

    /// The epoch and offset that the client has on `topic`.
    pub fn of(&self, topic: &TopicName) -> Option<(Option<&str>, Offset)> {
        let since = self.list.get(*self.by_topic.get(topic)?)?;
        Some((Some(&*since.epoch), since.offset))
    }

    /// The approximate memory of the positions, in bytes.
    pub fn bytes(&self) -> usize {
        self.list.len() * SINCE_BYTES
    }
}

/// The approximate memory of the topics of a command, in bytes.
pub fn bytes_of(topics: &[Result<Pattern, TopicNameError>]) -> usize {
    topics.iter().map(|topic| TOPIC_BYTES + topic.as_ref().map_or(0, |topic| topic.as_str().len())).sum()
}
