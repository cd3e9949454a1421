//! The subscriptions of one session, with their options.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::topic_name::Pattern;

/// One subscription of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pattern: Pattern,
    /// The interval between two messages of a topic, in milliseconds. A `Duration` would take twice the memory.
    interval_ms: Option<NonZeroU32>,
    /// The order of subscribing: larger than the numbers of the session's older subscriptions.
    number: u32,
}

/// One session's subscriptions.
#[derive(Debug, Default)]
pub struct Subscriptions {
    /// The subscriptions, sorted by pattern.
    list: Vec<Subscription>,
    /// The number of the next subscription.
    next: u32,
    /// The number of subscriptions with an interval.
    paced: u32,
    /// Whether the session's client keeps its deflate window (context takeover, RFC 7692 §7.1.1).
    keeps_window: bool,
}

impl Subscription {
    /// The topic or pattern.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// The shortest time between two messages of a topic; `None`: no bound.
    pub fn interval(&self) -> Option<Duration> {
        self.interval_ms.map(|interval| Duration::from_millis(interval.get().into()))
    }
}

impl Subscriptions {
    /// No subscriptions. `keeps_window` says whether the session's client keeps its deflate window.
    pub fn new(keeps_window: bool) -> Self {
        Self { keeps_window, ..Self::default() }
    }

    /// Whether the session's client keeps its deflate window (context takeover, RFC 7692 §7.1.1).
    pub fn keeps_window(&self) -> bool {
        self.keeps_window
    }

    /// The number of subscriptions.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// All subscriptions, in the order of their patterns.
    pub fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.list.iter()
    }

    /// The patterns, in their order.
    pub fn into_patterns(self) -> std::vec::IntoIter<Pattern> {
        let patterns: Vec<Pattern> = self.list.into_iter().map(|subscription| subscription.pattern).collect();
        patterns.into_iter()
    }

    /// All patterns, oldest subscription first.
    pub fn in_order(&self) -> Vec<Pattern> {
        let mut subscriptions: Vec<&Subscription> = self.list.iter().collect();
        subscriptions.sort_unstable_by_key(|subscription| subscription.number);
        subscriptions.into_iter().map(|subscription| subscription.pattern.clone()).collect()
    }

    /// Whether there is a subscription to exactly `pattern`.
    pub fn contains(&self, pattern: &Pattern) -> bool {
        self.find(pattern).is_ok()
    }

    /// Whether there is a subscription to exactly `pattern` that gets every message, because it has no interval.
    pub fn is_positioned(&self, pattern: &Pattern) -> bool {
        self.find(pattern).is_ok_and(|index| self.list[index].interval_ms.is_none())
    }

    /// Whether a subscription has an interval.
    pub fn are_paced(&self) -> bool {
        self.paced > 0
    }

    /// Adds a subscription to `pattern`, if there is none.
    pub fn add(&mut self, pattern: &Pattern, interval: Option<Duration>) {
        let Err(index) = self.find(pattern) else { return };
        // Most sessions have few subscriptions, so the capacity grows by half instead of doubling.
        if self.list.len() == self.list.capacity() {
            self.list.reserve_exact(1 + self.list.len() / 2);
        }
        let interval_ms = in_milliseconds(interval);
        self.list.insert(index, Subscription { pattern: pattern.clone(), interval_ms, number: self.next });
        self.next = self.next.saturating_add(1);
        self.paced += u32::from(interval_ms.is_some());
    }

    /// Sets the interval of the subscription to `pattern`.
    pub fn set_interval(&mut self, pattern: &Pattern, interval: Option<Duration>) {
        let Ok(index) = self.find(pattern) else { return };
        let interval_ms = in_milliseconds(interval);
        let former = std::mem::replace(&mut self.list[index].interval_ms, interval_ms);
        self.paced = self.paced + u32::from(interval_ms.is_some()) - u32::from(former.is_some());
    }

    /// Removes the subscription to `pattern`. Returns `false` if there is none.
    pub fn remove(&mut self, pattern: &Pattern) -> bool {
        let Ok(index) = self.find(pattern) else { return false };
        self.paced -= u32::from(self.list.remove(index).interval_ms.is_some());
        if self.list.is_empty() {
            self.list = Vec::new();
        }
        true
    }

    /// The index of `pattern`, or the index at which it would be inserted.
    fn find(&self, pattern: &Pattern) -> Result<usize, usize> {
        self.list.binary_search_by(|subscription| subscription.pattern.cmp(pattern))
    }
}

/// The interval in whole milliseconds, as in `interval_ms`; `None` for no interval or zero.
fn in_milliseconds(interval: Option<Duration>) -> Option<NonZeroU32> {
    interval.and_then(|interval| NonZeroU32::new(u32::try_from(interval.as_millis()).unwrap_or(u32::MAX)))
}
