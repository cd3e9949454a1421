//! Who takes what: the sessions of a topic or pattern, and the subscriptions of a session.

use std::ops::Range;
use std::time::Duration;

use foldhash::HashMap;

use super::by_name::ByName;
use super::departures::{Departures, Ending};
use super::subscriptions::Subscriptions;
use super::watchers::{Told, Watchers};
use crate::hub::PatternTrie;
use crate::session_id::SessionId;
use crate::shard::slot::BySlot;
use crate::topic_name::{Pattern, TopicName};

/// A shard's subscribers. Lists are sorted by slot, so that a fan-out walks the slots in order.
#[derive(Default)]
pub struct Subscribers {
    by_name: ByName<Subscribed>,
    /// Boxed, for most nodes of the trie have none.
    by_pattern: PatternTrie<Box<Subscribed>>,
    by_slot: BySlot<Subscriptions>,
    /// How many subscriptions of a slot watch, of those that have one.
    watching: HashMap<u32, u32>,
    /// Of a session that has none.
    none: Subscriptions,
    /// Those of sessions that have ended.
    departures: Departures,
}

/// Something of a session that has ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// A subscription.
    Subscription {
        /// Whose.
        session: SessionId,
        /// To what.
        pattern: Pattern,
        /// Whether nobody else has it here.
        last: bool,
    },
    /// All of its subscriptions: no list names its slot any more.
    Session {
        /// Its slot.
        slot: u32,
    },
}

/// The slots that are subscribed to one name or pattern.
#[derive(Default)]
pub struct Subscribed {
    /// All of them.
    pub slots: Vec<u32>,
    /// Those that are told who joins and leaves.
    watchers: Watchers,
    /// How many of the slots have a client that keeps its window of deflate.
    keeping: usize,
}

impl Subscribers {
    /// What the session in `slot` is subscribed to.
    pub fn of(&self, slot: u32) -> &Subscriptions {
        self.by_slot.get(slot).unwrap_or(&self.none)
    }

    /// Subscribes the session in `slot`, whose client may keep its window of deflate; `true`: it is the first on that name or pattern
    /// here.
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

    /// Paces a subscription of the session in `slot` anew, or no more.
    pub fn set_interval(&mut self, pattern: &Pattern, slot: u32, interval: Option<Duration>) {
        if let Some(subscriptions) = self.by_slot.get_mut(slot) {
            subscriptions.set_interval(pattern, interval);
        }
    }

    /// Whether a subscription watches that the session in `slot` has. If it does so from now on, or no more, that begins behind the
    /// change that has the number `from`.
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

    /// Ends a subscription of the session in `slot`. `None`: it has none such; `Some(true)`: it was the last on that name or pattern here.
    pub fn remove(&mut self, pattern: &Pattern, slot: u32) -> Option<bool> {
        let subscriptions = self.by_slot.get_mut(slot)?;
        let keeps_window = subscriptions.keeps_window();
        subscriptions.remove(pattern).then(|| self.take_out(pattern, slot, keeps_window))
    }

    /// `session`, in `slot`, has ended: its subscriptions follow, a share in each tick. `true`: it has some, and lists name its slot until
    /// then.
    pub fn depart(&mut self, slot: u32, session: SessionId) -> bool {
        let subscriptions = self.by_slot.take(slot);
        let departs = subscriptions.is_some();
        subscriptions.into_iter().for_each(|subscriptions| self.departures.add(slot, session, subscriptions));
        departs
    }

    /// A tick begins.
    pub fn begin_tick(&mut self) {
        self.departures.begin_tick();
    }

    /// Ends the next subscription of a session that has ended, if this tick may.
    pub fn next_ended(&mut self) -> Option<Ended> {
        let Ending { slot, session, keeps_window, pattern } = self.departures.next()?;
        Some(match pattern {
            Some(pattern) => {
                let last = self.take_out(&pattern, slot, keeps_window);
                Ended::Subscription { session, pattern, last }
            }
            None => Ended::Session { slot },
        })
    }

    /// Whether subscriptions of sessions that have ended are left.
    pub fn are_departing(&self) -> bool {
        !self.departures.is_empty()
    }

    /// Calls `found` with each list that takes `topic`. A slot that is in several lists is named by each.
    pub fn lists<'a>(&'a self, topic: &TopicName, mut found: impl FnMut(&'a Subscribed)) {
        if let Some(subscribed) = self.by_name.get(topic) {
            found(subscribed);
        }
        if !self.by_pattern.is_empty() {
            self.by_pattern.matches(topic, |subscribed| found(subscribed));
        }
    }

