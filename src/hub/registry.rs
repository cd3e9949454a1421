//! Topics by name: made at first use, dropped at last.

use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use dashmap::DashMap;
use parking_lot::RwLock;

use super::outlet::{Outlet, OutletId};
use super::patterns::{PatternTrie, TopicTree};
use super::topic::Topic;
use crate::clock::Clock;
use crate::config::Live;
use crate::topic_name::{Pattern, TopicName};

/// All living topics.
///
/// Lock order: `index`, then a piece of `topics`, then one topic's own lock.
pub struct Registry {
    topics: DashMap<TopicName, Arc<Topic>, foldhash::fast::RandomState>,
    /// What matching needs. A topic or a pattern comes or goes under its write lock, so that each topic counts each
    /// pattern that matches it once.
    index: RwLock<Index>,
    histories_bytes: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Index {
    patterns: PatternTrie<Vec<(OutletId, Arc<dyn Outlet>)>>,
    topics: TopicTree<Topic>,
}

impl Registry {
    /// No topics; their histories' bytes are summed in `histories_bytes`.
    pub fn new(histories_bytes: Arc<AtomicUsize>) -> Self {
        Self { topics: DashMap::default(), index: RwLock::default(), histories_bytes }
    }

    /// The living topic of that name.
    pub fn find(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.topics.get(name).map(|topic| Arc::clone(&topic))
    }

    /// The topic of that name, made if there is none. The flag: it is new.
    pub fn find_or_make(&self, name: &TopicName, live: &Live, clock: &Clock) -> (Arc<Topic>, bool) {
        if let Some(topic) = self.find(name) {
            return (topic, false);
        }
        let mut index = self.index.write();
        if let Some(topic) = self.find(name) {
            return (topic, false);
        }
        let topic = Arc::new(Topic::new(name.clone(), live, &self.histories_bytes, clock.moment()));
        index.patterns.matches(name, |outlets| outlets.iter().for_each(|(id, outlet)| topic.pattern_in(*id, outlet)));
        index.topics.insert(name, Arc::clone(&topic));
        self.topics.insert(name.clone(), Arc::clone(&topic));
        (topic, true)
    }

    /// Takes a topic out that is marked as gone.
    pub fn remove(&self, topic: &Arc<Topic>) {
        let mut index = self.index.write();
        let removed = self.topics.remove_if(topic.name(), |_, living| Arc::ptr_eq(living, topic));
        if removed.is_some() {
            index.topics.remove(topic.name());
        }
    }

    /// How many topics live.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// From now on `outlet` hears every topic that `pattern` matches. Called once for each outlet and pattern.
    pub fn add_pattern(&self, pattern: &Pattern, id: OutletId, outlet: &Arc<dyn Outlet>) {
        let mut index = self.index.write();
        index.patterns.entry(pattern).get_or_insert_default().push((id, Arc::clone(outlet)));
        index.topics.matching(pattern, |topic| topic.pattern_in(id, outlet));
    }

    /// Undoes [`Registry::add_pattern`].
    pub fn remove_pattern(&self, pattern: &Pattern, id: OutletId) {
        let mut index = self.index.write();
        let Some(outlets) = index.patterns.entry(pattern) else { return };
        outlets.retain(|(other, _)| *other != id);
        if outlets.is_empty() {
            index.patterns.remove(pattern);
        }
        index.topics.matching(pattern, |topic| topic.pattern_out(id));
    }

    /// The living topics that `pattern` matches.
    pub fn matching(&self, pattern: &Pattern) -> Vec<Arc<Topic>> {
        let mut found = Vec::new();
        self.index.read().topics.matching(pattern, |topic| found.push(Arc::clone(topic)));
        found
    }

    /// The living topics that `matching` matches, by name, from after `after`, at most `limit`.
    pub fn page(&self, matching: Option<&Pattern>, after: Option<&str>, limit: usize) -> Vec<Arc<Topic>> {
        let found = matching.map_or_else(|| self.all(), |pattern| self.matching(pattern));
        let mut first = BinaryHeap::with_capacity(limit.min(found.len()) + 1);
        for topic in found.iter().filter(|topic| after.is_none_or(|after| topic.name().as_str() > after)) {
            first.push(topic.name());
            if first.len() > limit {
                first.pop();
            }
        }
        first.into_sorted_vec().into_iter().filter_map(|name| self.find(name)).collect()
    }

    /// All living topics.
    pub fn all(&self) -> Vec<Arc<Topic>> {
        let mut found = Vec::new();
        self.index.read().topics.all(|topic| found.push(Arc::clone(topic)));
        found
    }
}
