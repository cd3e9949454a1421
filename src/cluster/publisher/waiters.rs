//! Publishers that wait for room, in the order in which they came. No more of them are woken than there is room for.

use std::collections::{BTreeMap, HashMap};
use std::task::Waker;

/// The publishers that wait until fewer publications are unanswered, and those that were woken. A publisher is identified by its waker.
#[derive(Debug, Default)]
pub struct Waiters {
    /// The waiting publishers, by their turn.
    queue: BTreeMap<i64, Waker>,
    /// The turns of the publishers in `queue`, each of which waits once.
    turns: HashMap<WakerId, i64>,
    /// Publishers that were woken and have not published since. Room is reserved for each of them.
    woken: HashMap<WakerId, Woken>,
}

/// Wakers with the same value wake the same publisher.
type WakerId = (usize, usize);

/// When a publisher was woken.
#[derive(Debug)]
enum Woken {
    SinceLastCheck,
    BeforeLastCheck,
}

fn id(waker: &Waker) -> WakerId {
    (waker.data().addr(), std::ptr::from_ref(waker.vtable()).addr())
}

impl Waiters {
    /// Whether `publisher` may take one of `room` places. Places of woken publishers are reserved for them.
    pub fn may_publish(&self, publisher: &Waker, room: usize) -> bool {
        let reserved = if self.woken.contains_key(&id(publisher)) { 0 } else { self.woken.len() };
        room > reserved
    }

    /// Adds `publisher` at the end of the queue, or at its front if it was woken and found no room.
    pub fn wait(&mut self, publisher: &Waker) {
        let id = id(publisher);
        if self.turns.contains_key(&id) {
            return;
        }
        let turn = match self.woken.remove(&id) {
            Some(_) => self.queue.first_key_value().map_or(0, |(first, _)| first - 1),
            None => self.queue.last_key_value().map_or(0, |(last, _)| last + 1),
        };
        self.turns.insert(id, turn);
        self.queue.insert(turn, publisher.clone());
    }

    /// Removes `publisher`, which has published or is gone, and its reserved room.
    pub fn forget(&mut self, publisher: &Waker) {
        let id = id(publisher);
        self.woken.remove(&id);
        if let Some(turn) = self.turns.remove(&id) {
            self.queue.remove(&turn);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Removes and returns the publishers to wake when there are `room` places, some of which may be reserved already.
    pub fn take(&mut self, room: usize) -> Vec<Waker> {
        let count = room.saturating_sub(self.woken.len());
        let taken: Vec<_> = std::iter::from_fn(|| self.queue.pop_first()).take(count).map(|(_, waker)| waker).collect();
        for id in taken.iter().map(id) {
            self.turns.remove(&id);
            self.woken.insert(id, Woken::SinceLastCheck);
        }
        taken
    }

    /// Removes and returns all publishers, because there is nothing to wait for.
    pub fn take_all(&mut self) -> Vec<Waker> {
        self.woken.clear();
        self.turns.clear();
        std::mem::take(&mut self.queue).into_values().collect()
    }

    /// Ends the reservations of publishers that were woken before the last call of this function.
    pub fn expire_woken(&mut self) {
        self.woken.retain(|_, woken| matches!(std::mem::replace(woken, Woken::BeforeLastCheck), Woken::SinceLastCheck));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// A waker that counts how often it was woken.
    #[derive(Default)]
    pub struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        /// How often it was woken.
        pub fn times(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// How often each waker was woken.
    pub fn times(wakers: &[Arc<Count>]) -> Vec<usize> {
        wakers.iter().map(|waker| waker.times()).collect()
    }

    fn publishers(count: usize) -> Vec<Arc<Count>> {
        (0..count).map(|_| Arc::default()).collect()
    }

    fn waker(publisher: &Arc<Count>) -> Waker {
        Waker::from(Arc::clone(publisher))
    }

    fn wake(waiters: &mut Waiters, room: usize) {
        waiters.take(room).into_iter().for_each(Waker::wake);
    }

    /// Each acknowledgement makes room for one, and wakes the publisher that has waited longest. The bug: all were woken.
    #[test]
    fn one_publisher_is_woken_for_each_room() {
        let (publishers, mut waiters) = (publishers(1_000), Waiters::default());
        publishers.iter().for_each(|publisher| waiters.wait(&waker(publisher)));
        for acknowledged in 1..=1_000 {
            wake(&mut waiters, 1);
            assert_eq!(times(&publishers), [vec![1; acknowledged], vec![0; 1_000 - acknowledged]].concat());
            waiters.forget(&waker(&publishers[acknowledged - 1]));
        }
        wake(&mut waiters, 1);
        assert_eq!(times(&publishers), [1; 1_000]);
    }

    /// Room for which a publisher was woken wakes no other publisher, until the first is late or forgotten.
    #[test]
    fn reserved_room_wakes_no_other_publisher() {
        let (publishers, mut waiters) = (publishers(5), Waiters::default());
        publishers.iter().for_each(|publisher| waiters.wait(&waker(publisher)));
        wake(&mut waiters, 1);
        wake(&mut waiters, 1);
        wake(&mut waiters, 2);
        assert_eq!(times(&publishers), [1, 1, 0, 0, 0]);
        waiters.forget(&waker(&publishers[0]));
        waiters.expire_woken();
        wake(&mut waiters, 2);
        assert_eq!(times(&publishers), [1, 1, 1, 0, 0], "one was forgotten");
        waiters.expire_woken();
        wake(&mut waiters, 2);
        assert_eq!(times(&publishers), [1, 1, 1, 1, 0], "one is late");
        waiters.take_all().into_iter().for_each(Waker::wake);
        assert_eq!(publishers[4].times(), 1);
    }

    /// A publisher that was woken has reserved room. If there is no room, it waits before all others. The bug: it waited behind them.
    #[test]
    fn a_woken_publisher_keeps_its_place() {
        let (publishers, mut waiters) = (publishers(3), Waiters::default());
        let [first, second, third] = [0, 1, 2].map(|index| waker(&publishers[index]));
        [&first, &second].into_iter().for_each(|waker| waiters.wait(waker));
        wake(&mut waiters, 1);
        assert!(waiters.may_publish(&first, 1) && !waiters.may_publish(&second, 1) && !waiters.may_publish(&third, 1));
        assert!(waiters.may_publish(&third, 2) && !waiters.may_publish(&first, 0));
        [&third, &first].into_iter().for_each(|waker| waiters.wait(waker));
        wake(&mut waiters, 1);
        assert_eq!(times(&publishers), [2, 0, 0]);
    }

    /// A publisher that waits again, because something else has woken it, keeps its place.
    #[test]
    fn a_publisher_waits_once() {
        let (publishers, mut waiters) = (publishers(2), Waiters::default());
        [0, 1, 0, 0, 1].into_iter().for_each(|index| waiters.wait(&waker(&publishers[index])));
        wake(&mut waiters, 5);
        assert_eq!(times(&publishers), [1, 1]);
    }
}
