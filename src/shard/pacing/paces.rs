//! What `interval_ms` holds back for one session: of each topic at most the newest message.

use foldhash::{HashMap, HashSet};

use super::intervals::Intervals;
use crate::clock::Moment;
use crate::config::OnSlow;
use crate::hub::Message;
use crate::topic_name::TopicName;

/// What a topic takes whose interval runs, with its place in the schedule, in bytes.
const NOTE_BYTES: usize = 160;

/// One session's paced topics. A topic is in it only while its interval runs.
#[derive(Default)]
pub struct Paces {
    by_topic: HashMap<TopicName, Pace>,
    intervals: Intervals,
    /// The payloads' bytes that are held.
    bytes: usize,
}

struct Pace {
    due: Moment,
    held: Option<Message>,
}

/// What becomes of a message under an interval.
pub enum Paced {
    /// It goes out now; its topic has no interval.
    Freely,
    /// It goes out now; its topic is due again then.
    Now(Moment),
    /// It waits for the topic's due time, in place of the message given back, if there was one.
    Held(Option<Message>),
}

impl Paces {
    /// The intervals of the session's subscriptions.
    pub fn intervals(&mut self) -> &mut Intervals {
        &mut self.intervals
    }

    /// Decides about a message.
    pub fn pace(&mut self, message: &Message, now: Moment) -> Paced {
        let Some(interval) = self.intervals.of(&message.topic) else { return Paced::Freely };
        let Some(pace) = self.by_topic.get_mut(&message.topic) else {
            let due = now + interval;
            self.by_topic.insert(message.topic.clone(), Pace { due, held: None });
            return Paced::Now(due);
        };
        let older = pace.held.replace(message.clone());
        self.bytes = self.bytes + message.payload().len() - bytes(older.as_ref());
        Paced::Held(older)
    }

    /// A replay has given the session a message of `topic`: the next one is not due before its interval is over, counted from now. When
    /// that is, if it is news.
    pub fn begin(&mut self, topic: &TopicName, now: Moment) -> Option<Moment> {
        let due = now + self.intervals.of(topic)?;
        match self.by_topic.get_mut(topic) {
            Some(pace) if pace.due >= due => return None,
            Some(pace) => pace.due = due,
            None => {
                self.by_topic.insert(topic.clone(), Pace { due, held: None });
            }
        }
        Some(due)
    }

    /// Whether `topic` is due at that very moment.
    pub fn is_due_at(&self, topic: &TopicName, at: Moment) -> bool {
        self.by_topic.get(topic).is_some_and(|pace| pace.due == at)
    }

    /// The interval of `topic` is over: the held message, which goes out now with another interval to follow, or nothing.
    pub fn fall_due(&mut self, topic: &TopicName, now: Moment) -> Option<(Message, Option<Moment>)> {
        let pace = self.by_topic.get_mut(topic).filter(|pace| pace.due <= now)?;
        let Some(message) = pace.held.take() else {
            self.by_topic.remove(topic);
            return None;
        };
        self.bytes -= message.payload().len();
        let next = self.intervals.of(topic).map(|interval| now + interval);
        match next {
            Some(next) => pace.due = next,
            None => {
                self.by_topic.remove(topic);
            }
        }
        Some((message, next))
    }

    /// The intervals have changed: no topic is due later than its interval from now. The topics that moved, and when they are due; and
    /// those that have no interval any more.
    pub fn follow(&mut self, now: Moment) -> (Vec<(TopicName, Moment)>, HashSet<TopicName>) {
        let (mut moved, mut freed) = (Vec::new(), HashSet::default());
        for (topic, pace) in &mut self.by_topic {
            let Some(interval) = self.intervals.of(topic) else {
                freed.insert(topic.clone());
                continue;
            };
            if now + interval < pace.due {
                pace.due = now + interval;
                moved.push((topic.clone(), pace.due));
            }
        }
        (moved, freed)
    }

    /// Ends the pacing of topics that `left` names; what was held is given back.
    pub fn leave(&mut self, left: impl Fn(&TopicName) -> bool) -> Vec<Message> {
        let gone = self.by_topic.extract_if(|topic, _| left(topic));
        let held: Vec<Message> = gone.filter_map(|(_, pace)| pace.held).collect();
        self.bytes -= held.iter().map(|message| message.payload().len()).sum::<usize>();
        held
    }

    /// Gives up what was held longest of topics whose rule allows it, until `bytes_max` are held.
    pub fn give_up_oldest(&mut self, bytes_max: usize) -> Vec<Message> {
        let may_go = |message: &&Message| message.rule.on_slow != OnSlow::Disconnect;
        let mut oldest: Vec<Message> = self.by_topic.values().filter_map(|pace| pace.held.as_ref()).filter(may_go).cloned().collect();
        oldest.sort_unstable_by_key(|message| message.moment);
        let mut left = self.bytes;
        oldest.retain(|message| {
            let goes = left > bytes_max;
            left -= if goes { message.payload().len() } else { 0 };
            goes
        });
        for message in &oldest {
            if let Some(pace) = self.by_topic.get_mut(&message.topic) {
                pace.held = None;
            }
        }
        self.bytes = left;
        oldest
    }

    /// The payloads' bytes that are held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is remembered of the topics whose interval runs, in bytes.
    pub fn note_bytes(&self) -> usize {
        self.by_topic.len() * NOTE_BYTES
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

fn bytes(held: Option<&Message>) -> usize {
    held.map_or(0, |message| message.payload().len())
}
