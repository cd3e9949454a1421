//! Publishers that found no room, in the order in which they came. Of these, as many are woken as there is room for.

use std::collections::{HashSet, VecDeque};
use std::task::Waker;

/// What waits for room among the publications on their way.
#[derive(Debug, Default)]
pub struct Waiters {
    queue: VecDeque<Waker>,
    /// The publishers in `queue`: each waits once.
    known: HashSet<Publisher>,
    /// How many were woken and have not published since. Their room is no room for others.
    woken: usize,
}

/// Publishers with the same value are woken by the same waker.
type Publisher = (usize, usize);

fn publisher(waker: &Waker) -> Publisher {
    (waker.data().addr(), std::ptr::from_ref(waker.vtable()).addr())
}

impl Waiters {
    /// The publisher of `waker` waits, behind those that wait already.
    pub fn wait(&mut self, waker: &Waker) {
        if self.known.insert(publisher(waker)) {
            self.queue.push_back(waker.clone());
        }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// A publication was taken.
    pub fn published(&mut self) {
        self.woken = self.woken.saturating_sub(1);
    }

    /// Who is to be woken, now that there is room for so many.
    pub fn take(&mut self, room: usize) -> Vec<Waker> {
        let count = room.saturating_sub(self.woken).min(self.queue.len());
        self.woken += count;
        let taken: Vec<_> = self.queue.drain(..count).collect();
        taken.iter().for_each(|waker| _ = self.known.remove(&publisher(waker)));
        taken
    }

    /// All of them: there is nothing to wait for.
    pub fn take_all(&mut self) -> Vec<Waker> {
        self.woken = 0;
        self.known.clear();
        std::mem::take(&mut self.queue).into()
    }

    /// Some that were woken may have gone without a publication. Their room is for others again.
    pub fn forget_woken(&mut self) {
        self.woken = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn times(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
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

    /// Each acknowledgement makes room for one, and wakes one: who waits longest. (It woke all of them.)
    #[test]
    fn as_many_are_woken_as_have_room() {
        let (publishers, mut waiters) = (publishers(1_000), Waiters::default());
        publishers.iter().for_each(|publisher| waiters.wait(&waker(publisher)));
        for acknowledged in 1..=1_000 {
            wake(&mut waiters, 1);
            let times: Vec<_> = publishers.iter().map(|publisher| publisher.times()).collect();
            assert!(times[..acknowledged].iter().all(|times| *times == 1) && times[acknowledged..].iter().all(|times| *times == 0));
            waiters.published();
        }
        wake(&mut waiters, 1);
        assert_eq!(publishers.iter().map(|publisher| publisher.times()).sum::<usize>(), 1_000);
    }

    /// Room that somebody was woken for wakes nobody else, until it is known that nobody came.
    #[test]
    fn room_is_promised_once() {
        let (publishers, mut waiters) = (publishers(5), Waiters::default());
        publishers.iter().for_each(|publisher| waiters.wait(&waker(publisher)));
        wake(&mut waiters, 1);
        wake(&mut waiters, 1);
        wake(&mut waiters, 2);
        assert_eq!(publishers.iter().map(|publisher| publisher.times()).collect::<Vec<_>>(), [1, 1, 0, 0, 0]);
        waiters.forget_woken();
        wake(&mut waiters, 2);
        assert_eq!(publishers.iter().map(|publisher| publisher.times()).collect::<Vec<_>>(), [1, 1, 1, 1, 0]);
        waiters.take_all().into_iter().for_each(Waker::wake);
        assert_eq!(publishers[4].times(), 1);
    }

    /// A publisher that asks again, as it was woken for something else, keeps its place.
    #[test]
    fn a_publisher_waits_once() {
        let (publishers, mut waiters) = (publishers(2), Waiters::default());
        [0, 1, 0, 0, 1].into_iter().for_each(|index| waiters.wait(&waker(&publishers[index])));
        wake(&mut waiters, 5);
        assert_eq!(publishers.iter().map(|publisher| publisher.times()).collect::<Vec<_>>(), [1, 1]);
    }
}
