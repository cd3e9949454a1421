//! The subscribers of each name and pattern, and the subscriptions of each session.

mod ended_subscriptions;
mod name_map;
mod subscriptions;
mod watchers;

use std::ops::Range;
use std::time::Duration;

use foldhash::HashMap;

use crate::hub::PatternTrie;
use crate::session_id::SessionId;
use crate::shard::slot::SlotMap;
use crate::topic_name::{Pattern, TopicName};
use ended_subscriptions::{EndedSubscription, EndedSubscriptions};
use name_map::NameMap;
use subscriptions::Subscriptions;
use watchers::{Notified, Watchers};

/// A shard's subscribers. Lists are sorted by slot, so that a fan-out walks the slots in order.
#[derive(Default)]
pub struct Subscribers {
    by_name: NameMap<SubscriberList>,
    /// Boxed, because most nodes of the trie have no subscribers.
    by_pattern: PatternTrie<Box<SubscriberList>>,
    by_slot: SlotMap<Subscriptions>,
    /// The number of watching subscriptions of each slot that has one.
    watching: HashMap<u32, u32>,
    /// The empty subscriptions of a session that has none.
    none: Subscriptions,
    /// The subscriptions of sessions that have ended.
    ended_subscriptions: EndedSubscriptions,
}

/// A part of an ended session's subscriptions that has ended now.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// A subscription.
    Subscription {
        /// The session.
        session: SessionId,
        /// The name or pattern.
        pattern: Pattern,
        /// Whether no other session of the shard has this subscription.
        last: bool,
    },
    /// All subscriptions of a session. No list names its slot any more.
    Session {
        /// The session's slot.
        slot: u32,
    },
}

/// The slots that are subscribed to one name or pattern.
#[derive(Default)]
pub struct SubscriberList {
    /// The slots of all subscribers.
    pub slots: Vec<u32>,
    /// The slots that are told of joins and leaves.
    watchers: Watchers,
    /// The number of slots whose client keeps its deflate window.
    keeping: usize,
}

impl Subscribers {
    /// The subscriptions of the session in `slot`.
    pub fn of(&self, slot: u32) -> &Subscriptions {
        self.by_slot.get(slot).unwrap_or(&self.none)
    }

    /// Subscribes the session in `slot`. `keeps_window` says whether its client keeps its deflate window. Returns
    /// `true` if it is the shard's first subscription to that name or pattern.
    pub fn add(&mut self, pattern: &Pattern, slot: u32, interval: Option<Duration>, keeps_window: bool) -> bool {
        if self.by_slot.get(slot).is_none() {
            self.by_slot.put(slot, Subscriptions::new(keeps_window));
        }
        if let Some(subscriptions) = self.by_slot.get_mut(slot) {
            subscriptions.add(pattern, interval);
        }
        let subscribed = match pattern.as_name() {
            Some(name) => self.by_name.get_or_insert_default(name),
            None => &mut **self.by_pattern.entry(pattern).get_or_insert_default(),
        };
        if insert(&mut subscribed.slots, slot) && keeps_window {
            subscribed.keeping += 1;
        }
        subscribed.slots.len() == 1
    }

    /// Sets the interval of a subscription of the session in `slot`.
    pub fn set_interval(&mut self, pattern: &Pattern, slot: u32, interval: Option<Duration>) {
        if let Some(subscriptions) = self.by_slot.get_mut(slot) {
            subscriptions.set_interval(pattern, interval);
        }
    }

    /// Sets whether a subscription of the session in `slot` watches. The change takes effect behind the change of
    /// presence with the number `from`.
    pub fn watch(&mut self, pattern: &Pattern, slot: u32, watches: bool, from: u64) {
        let subscribed = match pattern.as_name() {
            Some(name) => self.by_name.get_mut(&name),
            None => self.by_pattern.entry(pattern).as_deref_mut(),
        };
        let Some(subscribed) = subscribed else { return };
        if watches && subscribed.watchers.begin(slot, from) {
            *self.watching.entry(slot).or_default() += 1;
        } else if !watches && subscribed.watchers.end(slot, from) {
            self.watches_less(slot);
        }
    }

