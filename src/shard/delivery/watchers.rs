//! Who is told of joins and leaves, of one topic or pattern, and from which change on.
//!
//! The changes of a shard have the numbers of their items in its inbox. Whoever begins to watch is not told of those that were in the
//! inbox by then: the leave that goes with a join among them may never have been told to this shard, which had nobody who took the topic.

use std::ops::Range;

/// Sorted by slot, so that a fan-out walks the slots in order.
#[derive(Debug, Default)]
pub struct Watchers {
    list: Vec<Watcher>,
    /// The highest number after which one was ever told of changes.
    newest: u64,
}

#[derive(Debug)]
struct Watcher {
    slot: u32,
    /// It is told of changes with higher numbers,
    after: u64,
    /// and of none with a higher one than this. It goes with its subscription.
    until: Option<u64>,
}

/// What a change is to a watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It hears of it.
    Yes,
    /// It hears of it if it watches the topic by another subscription still: one that has begun later does not tell of it.
    IfItWatches,
    /// It watches, and this was before.
    No,
}

impl Watchers {
    /// The session in `slot` is told of changes after `after`; `true`: it was not watching.
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

    /// The session in `slot` is told of changes up to `until` and of none after; `true`: it was watching.
    pub fn end(&mut self, slot: u32, until: u64) -> bool {
        let Ok(place) = self.find(slot) else { return false };
        let watcher = &mut self.list[place];
        let was_watching = watcher.until.is_none();
        watcher.until.get_or_insert(until);
        was_watching
    }

    /// The session in `slot` is told of nothing any more; `true`: it was watching.
    pub fn remove(&mut self, slot: u32) -> bool {
        let Ok(place) = self.find(slot) else { return false };
        let was_watching = self.list.remove(place).until.is_none();
        if self.list.is_empty() {
            self.list = Vec::new();
        }
        was_watching
    }

    /// Each slot in `range` that the change of this number is something to.
    pub fn of(&self, number: u64, range: Range<u32>) -> impl Iterator<Item = (u32, Told)> {
        let from = self.list.partition_point(|watcher| watcher.slot < range.start);
        let within = self.list[from..].iter().take_while(move |watcher| watcher.slot < range.end);
        within.filter_map(move |watcher| {
            let has_begun = number > watcher.after;
            let told = match watcher.until {
                None if has_begun => Told::Yes,
                None => Told::No,
                Some(until) if has_begun && number <= until => Told::IfItWatches,
                Some(_) => return None,
            };
            Some((watcher.slot, told))
        })
    }

    /// The slot behind the next `count` from slot `from` on; `None`: there are no more than these.
    pub fn behind(&self, from: u32, count: usize) -> Option<u32> {
        let next = self.list.partition_point(|watcher| watcher.slot < from) + count;
        self.list.get(next).map(|watcher| watcher.slot)
    }

    /// Whether nobody watches.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether one may have begun to watch behind the change of this number.
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

    /// Who begins to watch hears what comes behind, and nothing that lay in the inbox by then.
    #[test]
    fn a_watcher_begins_between_two_changes() {
        let mut watchers = Watchers::default();
        assert!(watchers.begin(4, 10) && watchers.begin(2, 12) && !watchers.begin(4, 20));
        let told = |number| watchers.of(number, 0..9).collect::<Vec<_>>();
        assert_eq!(told(11), [(2, Told::No), (4, Told::Yes)]);
        assert_eq!(told(13), [(2, Told::Yes), (4, Told::Yes)]);
        assert!(watchers.began_behind(12) && !watchers.began_behind(13));
    }

    /// Many are told in parts, by their slots.
    #[test]
    fn watchers_have_parts() {
        let mut watchers = Watchers::default();
        (0..10).for_each(|number| _ = watchers.begin(3 * number, 0));
        assert_eq!((watchers.behind(0, 4), watchers.behind(12, 5), watchers.behind(12, 6)), (Some(12), Some(27), None));
        assert_eq!(watchers.of(1, 12..27).map(|(slot, _)| slot).collect::<Vec<_>>(), [12, 15, 18, 21, 24]);
    }

    /// A watch that ends by other options holds for what lay in the inbox, if the session watches the topic otherwise.
    #[test]
    fn a_watch_ends_behind_what_was_in_the_inbox() {
        let mut watchers = Watchers::default();
        watchers.begin(4, 10);
        assert!(watchers.end(4, 20) && !watchers.end(4, 30));
        let told = |watchers: &Watchers, number| watchers.of(number, 0..9).collect::<Vec<_>>();
        assert_eq!((told(&watchers, 20), told(&watchers, 21)), (vec![(4, Told::IfItWatches)], vec![]));
        assert!(watchers.begin(4, 40) && watchers.remove(4) && watchers.is_empty());
    }
}
