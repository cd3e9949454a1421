//! Topics by name: made at first use, dropped at last.

use std::collections::BinaryHeap;
use std::sync::Arc;

use dashmap::{DashMap, Entry};
use parking_lot::RwLock;

use super::payer::Payer;
use super::selection::Selection;
use super::shared::Shared;
use super::topic::Topic;
use super::topic_tree::{Cursor, Slice, TopicTree};
use crate::clock::Clock;
use crate::config::Live;
use crate::topic_name::{Pattern, TopicName};

/// About the most steps that are taken under one hold of the tree's lock.
const STEPS_MAX: usize = 1_024;

/// Pieces of the map, of which each grows by itself: a piece that does moves all that is in it, while whoever makes a topic waits.
const PIECES: usize = 256;

/// All living topics.
///
/// Lock order: `tree`, then a piece of `topics`.
pub struct Registry {
    topics: DashMap<TopicName, Arc<Topic>, foldhash::fast::RandomState>,
    /// The same topics, for patterns. A topic comes or goes under its write lock; a search takes the read lock for each slice.
    tree: RwLock<TopicTree<Topic>>,
    shared: Arc<Shared>,
}

impl Registry {
    /// No topics; each will have `shared`.
    pub fn new(shared: Arc<Shared>) -> Self {
        let topics = DashMap::with_hasher_and_shard_amount(Default::default(), PIECES);
        Self { topics, tree: RwLock::default(), shared }
    }

    /// The living topic of that name.
    pub fn find(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.topics.get(name).map(|topic| Arc::clone(&topic))
    }

    /// The living topic of that name. If there is none, `otherwise` is run, and none comes to life before that is done.
    pub fn find_or_do(&self, name: &TopicName, otherwise: impl FnOnce()) -> Option<Arc<Topic>> {
        match self.topics.entry(name.clone()) {
            Entry::Occupied(living) => Some(Arc::clone(living.get())),
            Entry::Vacant(_) => {
                otherwise();
                None
            }
        }
    }

    /// The topic of that name, made if there is none; then `payer` was charged for it. The flag: it is new.
    pub fn find_or_make(&self, name: &TopicName, payer: Option<&Payer>, live: &Live, clock: &Clock) -> (Arc<Topic>, bool) {
        if let Some(topic) = self.find(name) {
            return (topic, false);
        }
        let mut tree = self.tree.write();
        if let Some(topic) = self.find(name) {
            return (topic, false);
        }
        let topic = Arc::new(Topic::new(name.clone(), payer.cloned(), live, &self.shared, clock.moment()));
        tree.insert(name, Arc::clone(&topic));
        self.topics.insert(name.clone(), Arc::clone(&topic));
        (topic, true)
    }

    /// Takes a topic out that is marked as gone.
    pub fn remove(&self, topic: &Arc<Topic>) {
        let mut tree = self.tree.write();
        let removed = self.topics.remove_if(topic.name(), |_, living| Arc::ptr_eq(living, topic));
        if removed.is_some() {
            tree.remove(topic.name());
            topic.payer().into_iter().for_each(|payer| self.shared.accounts.give_back(payer));
        }
    }

    /// How many topics live.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// The living topics that `selection` takes, from behind `after`: a slice of them, of about `most` steps.
    pub fn slice(&self, selection: &mut Selection, after: Option<&Cursor>, most: usize) -> Slice<Topic> {
        self.tree.read().slice(selection, after, most)
    }

    /// The living topics that `pattern` matches, or all without one. A topic that comes or goes meanwhile may be there or not.
    pub fn matching(&self, pattern: Option<&Pattern>) -> Vec<Arc<Topic>> {
        let mut selection = pattern.map_or_else(Selection::all, |pattern| Selection::of([pattern]));
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let slice = self.slice(&mut selection, after.as_ref(), STEPS_MAX);
            found.extend(slice.topics);
            after = slice.next;
            if after.is_none() {
                return found;
            }
        }
    }

    /// The living topics that `pattern` matches, by name, from after `after`, at most `limit`.
    pub fn page(&self, pattern: Option<&Pattern>, after: Option<&str>, limit: usize) -> Vec<Arc<Topic>> {
        let found = self.matching(pattern);
        let mut first = BinaryHeap::with_capacity(limit.min(found.len()) + 1);
        for topic in found.iter().filter(|topic| after.is_none_or(|after| topic.name().as_str() > after)) {
            first.push(topic.name());
            if first.len() > limit {
                first.pop();
            }
        }
        first.into_sorted_vec().into_iter().filter_map(|name| self.find(name)).collect()
    }
}
