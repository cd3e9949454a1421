//! What `interval_ms` holds back for one session: of each topic at most the newest message.

use std::time::Duration;

use foldhash::HashMap;

use crate::clock::Moment;
use crate::hub::Message;
use crate::topic_name::TopicName;

/// One session's paced topics. A topic is in it only while its interval runs.
#[derive(Default)]
pub struct Paces {
    by_topic: HashMap<TopicName, Pace>,
}

struct Pace {
    due: Moment,
    held: Option<Message>,
}

/// What becomes of a message under an interval.
pub enum Paced {
    /// It goes out now; its topic is due again then.
    Now(Moment),
    /// It waits for the topic's due time, in place of the message given back, if there was one.
    Held(Option<Message>),
}

impl Paces {
    /// Decides about a message of a topic with `interval`.
    pub fn pace(&mut self, message: &Message, interval: Duration, now: Moment) -> Paced {
        match self.by_topic.get_mut(&message.topic) {
            Some(pace) => Paced::Held(pace.held.replace(message.clone())),
            None => {
                let due = now + interval;
                self.by_topic.insert(message.topic.clone(), Pace { due, held: None });
                Paced::Now(due)
            }
        }
    }

    /// A replay has given the session a message of `topic`: the next one is not due before `due`. `true`: that is news.
    pub fn begin(&mut self, topic: &TopicName, due: Moment) -> bool {
        match self.by_topic.get_mut(topic) {
            Some(pace) if pace.due >= due => return false,
            Some(pace) => pace.due = due,
            None => {
                self.by_topic.insert(topic.clone(), Pace { due, held: None });
            }
        }
        true
    }

    /// Whether `topic` is due at that very moment.
    pub fn is_due_at(&self, topic: &TopicName, at: Moment) -> bool {
        self.by_topic.get(topic).is_some_and(|pace| pace.due == at)
    }

    /// The interval of `topic` is over: the held message, which goes out now with another interval to follow, or nothing.
    pub fn fall_due(&mut self, topic: &TopicName, interval: Option<Duration>, now: Moment) -> Option<(Message, Option<Moment>)> {
        let pace = self.by_topic.get_mut(topic).filter(|pace| pace.due <= now)?;
        let Some(message) = pace.held.take() else {
            self.by_topic.remove(topic);
            return None;
        };
        let next = interval.map(|interval| now + interval);
        match next {
            Some(next) => pace.due = next,
            None => {
                self.by_topic.remove(topic);
            }
        }
        Some((message, next))
    }

    /// Topics' intervals have changed: none is due later than its interval from now. The topics that moved, and when they are due.
    pub fn shorten(&mut self, now: Moment, interval: impl Fn(&TopicName) -> Option<Duration>) -> Vec<(TopicName, Moment)> {
        let mut moved = Vec::new();
        for (topic, pace) in &mut self.by_topic {
            if let Some(due) = interval(topic).map(|interval| now + interval).filter(|&due| due < pace.due) {
                pace.due = due;
                moved.push((topic.clone(), due));
            }
        }
        moved
    }

    /// Ends the pacing of topics that `left` names; what was held is given back.
    pub fn leave(&mut self, left: impl Fn(&TopicName) -> bool) -> Vec<Message> {
        let (gone, kept) = std::mem::take(&mut self.by_topic).into_iter().partition(|(topic, _)| left(topic));
        self.by_topic = kept;
        let gone: HashMap<TopicName, Pace> = gone;
        gone.into_values().filter_map(|pace| pace.held).collect()
    }

    /// The payloads' bytes that are held.
    pub fn bytes(&self) -> usize {
        self.by_topic.values().filter_map(|pace| pace.held.as_ref()).map(|message| message.payload().len()).sum()
    }

    /// Whether nothing is paced now.
    pub fn is_empty(&self) -> bool {
        self.by_topic.is_empty()
    }

    /// The oldest message that is held.
    pub fn oldest(&self) -> Option<&Message> {
        self.by_topic.values().filter_map(|pace| pace.held.as_ref()).min_by_key(|message| message.moment)
    }
}
