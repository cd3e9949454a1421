//! The search for the topics that a session's new patterns match. It runs in slices, so that no other session waits
//! while many topics are searched.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashSet;

use crate::config::Rules;
use crate::hub::{Cursor, Hub, Message, ReplayRequest, Selection, Topic, TopicStart};
use crate::position::{Offset, Position};
use crate::shard::pattern_set::PatternSet;
use crate::topic_name::TopicName;

/// About the most index steps of a slice: some tens of microseconds.
const STEPS_PER_SLICE: usize = 256;

/// The number of steps through the index of topics that cost as much as one topic found.
const STEPS_PER_TOPIC: usize = 8;

/// The patterns of one subscribe, by which the session already receives messages, and the progress of their topics.
///
/// Topics begin in the order of the index. Until a topic with a history has begun, its live messages are withheld. They
/// are then read from history, behind the messages that the session asked for.
pub struct Expansion {
    selection: Box<Selection>,
    /// The subscriptions from before the subscribe. Topics that these match are not part of the expansion.
    before: PatternSet,
    /// Topics that begin by name.
    excluded: HashSet<TopicName>,
    /// How many of the newest messages of each topic are replayed; `None`: as many as the topic's rule says.
    last: Option<usize>,
    /// Items that the shard processes up to this number were pushed before the patterns were subscribed.
    until_processed: u64,
    /// Whether topics have to be searched at all.
    searches: bool,
    /// The topics up to here have begun.
    passed: Option<Cursor>,
    searched: Option<SearchedSlice>,
    /// The withheld messages by topic, in the order of the index.
    withheld: BTreeMap<IndexOrder, Withheld>,
    /// Whether subscriptions of the session have ended since the expansion began.
    has_ended_subscriptions: bool,
}

/// A slice whose topics begin once the shard has processed everything that was pushed before the slice was searched.
struct SearchedSlice {
    starts: Vec<TopicStart>,
    next: Option<Cursor>,
    until_processed: u64,
}

/// A topic's name in the order of the index, token by token.
#[derive(Debug, PartialEq, Eq)]
struct IndexOrder(TopicName);

/// The messages of a topic that were withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Withheld {
    /// The position of the first.
    pub first: Position,
    /// The offset of the last.
    pub last: Offset,
}

/// The result of one slice.
#[derive(Default)]
pub struct Expanded {
    /// Topics to be read from history, each from a position on.
    pub cursors: Vec<(Arc<Topic>, Position)>,
    /// Topics that have ended while the session was owed messages of theirs.
    pub lost: Vec<(TopicName, Withheld)>,
    /// Whether the expansion is complete.
    pub ended: bool,
    /// The work of the slice, in topics.
    pub work: usize,
}

impl Expansion {
    /// A search for the topics of `selection`. The topics `excluded` begin by name.
    pub fn new(selection: Box<Selection>, before: PatternSet, excluded: HashSet<TopicName>, last: Option<usize>) -> Self {
        Self {
            selection,
            before,
            excluded,
            last,
            until_processed: 0,
            searches: false,
            passed: None,
            searched: None,
            withheld: BTreeMap::new(),
            has_ended_subscriptions: false,
        }
    }

    /// Whether a topic of one of `rules` may have something to replay.
    pub fn may_find(&self, rules: &Rules) -> bool {
        rules.iter().any(|rule| rule.history > 0 && self.last.unwrap_or(rule.last) > 0)
    }

    /// Begins when the inbox has had `pushed` items. With `searches`, topics are searched; without, they are live from
    /// there on.
    pub fn begin(&mut self, pushed: u64, searches: bool) {
        self.until_processed = pushed;
        self.searches = searches;
    }

    /// Whether topics are searched.
    pub fn searches(&self) -> bool {
        self.searches
    }

    /// The number of items that the shard has to have processed before the expansion can continue or, if nothing is
    /// searched, end.
    pub fn waits_for(&self) -> u64 {
        self.searched.as_ref().map_or(if self.searches { 0 } else { self.until_processed }, |searched| searched.until_processed)
    }

    /// Whether a message is withheld from the session as a live one. The message is the last of the `processed` items
    /// that the shard has processed.
    pub fn withholds(&mut self, message: &Message, processed: u64) -> bool {
        if !self.is_ahead(&message.topic) {
            return false;
        }
        if processed > self.until_processed {
            if message.rule.history == 0 || !self.searches {
                return false;
            }
            self.withhold(&message.topic, message.position);
        }
        true
    }

    /// Whether `topic` begins later in this expansion; its new log is then read behind `after`.
    pub fn defers_switch(&mut self, topic: &TopicName, after: Position) -> bool {
        let defers_switch = self.searches && self.is_ahead(topic);
        if defers_switch {
            self.withhold(topic, Position { offset: after.offset.next(), ..after });
        }
        defers_switch
    }

    /// The number of topics that the expansion remembers.
    pub fn noted(&self) -> usize {
        self.withheld.len() + self.excluded.len() + self.searched.as_ref().map_or(0, |searched| searched.starts.len())
    }

