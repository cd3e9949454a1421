//! The sessions that are told of joins and leaves of one topic or pattern, and from which change on.
//!
//! The changes of a shard have the numbers of their items in its inbox. A session that begins to watch is not told of
//! changes that were in the inbox by then. The shard may have missed the leave that belongs to such a join, because it
//! had no subscriber of the topic.

use std::ops::Range;

/// The watchers, sorted by slot, so that a fan-out walks the slots in order.
#[derive(Debug, Default)]
pub struct Watchers {
    list: Vec<Watcher>,
    /// The highest `after` of all watchers so far.
    newest: u64,
}

#[derive(Debug)]
struct Watcher {
    slot: u32,
    /// The watcher is told of changes with higher numbers than this.
    after: u64,
    /// The watcher is told of no change with a higher number than this, once its watch has ended. The entry is removed
    /// with the subscription.
    until: Option<u64>,
}

/// Whether a watcher is told of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notified {
    /// The watcher is told.
    Yes,
    /// The watcher is told if it still watches the topic by another subscription. This covers a subscription that began
    /// to watch too late to tell of the change by itself.
    IfItWatches,
    /// The watch began behind the change.
    No,
}

impl Watchers {
    /// Begins to tell the session in `slot` of changes after `after`. Returns `true` if it was not watching.
    pub fn begin(&mut self, slot: u32, after: u64) -> bool {
        match self.find(slot) {
            Ok(place) => self.list[place].until.take().is_some(),
            Err(place) => {
                self.list.insert(place, Watcher { slot, after, until: None });
                self.newest = self.newest.max(after);
                true
            }
        }
    }

    /// Ends the watch of the session in `slot` after the change `until`. Returns `true` if it was watching.
    pub fn end(&mut self, slot: u32, until: u64) -> bool {
        let Ok(place) = self.find(slot) else { return false };
        let watcher = &mut self.list[place];
        let was_watching = watcher.until.is_none();
        watcher.until.get_or_insert(until);
        was_watching
    }

    /// Removes the session in `slot`. Returns `true` if it was watching.
    pub fn remove(&mut self, slot: u32) -> bool {
        let Ok(place) = self.find(slot) else { return false };
        let was_watching = self.list.remove(place).until.is_none();
        if self.list.is_empty() {
            self.list = Vec::new();
        }
        was_watching
    }

    /// The slots in `range` that are concerned by the change `number`, each with whether it is told.
    pub fn of(&self, number: u64, range: Range<u32>) -> impl Iterator<Item = (u32, Notified)> {
        let from = self.list.partition_point(|watcher| watcher.slot < range.start);
        let within = self.list[from..].iter().take_while(move |watcher| watcher.slot < range.end);
        within.filter_map(move |watcher| {
            let has_begun = number > watcher.after;
            let told = match watcher.until {
                None if has_begun => Notified::Yes,
                None => Notified::No,
                Some(until) if has_begun && number <= until => Notified::IfItWatches,
                Some(_) => return None,
            };
            Some((watcher.slot, told))
        })
    }

    /// The slot of the watcher behind the next `count` watchers from slot `from` on; `None`: there are no more
    /// watchers.
    pub fn behind(&self, from: u32, count: usize) -> Option<u32> {
        let next = self.list.partition_point(|watcher| watcher.slot < from) + count;
        self.list.get(next).map(|watcher| watcher.slot)
    }

    /// Whether there are no watchers.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether a watcher may have begun behind the change `number`.
    pub fn began_behind(&self, number: u64) -> bool {
        self.newest >= number && !self.list.is_empty()
    }

    fn find(&self, slot: u32) -> Result<usize, usize> {
        self.list.binary_search_by_key(&slot, |watcher| watcher.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A watcher is told of changes behind its begin, and of none that was in the inbox by then.
    #[test]
    fn a_watcher_begins_between_two_changes() {
        let mut watchers = Watchers::default();
        assert!(watchers.begin(4, 10) && watchers.begin(2, 12) && !watchers.begin(4, 20));
        let told = |number| watchers.of(number, 0..9).collect::<Vec<_>>();
        assert_eq!(told(11), [(2, Notified::No), (4, Notified::Yes)]);
        assert_eq!(told(13), [(2, Notified::Yes), (4, Notified::Yes)]);
        assert!(watchers.began_behind(12) && !watchers.began_behind(13));
    }

    /// Watchers are split into parts by their slots.
    #[test]
    fn watchers_have_parts() {
        let mut watchers = Watchers::default();
        (0..10).for_each(|number| _ = watchers.begin(3 * number, 0));
        assert_eq!((watchers.behind(0, 4), watchers.behind(12, 5), watchers.behind(12, 6)), (Some(12), Some(27), None));
        assert_eq!(watchers.of(1, 12..27).map(|(slot, _)| slot).collect::<Vec<_>>(), [12, 15, 18, 21, 24]);
    }

    /// A watch that ends by new options still counts for changes in the inbox, if the session watches the topic by
    /// another subscription.
    #[test]
    fn a_watch_ends_behind_the_changes_in_the_inbox() {
        let mut watchers = Watchers::default();
        watchers.begin(4, 10);
        assert!(watchers.end(4, 20) && !watchers.end(4, 30));
        let told = |watchers: &Watchers, number| watchers.of(number, 0..9).collect::<Vec<_>>();
        assert_eq!((told(&watchers, 20), told(&watchers, 21)), (vec![(4, Notified::IfItWatches)], vec![]));
        assert!(watchers.begin(4, 40) && watchers.remove(4) && watchers.is_empty());
    }
}