    /// Ends a subscription of the session in `slot`. Returns `None` if there is no such subscription, and `Some(true)`
    /// if it was the shard's last to that name or pattern.
    pub fn remove(&mut self, pattern: &Pattern, slot: u32) -> Option<bool> {
        let subscriptions = self.by_slot.get_mut(slot)?;
        let keeps_window = subscriptions.keeps_window();
        subscriptions.remove(pattern).then(|| self.remove_from_list(pattern, slot, keeps_window))
    }

    /// Ends `session`, which had `slot`. Its subscriptions end in shares, one in each tick. Returns `true` if it has
    /// subscriptions, so that lists still name its slot.
    pub fn end_session(&mut self, slot: u32, session: SessionId) -> bool {
        let subscriptions = self.by_slot.take(slot);
        let had_subscriptions = subscriptions.is_some();
        subscriptions.into_iter().for_each(|subscriptions| self.ended_subscriptions.add(slot, session, subscriptions));
        had_subscriptions
    }

    /// Begins a tick with a new budget.
    pub fn begin_tick(&mut self) {
        self.ended_subscriptions.begin_tick();
    }

    /// Ends the next subscription of an ended session, if the tick's budget allows it.
    pub fn next_ended(&mut self) -> Option<Ended> {
        let EndedSubscription { slot, session, keeps_window, pattern } = self.ended_subscriptions.next()?;
        Some(match pattern {
            Some(pattern) => {
                let last = self.remove_from_list(&pattern, slot, keeps_window);
                Ended::Subscription { session, pattern, last }
            }
            None => Ended::Session { slot },
        })
    }

    /// Whether subscriptions of ended sessions are left.
    pub fn has_ended(&self) -> bool {
        !self.ended_subscriptions.is_empty()
    }

    /// Calls `found` with the list of each name or pattern that matches `topic`. A slot may be in several lists.
    pub fn lists<'a>(&'a self, topic: &TopicName, mut found: impl FnMut(&'a SubscriberList)) {
        if let Some(subscribed) = self.by_name.get(topic) {
            found(subscribed);
        }
        if !self.by_pattern.is_empty() {
            self.by_pattern.matches(topic, |subscribed| found(subscribed));
        }
    }

    /// The number of subscriptions by patterns that match `topic`. A session may have several.
    pub fn count_by_pattern(&self, topic: &TopicName) -> usize {
        let mut count = 0;
        self.by_pattern.matches(topic, |subscribed| count += subscribed.slots.len());
        count
    }

    /// Whether a subscription of the session in `slot` matches `topic`.
    pub fn covers(&self, slot: u32, topic: &TopicName) -> bool {
        let mut covers = false;
        self.lists(topic, |subscribed| covers = covers || subscribed.slots.binary_search(&slot).is_ok());
        covers
    }

    /// Whether a subscription of the session in `slot` receives joins and leaves.
    pub fn is_watching(&self, slot: u32) -> bool {
        self.watching.contains_key(&slot)
    }

    /// Whether a session receives the joins and leaves of `topic`.
    pub fn are_watching(&self, topic: &TopicName) -> bool {
        let mut watching = false;
        self.lists(topic, |subscribed| watching |= !subscribed.watchers.is_empty());
        watching
    }

    /// Whether a session may have begun to watch `topic` behind the change with `number`.
    pub fn began_behind(&self, topic: &TopicName, number: u64) -> bool {
        let mut began = false;
        self.lists(topic, |subscribed| began |= subscribed.watchers.began_behind(number));
        began
    }

