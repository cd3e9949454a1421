//! The queue of an outbox. A place in it keeps its number when frames before or behind it come or go, so that an index
//! may name it.

use std::collections::VecDeque;

use super::queued::Queued;

/// The number of empty places that are always allowed. Beyond it, there may be as many empty places as occupied ones.
const EMPTY_MAX: usize = if cfg!(test) { 2 } else { 32 };

/// Frames in order. The first place and the last are never empty.
#[derive(Default)]
pub struct StableQueue {
    places: VecDeque<Option<Queued>>,
    /// The number of the first place.
    first: i64,
    empty: usize,
}

impl StableQueue {
    /// Whether no frame waits.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The number of the first place.
    pub fn first(&self) -> i64 {
        self.first
    }

    /// The number of the place behind the last.
    pub fn end(&self) -> i64 {
        self.first + self.places.len() as i64
    }

    /// The frame that goes out next.
    pub fn front(&self) -> Option<&Queued> {
        self.places.front().and_then(Option::as_ref)
    }

    /// The frame at `place`.
    pub fn get(&self, place: i64) -> Option<&Queued> {
        self.places.get(self.index(place)?)?.as_ref()
    }

    /// The frame at `place`, mutable.
    pub fn get_mut(&mut self, place: i64) -> Option<&mut Queued> {
        let index = self.index(place)?;
        self.places.get_mut(index)?.as_mut()
    }

    /// All frames with their places, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i64, &Queued)> + Clone {
        self.places.iter().enumerate().filter_map(|(index, queued)| Some((self.first + index as i64, queued.as_ref()?)))
    }

    /// Puts `queued` behind all others. Returns its place.
    pub fn push_back(&mut self, queued: Queued) -> i64 {
        self.places.push_back(Some(queued));
        self.end() - 1
    }

    /// Puts `queued` before all others.
    pub fn push_front(&mut self, queued: Queued) {
        self.places.push_front(Some(queued));
        self.first -= 1;
    }

    /// Removes and returns the frame at `place`.
    pub fn remove(&mut self, place: i64) -> Option<Queued> {
        let index = self.index(place)?;
        let queued = self.places.get_mut(index)?.take()?;
        self.empty += 1;
        while self.places.front().is_some_and(Option::is_none) {
            self.places.pop_front();
            self.first += 1;
            self.empty -= 1;
        }
        while self.places.back().is_some_and(Option::is_none) {
            self.places.pop_back();
            self.empty -= 1;
        }
        Some(queued)
    }

    /// Whether [`StableQueue::close_up`] is worth its cost. Each empty place was made by a removal, so closing up costs
    /// no more than the removals.
    pub fn is_sparse(&self) -> bool {
        self.empty > EMPTY_MAX && self.empty > self.places.len() / 2
    }

    /// Removes the empty places. The numbers of all places behind them change.
    pub fn close_up(&mut self) {
        self.places.retain(Option::is_some);
        self.places.shrink_to(2 * self.places.len());
        self.empty = 0;
    }

    /// The number of occupied places before `place`.
    pub fn count_before(&self, place: i64) -> usize {
        self.iter().take_while(|(at, _)| *at < place).count()
    }

    /// Frees the queue's memory, if no frame waits.
    pub fn shrink(&mut self) {
        if self.places.is_empty() {
            self.places = VecDeque::new();
        }
    }

    fn index(&self, place: i64) -> Option<usize> {
        usize::try_from(place - self.first).ok()
    }
}