    /// Releases at most `most` topics with withheld messages, at the session's end. Returns the number of topics.
    pub fn release(&mut self, most: usize) -> usize {
        std::iter::from_fn(|| self.withheld.pop_first()).take(most).count()
    }

    /// Takes `topic` out of the expansion, because the topic begins by name.
    pub fn exclude(&mut self, topic: &TopicName) {
        self.withheld.remove(&IndexOrder(topic.clone()));
        self.excluded.insert(topic.clone());
    }

    /// Notes that subscriptions of the session have ended. From now on each topic is checked against the remaining ones
    /// before it begins.
    pub fn note_ended_subscriptions(&mut self) {
        self.has_ended_subscriptions = true;
    }

    /// Continues by one slice. Returns `None` if the shard has to process more than `processed` items first. `pushed`
    /// returns the number of items that the inbox has had by then, and `covers` whether a subscription of the session
    /// matches a topic. The work is added to `work`, in topics.
    pub fn run_slice(
        &mut self,
        hub: &Hub,
        processed: u64,
        pushed: impl FnOnce() -> u64,
        covers: impl Fn(&TopicName) -> bool,
        work: &mut usize,
    ) -> Option<Expanded> {
        if self.searched.is_none() && self.searches {
            *work += self.search(hub, pushed, &covers);
        }
        if self.waits_for() > processed {
            return None;
        }
        Some(self.begin_searched(hub, &covers))
    }

    /// Searches a slice. Returns the work, in topics.
    fn search(&mut self, hub: &Hub, pushed: impl FnOnce() -> u64, covers: impl Fn(&TopicName) -> bool) -> usize {
        let slice = hub.slice(&mut self.selection, self.passed.as_ref(), STEPS_PER_SLICE);
        let found = slice.topics.len();
        let wanted = ReplayRequest { since: None, last: self.last };
        let topics = slice.topics.into_iter().filter(|topic| self.concerns(topic.name(), &covers));
        let starts = topics.filter_map(|topic| Some(TopicStart { start: topic.start(wanted)?, topic })).collect();
        // Items pushed after this number are newer than the positions found in this slice.
        self.searched = Some(SearchedSlice { starts, next: slice.next, until_processed: pushed() });
        found + slice.visited / STEPS_PER_TOPIC
    }

    fn begin_searched(&mut self, hub: &Hub, covers: impl Fn(&TopicName) -> bool) -> Expanded {
        let mut expanded = Expanded { ended: true, ..Expanded::default() };
        let Some(searched) = self.searched.take() else { return expanded };
        for TopicStart { topic, start } in searched.starts {
            // The session may have left the topic since, or subscribed to it by name.
            if !self.concerns(topic.name(), &covers) {
                continue;
            }
            let from = start.replay_from.map(|offset| Position { offset, ..start.position });
            let from = match self.withheld.remove(&IndexOrder(topic.name().clone())) {
                // The first withheld message was published before the topic was searched, so the messages to replay are
                // counted back from it.
                Some(Withheld { first, .. }) if !start.position.is_before(first) => Some(topic.replay_before(first, self.last)),
                Some(Withheld { first, .. }) => Some(from.unwrap_or(first)),
                None => from,
            };
            expanded.cursors.extend(from.map(|from| (topic, from)));
        }
        // The remaining withheld topics have come to life, or have ended, since the slice was searched.
        while let Some(first) = self.withheld.first_entry()
            && searched.next.as_ref().is_none_or(|next| next.has_passed(&first.key().0))
        {
            let (IndexOrder(name), withheld) = first.remove_entry();
            if !self.concerns(&name, &covers) {
                continue;
            }
            match hub.find(&name) {
                Some(topic) => expanded.cursors.push((Arc::clone(&topic), topic.replay_before(withheld.first, self.last))),
                None => expanded.lost.push((name, withheld)),
            }
        }
        expanded.ended = searched.next.is_none();
        self.passed = searched.next;
        expanded
    }

    /// Whether `topic` belongs to the expansion and has not begun yet.
    fn is_ahead(&self, topic: &TopicName) -> bool {
        self.is_new(topic) && !self.passed.as_ref().is_some_and(|passed| passed.has_passed(topic))
    }

    /// Whether `topic` belongs to the expansion: it is new, and the session is still subscribed to it.
    fn concerns(&self, topic: &TopicName, covers: impl Fn(&TopicName) -> bool) -> bool {
        self.is_new(topic) && (!self.has_ended_subscriptions || covers(topic))
    }

    /// Whether no earlier subscription, and no subscription by name, brings `topic`.
    fn is_new(&self, topic: &TopicName) -> bool {
        !self.excluded.contains(topic) && !self.before.matches(topic)
    }

    fn withhold(&mut self, topic: &TopicName, position: Position) {
        let withheld = self.withheld.entry(IndexOrder(topic.clone())).or_insert(Withheld { first: position, last: position.offset });
        withheld.last = position.offset;
    }
}

impl Ord for IndexOrder {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.tokens().cmp(other.0.tokens())
    }
}

impl PartialOrd for IndexOrder {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
