//! What `interval_ms` holds back for one session: of each topic at most the newest message.

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::intervals::Intervals;
use crate::clock::Moment;
use crate::config::OnSlow;
use crate::hub::Message;
use crate::topic_name::TopicName;

/// What a topic takes whose interval runs, with its place in the schedule, in bytes.
const NOTE_BYTES: usize = 160;

/// One session's paced topics. A topic is in it only while its interval runs.
///
/// Where the session's intervals change, its topics follow a part at a time, from the last to the first. Until its turn, what a topic has
/// held goes out no later than the next message that has no interval any more.
#[derive(Default)]
pub struct Paces {
    by_topic: IndexMap<TopicName, Pace, RandomState>,
    /// So many of the first may still be due by intervals from before.
    behind: usize,
    /// It is on the list of those whose topics are to follow.
    waits: bool,
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

/// What a part of the topics have come to that follow new intervals.
#[derive(Default)]
pub struct Followed {
    /// How many there were.
    pub looked_at: usize,
    /// Those that are due earlier, and when.
    pub moved: Vec<(TopicName, Moment)>,
    /// What was held of those that have no interval any more.
    pub released: Vec<Message>,
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
            self.remove(topic);
            return None;
        };
        self.bytes -= message.payload().len();
        let next = self.intervals.of(topic).map(|interval| now + interval);
        match next {
            Some(next) => pace.due = next,
            None => _ = self.remove(topic),
        }
        Some((message, next))
    }

    /// The intervals have changed, so all topics are to follow them.
    pub fn fall_behind(&mut self) {
        self.behind = self.by_topic.len();
    }

    /// Whether topics are still to follow the intervals.
    pub fn are_behind(&self) -> bool {
        self.behind > 0
    }

    /// Its topics wait for their turn to follow; `false`: they do already.
    pub fn begin_to_wait(&mut self) -> bool {
        !std::mem::replace(&mut self.waits, true)
    }

    /// Its turn has come.
    pub fn end_wait(&mut self) {
        self.waits = false;
    }

    /// At most so many topics follow the intervals: none of them is due later than its interval from now.
    pub fn follow(&mut self, most: usize, now: Moment) -> Followed {
        let mut followed = Followed::default();
        while followed.looked_at < most && self.behind > 0 {
            followed.looked_at += 1;
            self.behind -= 1;
            let Some((topic, pace)) = self.by_topic.get_index_mut(self.behind) else { continue };
            let Some(interval) = self.intervals.of(topic) else {
                // The last takes its place, which has followed already.
                let gone = self.by_topic.swap_remove_index(self.behind);
                followed.released.extend(gone.and_then(|(_, pace)| pace.held));
                continue;
            };
            if now + interval < pace.due {
                pace.due = now + interval;
                followed.moved.push((topic.clone(), pace.due));
            }
        }
        self.bytes -= followed.released.iter().map(|message| message.payload().len()).sum::<usize>();
        followed
    }

    /// Ends the pacing of `topic` if it has no interval any more and has not followed yet; what was held.
    pub fn catch_up(&mut self, topic: &TopicName) -> Option<Message> {
        let may_have = self.are_behind() || self.intervals.have_changed();
        let is_ended = may_have && self.by_topic.contains_key(topic) && self.intervals.of(topic).is_none();
        if is_ended { self.end(topic) } else { None }
    }

    /// Ends the pacing of `topic`; what was held.
    pub fn end(&mut self, topic: &TopicName) -> Option<Message> {
        let held = self.remove(topic)?.held?;
        self.bytes -= held.payload().len();
        Some(held)
    }

    /// Ends the pacing of all topics; what was held.
    pub fn end_all(&mut self) -> Vec<Message> {
        (self.behind, self.bytes) = (0, 0);
        self.by_topic.drain(..).filter_map(|(_, pace)| pace.held).collect()
    }

    /// How many topics have an interval that runs.
    pub fn topics(&self) -> usize {
        self.by_topic.len()
    }

    /// Gives up the last topic, at the session's end; what was held of it. `None`: there is no topic left.
    pub fn give_up_last(&mut self) -> Option<Option<Message>> {
        self.by_topic.pop().map(|(_, pace)| pace.held)
    }

    /// The last takes its place; where that has followed already, it does so once more.
    fn remove(&mut self, topic: &TopicName) -> Option<Pace> {
        let removed = self.by_topic.swap_remove(topic);
        self.behind = self.behind.min(self.by_topic.len());
        removed
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