    /// Whether a subscription of the session in `slot` takes `topic`.
    pub fn take(&self, slot: u32, topic: &TopicName) -> bool {
        let mut takes = false;
        self.lists(topic, |subscribed| takes = takes || subscribed.slots.binary_search(&slot).is_ok());
        takes
    }

    /// Whether a subscription of the session in `slot` watches.
    pub fn is_watching(&self, slot: u32) -> bool {
        self.watching.contains_key(&slot)
    }

    /// Whether somebody watches `topic`.
    pub fn are_watching(&self, topic: &TopicName) -> bool {
        let mut watching = false;
        self.lists(topic, |subscribed| watching |= !subscribed.watchers.is_empty());
        watching
    }

    /// Whether somebody may have begun to watch `topic` behind the change that has this number.
    pub fn began_behind(&self, topic: &TopicName, number: u64) -> bool {
        let mut began = false;
        self.lists(topic, |subscribed| began |= subscribed.watchers.began_behind(number));
        began
    }

    /// The slot behind the next part of those that watch one of `topics`, from slot `from` on: at most about `count` are in it. `None`:
    /// there are no others.
    pub fn end_of_part<'a>(&self, topics: impl Iterator<Item = &'a TopicName>, from: u32, count: usize) -> Option<u32> {
        let mut lists: Vec<&Watchers> = Vec::new();
        topics.for_each(|topic| self.lists(topic, |subscribed| lists.push(&subscribed.watchers)));
        // Most changes of a round have the same list of watchers.
        lists.sort_unstable_by_key(|watchers| std::ptr::from_ref(*watchers).addr());
        lists.dedup_by_key(|watchers| std::ptr::from_ref(*watchers).addr());
        let each = (count / lists.len().max(1)).max(1);
        lists.iter().filter_map(|watchers| watchers.behind(from, each)).min()
    }

    /// Calls `found` with each slot in `range` that is told of the change of `topic` that has this number; one may be named more than
    /// once.
    pub fn told_of(&self, topic: &TopicName, number: u64, range: Range<u32>, mut found: impl FnMut(u32)) {
        let mut ended = Vec::new();
        self.lists(topic, |subscribed| {
            subscribed.watchers.of(number, range.clone()).for_each(|(slot, told)| match told {
                Told::Yes => found(slot),
                Told::IfItWatches => ended.push(slot),
                Told::No => {}
            });
        });
        if ended.is_empty() {
            return;
        }
        ended.sort_unstable();
        self.lists(topic, |subscribed| {
            let watching =
                subscribed.watchers.of(number, range.clone()).filter(|(_, told)| *told != Told::IfItWatches).map(|(slot, _)| slot);
            watching.filter(|slot| ended.binary_search(slot).is_ok()).for_each(&mut found);
        });
    }

    /// Whether a session takes `topic` whose client keeps its window of deflate.
    pub fn keep_windows(&self, topic: &TopicName) -> bool {
        let mut keeping = 0;
        self.lists(topic, |subscribed| keeping += subscribed.keeping);
        keeping > 0
    }

    /// Takes `slot` off one list; `true`: it was the last there.
    fn take_out(&mut self, pattern: &Pattern, slot: u32, keeps_window: bool) -> bool {
        let name = pattern.as_name();
        let subscribed = match &name {
            Some(name) => self.by_name.get_mut(name),
            None => self.by_pattern.entry(pattern).as_deref_mut(),
        };
        let Some(subscribed) = subscribed else { return false };
        let watched = subscribed.watchers.remove(slot);
        let last = subscribed.take_out(slot, keeps_window);
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

    /// A subscription of the session in `slot` watches no more.
    fn watches_less(&mut self, slot: u32) {
        if let Some(count) = self.watching.get_mut(&slot) {
            *count -= 1;
            if *count == 0 {
                self.watching.remove(&slot);
            }
        }
    }
}

impl Subscribed {
    fn take_out(&mut self, slot: u32, keeps_window: bool) -> bool {
        if remove(&mut self.slots, slot) && keeps_window {
            self.keeping -= 1;
        }
        self.slots.is_empty()
    }
}

/// `true`: it was not there.
fn insert(slots: &mut Vec<u32>, slot: u32) -> bool {
    let place = slots.binary_search(&slot).err();
    place.into_iter().for_each(|place| slots.insert(place, slot));
    place.is_some()
}

/// `true`: it was there.
fn remove(slots: &mut Vec<u32>, slot: u32) -> bool {
    let Ok(place) = slots.binary_search(&slot) else { return false };
    slots.remove(place);
    if slots.capacity() > 64 && slots.len() < slots.capacity() / 4 {
        slots.shrink_to_fit();
    }
    true
}
