//! Which of a shard's sessions take a topic: by its name, by patterns, each once.

use foldhash::HashMap;

use crate::hub::PatternTrie;
use crate::topic_name::{Pattern, TopicName};

/// A shard's subscribers. Lists are sorted by slot, so that a fan-out walks the slots in order.
#[derive(Default)]
pub struct Subscribers {
    by_name: HashMap<TopicName, Subscribed>,
    by_pattern: PatternTrie<Subscribed>,
}

/// The slots that are subscribed to one name or pattern.
#[derive(Default)]
pub struct Subscribed {
    /// All of them.
    pub slots: Vec<u32>,
    /// Those that are told who joins and leaves.
    pub watchers: Vec<u32>,
}

impl Subscribers {
    /// Adds `slot`; `true`: it is the first on that name or pattern here.
    pub fn add(&mut self, pattern: &Pattern, slot: u32) -> bool {
        let subscribed = match pattern.as_name() {
            Some(name) => self.by_name.entry(name).or_default(),
            None => self.by_pattern.entry(pattern).get_or_insert_default(),
        };
        insert(&mut subscribed.slots, slot);
        subscribed.slots.len() == 1
    }

    /// Says whether `slot`, which is subscribed, is told of joins and leaves.
    pub fn set_watching(&mut self, pattern: &Pattern, slot: u32, watching: bool) {
        let subscribed = match pattern.as_name() {
            Some(name) => self.by_name.get_mut(&name),
            None => self.by_pattern.entry(pattern).as_mut(),
        };
        match subscribed {
            Some(subscribed) if watching => insert(&mut subscribed.watchers, slot),
            Some(subscribed) => remove(&mut subscribed.watchers, slot),
            None => {}
        }
    }

    /// Takes `slot` out; `true`: it was the last on that name or pattern here.
    pub fn remove(&mut self, pattern: &Pattern, slot: u32) -> bool {
        match pattern.as_name() {
            Some(name) => {
                let Some(subscribed) = self.by_name.get_mut(&name) else { return false };
                let last = subscribed.take_out(slot);
                if last {
                    self.by_name.remove(&name);
                }
                last
            }
            None => {
                let Some(subscribed) = self.by_pattern.entry(pattern) else { return false };
                let last = subscribed.take_out(slot);
                if last {
                    self.by_pattern.remove(pattern);
                }
                last
            }
        }
    }

    /// Calls `found` with each list that takes `topic`. A slot that is in several lists is named by each.
    pub fn lists<'a>(&'a self, topic: &TopicName, mut found: impl FnMut(&'a Subscribed)) {
        if let Some(subscribed) = self.by_name.get(topic) {
            found(subscribed);
        }
        if !self.by_pattern.is_empty() {
            self.by_pattern.matches(topic, found);
        }
    }
}

impl Subscribed {
    fn take_out(&mut self, slot: u32) -> bool {
        remove(&mut self.slots, slot);
        remove(&mut self.watchers, slot);
        self.slots.is_empty()
    }
}

fn insert(slots: &mut Vec<u32>, slot: u32) {
    if let Err(place) = slots.binary_search(&slot) {
        slots.insert(place, slot);
    }
}

fn remove(slots: &mut Vec<u32>, slot: u32) {
    if let Ok(place) = slots.binary_search(&slot) {
        slots.remove(place);
        if slots.capacity() > 64 && slots.len() < slots.capacity() / 4 {
            slots.shrink_to_fit();
        }
    }
}
