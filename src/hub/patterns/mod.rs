//! The patterns that outlets are subscribed by.

mod children;
mod selection;
mod trie;

pub use selection::{Selection, State};
pub use trie::PatternTrie;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::HashMap;
use parking_lot::RwLock;

use super::outlet::{Outlet, OutletId};
use crate::topic_name::{Pattern, TopicName};

/// All patterns of all outlets. A topic looks up its patterns at its first use after a change, so adding a pattern visits no topic, and
/// adding a topic visits only the patterns that may match it.
#[derive(Default)]
pub struct Patterns {
    /// Locked for the change of one pattern, or for the matches of one topic. Nothing waits under this lock.
    state: RwLock<Subscribed>,
    /// How often the patterns have changed.
    generation: AtomicU64,
}

#[derive(Default)]
struct Subscribed {
    trie: PatternTrie<Vec<(OutletId, Arc<dyn Outlet>)>>,
    /// How many patterns each outlet has. A search ends when it has found every outlet in this map.
    outlets: HashMap<OutletId, usize>,
}

impl Patterns {
    /// Adds `pattern` to an outlet that does not have it yet.
    pub fn add(&self, pattern: &Pattern, id: OutletId, outlet: &Arc<dyn Outlet>) {
        let mut state = self.state.write();
        state.trie.entry(pattern).get_or_insert_default().push((id, Arc::clone(outlet)));
        *state.outlets.entry(id).or_default() += 1;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Undoes [`Patterns::add`].
    pub fn remove(&self, pattern: &Pattern, id: OutletId) {
        let mut state = self.state.write();
        if state.trie.find(pattern).is_none() {
            return;
        }
        let outlets = state.trie.entry(pattern).get_or_insert_default();
        outlets.retain(|(other, _)| *other != id);
        if outlets.is_empty() {
            state.trie.remove(pattern);
        }
        if let Some(count) = state.outlets.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                state.outlets.remove(&id);
            }
        }
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// How often the patterns have changed.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Calls `found` once for each outlet with a pattern that matches `topic`. Returns the generation that the matches belong to, and how
    /// many nodes were visited.
    pub fn outlets_of(&self, topic: &TopicName, mut found: impl FnMut(OutletId, &Arc<dyn Outlet>)) -> (u64, usize) {
        let state = self.state.read();
        let mut called: Vec<OutletId> = Vec::new();
        let mut visited = 0;
        if !state.outlets.is_empty() {
            visited = state.trie.matches_until(topic, |outlets| {
                for (id, outlet) in outlets {
                    if !called.contains(id) {
                        called.push(*id);
                        found(*id, outlet);
                    }
                }
                if called.len() == state.outlets.len() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
        (self.generation(), visited)
    }
}
