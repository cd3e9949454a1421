//! The queue of an outbox. A place in it keeps its number whatever goes before or behind it, so that an index may name it.

use std::collections::VecDeque;

use super::queued::Queued;

/// Empty places that may lie between others, beyond as many as those others.
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
    /// Whether nothing waits.
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

    /// What goes out next.
    pub fn front(&self) -> Option<&Queued> {
        self.places.front().and_then(Option::as_ref)
    }

    /// What is at `place`.
    pub fn get(&self, place: i64) -> Option<&Queued> {
        self.places.get(self.index(place)?)?.as_ref()
    }

    /// What is at `place`, to be changed.
    pub fn get_mut(&mut self, place: i64) -> Option<&mut Queued> {
        let index = self.index(place)?;
        self.places.get_mut(index)?.as_mut()
    }

    /// All that waits, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i64, &Queued)> + Clone {
        self.places.iter().enumerate().filter_map(|(index, queued)| Some((self.first + index as i64, queued.as_ref()?)))
    }

    /// Puts `queued` behind all others; its place.
    pub fn push_back(&mut self, queued: Queued) -> i64 {
        self.places.push_back(Some(queued));
        self.end() - 1
    }

    /// Puts `queued` before all others.
    pub fn push_front(&mut self, queued: Queued) {
        self.places.push_front(Some(queued));
        self.first -= 1;
    }

    /// Takes out what is at `place`.
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

    /// Whether it is worth [`StableQueue::close_up`]: each empty place was made by a removal, so that costs no more than those.
    pub fn is_sparse(&self) -> bool {
        self.empty > EMPTY_MAX && self.empty > self.places.len() / 2
    }

    /// Takes the empty places out; all numbers behind them change.
    pub fn close_up(&mut self) {
        self.places.retain(Option::is_some);
        self.places.shrink_to(2 * self.places.len());
        self.empty = 0;
    }

    /// How many places before `place` are not empty.
    pub fn count_before(&self, place: i64) -> usize {
        self.iter().take_while(|(at, _)| *at < place).count()
    }

    /// Gives its memory back, if nothing waits.
    pub fn shrink(&mut self) {
        if self.places.is_empty() {
            self.places = VecDeque::new();
        }
    }

    fn index(&self, place: i64) -> Option<usize> {
        usize::try_from(place - self.first).ok()
    }
}
