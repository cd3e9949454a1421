//! The places of frames in an outbox that later frames replace, cancel or refer to. Conflated messages have an index of
//! their own.

use foldhash::HashMap;

use super::queued::FrameKind;
use crate::hub::PresenceChange;
use crate::session_id::SessionId;
use crate::topic_name::TopicName;

/// Places in the queue of one outbox.
#[derive(Default)]
pub struct Index {
    /// The places of waiting changes of each member of a topic, in order.
    changes: HashMap<(TopicName, SessionId), Vec<i64>>,
    /// For each topic and number of an unsubscribe, the place of the newest message from before it.
    newest_unsubscribed: HashMap<(TopicName, u32), i64>,
    pings: usize,
    pub pongs: usize,
    pub newest_pong: Option<i64>,
}

impl Index {
    /// Whether a heartbeat waits.
    pub fn has_ping(&self) -> bool {
        self.pings > 0
    }

    /// The place of the newest waiting change of the same member and topic.
    pub fn newest_change(&self, change: &PresenceChange) -> Option<i64> {
        self.changes.get(&key(change))?.last().copied()
    }

    /// The place of the newest message of `topic` that waits from before the unsubscribe number `unsubscribe`.
    pub fn newest_unsubscribed(&self, topic: &TopicName, unsubscribe: u32) -> Option<i64> {
        self.newest_unsubscribed.get(&(topic.clone(), unsubscribe)).copied()
    }

    /// Enters the frame that was put at `place`, behind all others.
    pub fn insert(&mut self, place: i64, kind: &FrameKind) {
        match kind {
            FrameKind::Presence(change) => self.changes.entry(key(change)).or_default().push(place),
            FrameKind::Members => self.changes.clear(), // the client knows from this list what the changes before it have told
            FrameKind::Ping => self.pings += 1,
            FrameKind::Pong => (self.pongs, self.newest_pong) = (self.pongs + 1, Some(place)),
            FrameKind::Unsubscribed(message, unsubscribe) => {
                self.newest_unsubscribed.insert((message.topic.clone(), *unsubscribe), place);
            }
            FrameKind::Message(_) | FrameKind::Replayed(_) | FrameKind::Reply | FrameKind::Gap(_) | FrameKind::Close => {}
        }
    }

    /// Enters the frame that was put at `place`, before all others.
    pub fn insert_first(&mut self, place: i64, kind: &FrameKind) {
        match kind {
            FrameKind::Presence(change) => self.changes.entry(key(change)).or_default().insert(0, place),
            FrameKind::Ping => self.pings += 1,
            FrameKind::Pong => (self.pongs, self.newest_pong) = (self.pongs + 1, self.newest_pong.or(Some(place))),
            FrameKind::Unsubscribed(message, unsubscribe) => {
                self.newest_unsubscribed.entry((message.topic.clone(), *unsubscribe)).or_insert(place);
            }
            FrameKind::Message(_)
            | FrameKind::Replayed(_)
            | FrameKind::Members
            | FrameKind::Reply
            | FrameKind::Gap(_)
            | FrameKind::Close => {}
        }
    }

    /// Removes the frame at `place`, which has left the queue.
    pub fn remove(&mut self, place: i64, kind: &FrameKind) {
        match kind {
            FrameKind::Presence(change) => {
                if let Some(places) = self.changes.get_mut(&key(change)) {
                    places.retain(|other| *other != place);
                    if places.is_empty() {
                        self.changes.remove(&key(change));
                    }
                }
            }
            FrameKind::Ping => self.pings -= 1,
            FrameKind::Pong => {
                self.pongs -= 1;
                self.newest_pong = self.newest_pong.filter(|newest| *newest != place);
            }
            FrameKind::Unsubscribed(message, unsubscribe) => {
                let key = (message.topic.clone(), *unsubscribe);
                if self.newest_unsubscribed.get(&key) == Some(&place) {
                    self.newest_unsubscribed.remove(&key);
                }
            }
            FrameKind::Message(_)
            | FrameKind::Replayed(_)
            | FrameKind::Members
            | FrameKind::Reply
            | FrameKind::Gap(_)
            | FrameKind::Close => {}
        }
    }

    /// Forgets every place and keeps the memory.
    pub fn clear(&mut self) {
        self.changes.clear();
        self.newest_unsubscribed.clear();
        (self.pings, self.pongs, self.newest_pong) = (0, 0, None);
    }
}

fn key(change: &PresenceChange) -> (TopicName, SessionId) {
    (change.topic.clone(), change.member.session)
}
