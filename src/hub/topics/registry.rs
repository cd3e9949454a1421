//! The registry: living topics by name and by token.

use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};
use parking_lot::RwLock;

use super::tree::{Cursor, Slice, TopicTree};
use crate::hub::patterns::Selection;
use crate::hub::payer::Payer;
use crate::hub::topic::{Shared, Topic};
use crate::topic_name::{Pattern, TopicName};

/// About how many steps of a search are taken under one lock of the tree.
const STEPS_MAX: usize = 1_024;

/// The number of pieces of the map. A piece that grows moves all of its entries while the publisher of a new topic waits, so there are many.
const PIECES: usize = 256;

/// All living topics.
///
/// Lock order: `tree`, then a piece of `topics`.
pub struct Registry {
    topics: DashMap<TopicName, Arc<Topic>, foldhash::fast::RandomState>,
    /// The number of topics, because the map would have to count each of its pieces. Changed under the tree's write lock.
    count: AtomicUsize,
    /// The same topics by token, for patterns. A topic is added or removed under the write lock; a search takes the read lock for each
    /// slice.
    tree: RwLock<TopicTree<Topic>>,
    shared: Arc<Shared>,
}

impl Registry {
    /// A registry without topics. All its topics will have `shared`.
    pub fn new(shared: Arc<Shared>) -> Self {
        let topics = DashMap::with_hasher_and_shard_amount(Default::default(), PIECES);
        Self { topics, count: AtomicUsize::new(0), tree: RwLock::default(), shared }
    }

    /// The living topic of that name.
    pub fn find(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.topics.get(name).map(|topic| Arc::clone(&topic))
    }

    /// The living topic of that name. If there is none, `otherwise` is run, and no topic of that name is made before it returns.
    pub fn find_or_do(&self, name: &TopicName, otherwise: impl FnOnce()) -> Option<Arc<Topic>> {
        match self.topics.entry(name.clone()) {
            Entry::Occupied(living) => Some(Arc::clone(living.get())),
            Entry::Vacant(_) => {
                otherwise();
                None
            }
        }
    }

    /// The topic of that name, which is made if there is none. The flag says whether the topic is new; `payer` was charged for a new one.
    pub fn find_or_make(&self, name: &TopicName, payer: Option<&Payer>) -> (Arc<Topic>, bool) {
        if let Some(topic) = self.find(name) {
            return (topic, false);
        }
        let mut tree = self.tree.write();
        if let Some(topic) = self.find(name) {
            return (topic, false);
        }
        let topic = Arc::new(Topic::new(name.clone(), payer.cloned(), &self.shared));
        tree.insert(name, Arc::clone(&topic));
        self.topics.insert(name.clone(), Arc::clone(&topic));
        self.count.fetch_add(1, Ordering::Relaxed);
        (topic, true)
    }

    /// Removes a topic whose life is over.
    pub fn remove(&self, topic: &Arc<Topic>) {
        let mut tree = self.tree.write();
        let removed = self.topics.remove_if(topic.name(), |_, living| Arc::ptr_eq(living, topic));
        if removed.is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
            tree.remove(topic.name());
            topic.payer().into_iter().for_each(|payer| self.shared.accounts.release(payer));
        }
    }

    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// A slice of the living topics that `selection` matches, from behind `after`, found in about `most` steps.
    pub fn slice(&self, selection: &mut Selection, after: Option<&Cursor>, most: usize) -> Slice<Topic> {
        self.tree.read().slice(selection, after, most)
    }

    /// The living topics that `pattern` matches, or all without a pattern. A topic that is added or removed meanwhile may be among them or
    /// not.
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

    /// The living topics that `pattern` matches, in the order of their names, from behind `after`: `limit` of them at most.
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