    /// The slot behind the next part of the watchers of `topics`, from slot `from` on. A part has at most about `count`
    /// watchers. `None`: no watchers follow.
    pub fn end_of_part<'a>(&self, topics: impl Iterator<Item = &'a TopicName>, from: u32, count: usize) -> Option<u32> {
        let mut lists: Vec<&Watchers> = Vec::new();
        topics.for_each(|topic| self.lists(topic, |subscribed| lists.push(&subscribed.watchers)));
        // Most changes of a round have the same list of watchers.
        lists.sort_unstable_by_key(|watchers| std::ptr::from_ref(*watchers).addr());
        lists.dedup_by_key(|watchers| std::ptr::from_ref(*watchers).addr());
        let each = (count / lists.len().max(1)).max(1);
        lists.iter().filter_map(|watchers| watchers.behind(from, each)).min()
    }

    /// Calls `found` with each slot in `range` that is told of the change of `topic` with `number`. A slot may be named
    /// more than once.
    pub fn announced_to(&self, topic: &TopicName, number: u64, range: Range<u32>, mut found: impl FnMut(u32)) {
        let mut ended = Vec::new();
        self.lists(topic, |subscribed| {
            subscribed.watchers.of(number, range.clone()).for_each(|(slot, told)| match told {
                Notified::Yes => found(slot),
                Notified::IfItWatches => ended.push(slot),
                Notified::No => {}
            });
        });
        if ended.is_empty() {
            return;
        }
        ended.sort_unstable();
        self.lists(topic, |subscribed| {
            let watching =
                subscribed.watchers.of(number, range.clone()).filter(|(_, told)| *told != Notified::IfItWatches).map(|(slot, _)| slot);
            watching.filter(|slot| ended.binary_search(slot).is_ok()).for_each(&mut found);
        });
    }

    /// Whether `topic` has a subscriber whose client keeps its deflate window.
    pub fn keep_windows(&self, topic: &TopicName) -> bool {
        let mut keeping = 0;
        self.lists(topic, |subscribed| keeping += subscribed.keeping);
        keeping > 0
    }

    /// Takes `slot` off one list. Returns `true` if it was the last in the list.
    fn remove_from_list(&mut self, pattern: &Pattern, slot: u32, keeps_window: bool) -> bool {
        let name = pattern.as_name();
        let subscribed = match &name {
            Some(name) => self.by_name.get_mut(name),
            None => self.by_pattern.entry(pattern).as_deref_mut(),
        };
        let Some(subscribed) = subscribed else { return false };
        let watched = subscribed.watchers.remove(slot);
        let last = subscribed.remove(slot, keeps_window);
        match name {
            Some(name) if last => drop(self.by_name.remove(&name)),
            None if last => drop(self.by_pattern.remove(pattern)),
            _ => {}
        }
        if watched {
            self.watches_less(slot);
        }
        last
    }

    /// Notes that a subscription of the session in `slot` no longer watches.
    fn watches_less(&mut self, slot: u32) {
        if let Some(count) = self.watching.get_mut(&slot) {
            *count -= 1;
            if *count == 0 {
                self.watching.remove(&slot);
            }
        }
    }
}

impl SubscriberList {
    fn remove(&mut self, slot: u32, keeps_window: bool) -> bool {
        if remove(&mut self.slots, slot) && keeps_window {
            self.keeping -= 1;
        }
        self.slots.is_empty()
    }
}

/// Inserts `slot`. Returns `true` if it was not there.
fn insert(slots: &mut Vec<u32>, slot: u32) -> bool {
    let place = slots.binary_search(&slot).err();
    place.into_iter().for_each(|place| slots.insert(place, slot));
    place.is_some()
}

/// Removes `slot`. Returns `true` if it was there.
fn remove(slots: &mut Vec<u32>, slot: u32) -> bool {
    let Ok(place) = slots.binary_search(&slot) else { return false };
    slots.remove(place);
    if slots.capacity() > 64 && slots.len() < slots.capacity() / 4 {
        slots.shrink_to_fit();
    }
    true
}
