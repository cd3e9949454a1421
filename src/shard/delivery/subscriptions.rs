//! What one session is subscribed to, with its options.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::topic_name::Pattern;

/// One subscription of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pattern: Pattern,
    /// At most one message per topic in so many milliseconds; a whole `Duration` would take twice the room.
    interval_ms: Option<NonZeroU32>,
    /// Larger than those of the session's older subscriptions.
    number: u32,
}

/// One session's subscriptions.
#[derive(Debug, Default)]
pub struct Subscriptions {
    /// Sorted by pattern.
    list: Vec<Subscription>,
    /// The number of the next one.
    next: u32,
    /// How many have an interval.
    paced: u32,
    /// Whether the session's client keeps its window of deflate.
    keeps_window: bool,
}

impl Subscription {
    /// Its topic or pattern.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// At most one message per topic in that time.
    pub fn interval(&self) -> Option<Duration> {
        self.interval_ms.map(|interval| Duration::from_millis(interval.get().into()))
    }
}

impl Subscriptions {
    /// None yet, of a session whose client may keep its window of deflate.
    pub fn new(keeps_window: bool) -> Self {
        Self { keeps_window, ..Self::default() }
    }

    /// Whether the session's client keeps its window of deflate.
    pub fn keeps_window(&self) -> bool {
        self.keeps_window
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// All, in the order of their patterns.
    pub fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.list.iter()
    }

    /// Their patterns alone.
    pub fn into_patterns(self) -> std::vec::IntoIter<Pattern> {
        let patterns: Vec<Pattern> = self.list.into_iter().map(|subscription| subscription.pattern).collect();
        patterns.into_iter()
    }

    /// All patterns, in the order of their subscribing.
    pub fn in_order(&self) -> Vec<Pattern> {
        let mut subscriptions: Vec<&Subscription> = self.list.iter().collect();
        subscriptions.sort_unstable_by_key(|subscription| subscription.number);
        subscriptions.into_iter().map(|subscription| subscription.pattern.clone()).collect()
    }

    /// Whether `pattern` is among them, spelled like that.
    pub fn contains(&self, pattern: &Pattern) -> bool {
        self.find(pattern).is_ok()
    }

    /// Whether `pattern` is among them and gets every message: it has no interval.
    pub fn is_positioned(&self, pattern: &Pattern) -> bool {
        self.find(pattern).is_ok_and(|index| self.list[index].interval_ms.is_none())
    }

    /// Whether one of them has an interval.
    pub fn are_paced(&self) -> bool {
        self.paced > 0
    }

    /// Adds one.
    pub fn add(&mut self, pattern: &Pattern, interval: Option<Duration>) {
        let Err(index) = self.find(pattern) else { return };
        // Most sessions have one or a few: room for just these.
        if self.list.len() == self.list.capacity() {
            self.list.reserve_exact(1 + self.list.len() / 2);
        }
        let interval_ms = in_milliseconds(interval);
        self.list.insert(index, Subscription { pattern: pattern.clone(), interval_ms, number: self.next });
        self.next = self.next.saturating_add(1);
        self.paced += u32::from(interval_ms.is_some());
    }

    /// Paces one anew, or no more.
    pub fn set_interval(&mut self, pattern: &Pattern, interval: Option<Duration>) {
        let Ok(index) = self.find(pattern) else { return };
        let interval_ms = in_milliseconds(interval);
        let former = std::mem::replace(&mut self.list[index].interval_ms, interval_ms);
        self.paced = self.paced + u32::from(interval_ms.is_some()) - u32::from(former.is_some());
    }

    /// Takes one out; `false`: it is not among them.
    pub fn remove(&mut self, pattern: &Pattern) -> bool {
        let Ok(index) = self.find(pattern) else { return false };
        self.paced -= u32::from(self.list.remove(index).interval_ms.is_some());
        if self.list.is_empty() {
            self.list = Vec::new();
        }
        true
    }

    /// Where `pattern` is, or would be.
    fn find(&self, pattern: &Pattern) -> Result<usize, usize> {
        self.list.binary_search_by(|subscription| subscription.pattern.cmp(pattern))
    }
}

/// In whole milliseconds, as the contract has it.
fn in_milliseconds(interval: Option<Duration>) -> Option<NonZeroU32> {
    interval.and_then(|interval| NonZeroU32::new(u32::try_from(interval.as_millis()).unwrap_or(u32::MAX)))
}
