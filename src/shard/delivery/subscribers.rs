//! Who takes what: the sessions of a topic or pattern, and the subscriptions of a session.

use foldhash::HashMap;

use super::subscriptions::{SubscriptionOptions, Subscriptions};
use crate::hub::PatternTrie;
use crate::shard::slot::BySlot;
use crate::topic_name::{Pattern, TopicName};

/// A shard's subscribers. Lists are sorted by slot, so that a fan-out walks the slots in order.
#[derive(Default)]
pub struct Subscribers {
    by_name: HashMap<TopicName, Subscribed>,
    by_pattern: PatternTrie<Subscribed>,
    by_slot: BySlot<Subscriptions>,
    /// Of a session that has none.
    none: Subscriptions,
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
    /// What the session in `slot` is subscribed to.
    pub fn of(&self, slot: u32) -> &Subscriptions {
        self.by_slot.get(slot).unwrap_or(&self.none)
    }

    /// Subscribes the session in `slot`; `true`: it is the first on that name or pattern here.
    pub fn add(&mut self, pattern: &Pattern, slot: u32, options: SubscriptionOptions) -> bool {
        if self.by_slot.get(slot).is_none() {
            self.by_slot.put(slot, Subscriptions::default());
        }
        if let Some(subscriptions) = self.by_slot.get_mut(slot) {
            subscriptions.add(pattern, options.interval);
        }
        let subscribed = match pattern.as_name() {
            Some(name) => self.by_name.entry(name).or_default(),
            None => self.by_pattern.entry(pattern).get_or_insert_default(),
        };
        insert(&mut subscribed.slots, slot);
        if options.presence {
            insert(&mut subscribed.watchers, slot);
        }
        subscribed.slots.len() == 1
    }

    /// Replaces the options of a subscription that the session in `slot` has.
    pub fn set_options(&mut self, pattern: &Pattern, slot: u32, options: SubscriptionOptions) {
        if let Some(subscriptions) = self.by_slot.get_mut(slot) {
            subscriptions.set_interval(pattern, options.interval);
        }
        let subscribed = match pattern.as_name() {
            Some(name) => self.by_name.get_mut(&name),
            None => self.by_pattern.entry(pattern).as_mut(),
        };
        match subscribed {
            Some(subscribed) if options.presence => insert(&mut subscribed.watchers, slot),
            Some(subscribed) => remove(&mut subscribed.watchers, slot),
            None => {}
        }
    }

    /// Ends a subscription of the session in `slot`. `None`: it has none such; `Some(true)`: it was the last on that name or pattern here.
    pub fn remove(&mut self, pattern: &Pattern, slot: u32) -> Option<bool> {
        self.by_slot.get_mut(slot)?.remove(pattern).then(|| self.take_out(pattern, slot))
    }

    /// Ends all subscriptions of the session in `slot`; each with whether it was the last on its name or pattern here.
    pub fn remove_all(&mut self, slot: u32) -> Vec<(Pattern, bool)> {
        let Some(subscriptions) = self.by_slot.take(slot) else { return Vec::new() };
        subscriptions.iter().map(|subscription| (subscription.pattern().clone(), self.take_out(subscription.pattern(), slot))).collect()
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

    /// Takes `slot` off one list; `true`: it was the last there.
    fn take_out(&mut self, pattern: &Pattern, slot: u32) -> bool {
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
