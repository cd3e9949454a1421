//! What a session's new patterns match: found a slice at a time, so that nobody waits while many topics are looked through.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashSet;

use crate::config::Rules;
use crate::hub::{Cursor, Hub, Message, ReplayRequest, Selection, Start, Topic};
use crate::position::{Offset, Position};
use crate::shard::pattern_set::PatternSet;
use crate::topic_name::TopicName;

/// About the most steps of a slice: some tens of microseconds.
const STEPS_PER_SLICE: usize = 256;

/// Steps through the index of topics that cost as much as a topic that is found.
const STEPS_PER_TOPIC: usize = 8;

/// The patterns of one subscribe, which the session hears by already, and how far the topics that they match have begun.
///
/// Topics begin in the order of the index. Until a topic with a history has, its live messages are withheld, and then read from
/// history behind those that the session asked for.
pub struct Expansion {
    selection: Box<Selection>,
    /// The subscriptions from before: what these take goes on as it was.
    before: Arc<PatternSet>,
    /// Topics that begin by themselves.
    apart: HashSet<TopicName>,
    /// The newest messages of each topic; its rule's where it says nothing.
    last: Option<usize>,
    /// What the shard takes up to here was published before the patterns were heard by.
    until_taken: u64,
    /// Whether topics have to be looked through at all.
    searches: bool,
    /// The topics up to here have begun.
    passed: Option<Cursor>,
    looked: Option<Looked>,
    /// In the order of the index.
    withheld: BTreeMap<InOrder, Withheld>,
    /// Whether subscriptions of the session have ended since.
    has_lost: bool,
}

/// A slice whose topics begin once the shard has taken all that was published before it was looked at.
struct Looked {
    starts: Vec<(Arc<Topic>, Start)>,
    next: Option<Cursor>,
    until_taken: u64,
}

/// A topic's name in the order of the index, token by token.
#[derive(Debug, PartialEq, Eq)]
struct InOrder(TopicName);

/// The messages of a topic that were withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Withheld {
    /// The first of them.
    pub first: Position,
    /// The last of them.
    pub last: Offset,
}

/// A part of an expansion.
#[derive(Default)]
pub struct Expanded {
    /// Topics to be read from a position on.
    pub cursors: Vec<(Arc<Topic>, Position)>,
    /// Topics that have died with messages that the session was owed.
    pub lost: Vec<(TopicName, Withheld)>,
    /// Whether that was all.
    pub ended: bool,
    /// What it has cost, in topics.
    pub work: usize,
}

impl Expansion {
    /// Begins to look for the topics of `selection`. `begun`: those that begin by themselves.
    pub fn new(selection: Box<Selection>, before: Arc<PatternSet>, begun: HashSet<TopicName>, last: Option<usize>) -> Self {
        Self {
            selection,
            before,
            apart: begun,
            last,
            until_taken: 0,
            searches: false,
            passed: None,
            looked: None,
            withheld: BTreeMap::new(),
            has_lost: false,
        }
    }

    /// Whether a topic of one of `rules` may have something to replay.
    pub fn may_find(&self, rules: &Rules) -> bool {
        rules.iter().any(|rule| rule.history > 0 && self.last.unwrap_or(rule.last) > 0)
    }

    /// What the shard takes up to `pushed` was published before. Topics are looked for if they may have something to replay; else
    /// they are live from there on.
    pub fn begin(&mut self, pushed: u64, searches: bool) {
        self.until_taken = pushed;
        self.searches = searches;
    }

    /// Whether topics are looked for.
    pub fn searches(&self) -> bool {
        self.searches
    }

    /// How many items the shard has to have taken before this can go on or, if nothing is looked for, end.
    pub fn waits_for(&self) -> u64 {
        self.looked.as_ref().map_or(if self.searches { 0 } else { self.until_taken }, |looked| looked.until_taken)
    }

    /// Whether a message, the last of the `taken` that the shard has taken, is not to be given to the session as a live one.
    pub fn withholds(&mut self, message: &Message, taken: u64) -> bool {
        if !self.is_ahead(&message.topic) {
            return false;
        }
        if taken > self.until_taken {
            if message.rule.history == 0 || !self.searches {
                return false;
            }
            self.withhold(&message.topic, message.position);
        }
        true
    }

    /// Whether `topic` goes on from `after` in another log only once it begins here.
    pub fn goes_on(&mut self, topic: &TopicName, after: Position) -> bool {
        let goes_on = self.searches && self.is_ahead(topic);
        if goes_on {
            self.withhold(topic, Position { offset: after.offset.next(), ..after });
        }
        goes_on
    }

    /// How many topics it has taken note of.
    pub fn noted(&self) -> usize {
        self.withheld.len() + self.apart.len() + self.looked.as_ref().map_or(0, |looked| looked.starts.len())
    }

    /// Gives up no more than `most` topics whose messages were withheld, at the session's end; how many there were.
    pub fn give_up(&mut self, most: usize) -> usize {
        std::iter::from_fn(|| self.withheld.pop_first()).take(most).count()
    }

    /// `topic` begins by itself.
    pub fn set_apart(&mut self, topic: &TopicName) {
        self.withheld.remove(&InOrder(topic.clone()));
        self.apart.insert(topic.clone());
    }

    /// Subscriptions of the session have ended: from now on each topic is asked for before it begins.
    pub fn narrow(&mut self) {
        self.has_lost = true;
    }

    /// Goes on by one slice, if the shard has `taken` what that needs; `None`: it has not. `pushed` says how many items the inbox has
    /// had by then, `takes` whether the session is subscribed to what has a topic, and `work` is told what it cost, in topics.
    pub fn go_on(
        &mut self,
        hub: &Hub,
        taken: u64,
        pushed: impl FnOnce() -> u64,
        takes: impl Fn(&TopicName) -> bool,
        work: &mut usize,
    ) -> Option<Expanded> {
        if self.looked.is_none() && self.searches {
            *work += self.look(hub, pushed, &takes);
        }
        if self.waits_for() > taken {
            return None;
        }
        Some(self.begin_looked(hub, &takes))
    }

    /// Looks at a slice; what that cost, in topics.
    fn look(&mut self, hub: &Hub, pushed: impl FnOnce() -> u64, takes: impl Fn(&TopicName) -> bool) -> usize {
        let slice = hub.slice(&mut self.selection, self.passed.as_ref(), STEPS_PER_SLICE);
        let found = slice.topics.len();
        let wanted = ReplayRequest { since: None, last: self.last };
        let topics = slice.topics.into_iter().filter(|topic| self.concerns(topic.name(), &takes));
        let starts = topics.filter_map(|topic| hub.start_on(&topic, wanted).map(|start| (topic, start))).collect();
        // What comes behind this is newer than what was looked at.
        self.looked = Some(Looked { starts, next: slice.next, until_taken: pushed() });
        found + slice.visited / STEPS_PER_TOPIC
    }

    fn begin_looked(&mut self, hub: &Hub, takes: impl Fn(&TopicName) -> bool) -> Expanded {
        let mut expanded = Expanded { ended: true, ..Expanded::default() };
        let Some(looked) = self.looked.take() else { return expanded };
        for (topic, start) in looked.starts {
            // The session may have left it since, or begun on it by name.
            if !self.concerns(topic.name(), &takes) {
                continue;
            }
            let from = start.replay_from.map(|offset| Position { offset, ..start.position });
            let from = match self.withheld.remove(&InOrder(topic.name().clone())) {
                // It was published before the topic was looked at, so what is to come before it is counted from there.
                Some(Withheld { first, .. }) if !start.position.is_before(first) => Some(hub.replay_before(&topic, first, self.last)),
                Some(Withheld { first, .. }) => Some(from.unwrap_or(first)),
                None => from,
            };
            expanded.cursors.extend(from.map(|from| (topic, from)));
        }
        // These have come to life since, or died.
        while let Some(first) = self.withheld.first_entry()
            && looked.next.as_ref().is_none_or(|next| next.has_passed(&first.key().0))
        {
            let (InOrder(name), withheld) = first.remove_entry();
            if !self.concerns(&name, &takes) {
                continue;
            }
            match hub.find(&name) {
                Some(topic) => expanded.cursors.push((Arc::clone(&topic), hub.replay_before(&topic, withheld.first, self.last))),
                None => expanded.lost.push((name, withheld)),
            }
        }
        expanded.ended = looked.next.is_none();
        self.passed = looked.next;
        expanded
    }

    /// Whether `topic` is still to begin.
    fn is_ahead(&self, topic: &TopicName) -> bool {
        self.is_new(topic) && !self.passed.as_ref().is_some_and(|passed| passed.has_passed(topic))
    }

    /// Whether `topic` is to begin, if it is looked at: the session is still subscribed to what has it.
    fn concerns(&self, topic: &TopicName, takes: impl Fn(&TopicName) -> bool) -> bool {
        self.is_new(topic) && (!self.has_lost || takes(topic))
    }

    /// Whether only this brought `topic`.
    fn is_new(&self, topic: &TopicName) -> bool {
        !self.apart.contains(topic) && !self.before.matches(topic)
    }

    fn withhold(&mut self, topic: &TopicName, position: Position) {
        let withheld = self.withheld.entry(InOrder(topic.clone())).or_insert(Withheld { first: position, last: position.offset });
        withheld.last = position.offset;
    }
}

impl Ord for InOrder {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.tokens().cmp(other.0.tokens())
    }
}

impl PartialOrd for InOrder {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
