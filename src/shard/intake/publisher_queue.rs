//! The queue of publishers at an inbox that was full: first come, first served, in turns of a few messages.

use std::collections::{BTreeSet, VecDeque};
use std::task::Waker;
use std::time::Duration;

use foldhash::HashMap;

use crate::clock::Moment;

/// The messages of a turn. More in a row fill a write batch better, fewer let the next publisher begin earlier.
const TURN_MESSAGES: u32 = 16;

/// The most publishers that are called and have not come yet.
const CALLED_MAX: usize = 64;

/// The most turns that a publisher may be behind or ahead of the others. A larger distance is cut to this.
const TURNS_APART_MAX: u64 = 2;

/// How long other publishers wait for one that was called. A live publisher comes within a tick of its shard.
const PATIENCE: Duration = Duration::from_millis(10);

/// The number of times that the shard may find its inbox empty, while no publisher waits, before the queue is
/// forgotten.
const IDLE_TAKES_MAX: u32 = 64;

/// Publishers that have found no room, each with the number of its turn. Among waiting publishers, only those with the
/// lowest number may offer messages. So no publisher gets more than [`TURNS_APART_MAX`] turns more than another that
/// waits as long. A publisher is identified by its waker.
///
/// A publisher that offers messages does not hold up the others. If they pass it meanwhile, its turn has a lower number
/// than theirs when it waits again, and it catches up.
#[derive(Debug, Default)]
pub struct PublisherQueue {
    /// By the addresses of their wakers. An address is not reused while its waker is kept here.
    publishers: HashMap<usize, Publisher>,
    /// The waiting publishers, called or not, in their order.
    waiting: BTreeSet<QueueKey>,
    /// The called publishers that have not come yet, each with the moment of the call.
    called: VecDeque<(usize, Moment)>,
    /// The highest turn number that was the lowest of the waiting publishers.
    turn: u64,
    /// The number of times that a publisher has begun to wait. It orders publishers within a turn.
    arrivals: u64,
    /// The number of publishers past which those that neither wait nor are ahead are forgotten.
    kept_max: usize,
    idle_takes: u32,
}

/// What orders the queue: the number of the turn, the number of the arrival, and the publisher's key.
type QueueKey = (u64, u64, usize);

#[derive(Debug)]
struct Publisher {
    waker: Waker,
    turn: u64,
    messages_left: u32,
    arrival: u64,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The publisher offers messages, has none, or waits for another inbox.
    Away,
    /// The publisher waits.
    Waiting,
    /// The publisher waited and was woken.
    Called,
}

impl PublisherQueue {
    /// Whether `publisher` may offer a message if there is room. A publisher that was not called begins no turn before
    /// those that wait.
    pub fn may_offer(&self, publisher: &Waker) -> bool {
        let Some(lowest) = self.lowest() else { return true };
        let Some(publisher) = self.publishers.get(&key(publisher)) else { return false };
        let has_begun = publisher.stage == Stage::Called || publisher.messages_left < TURN_MESSAGES;
        publisher.turn < lowest || publisher.turn == lowest && has_begun
    }

    /// Notes that `publisher` has offered a message, which uses up a part of its turn.
    pub fn offered(&mut self, publisher: &Waker) {
        if self.publishers.is_empty() {
            return;
        }
        let key = key(publisher);
        self.step_away(key);
        let behind_at_most = self.turn.saturating_sub(TURNS_APART_MAX);
        let Some(publisher) = self.publishers.get_mut(&key) else { return };
        publisher.turn = publisher.turn.max(behind_at_most);
        publisher.messages_left -= 1;
        if publisher.messages_left == 0 {
            (publisher.turn, publisher.messages_left) = (publisher.turn + 1, TURN_MESSAGES);
        }
    }

    /// Queues `publisher`, which found no room or was not in turn. It keeps its place until its turn is used up. A new
    /// publisher is queued behind those that wait.
    pub fn wait(&mut self, publisher: &Waker) {
        let key = key(publisher);
        self.turn = self.turn.max(self.lowest().unwrap_or_default());
        if !self.publishers.contains_key(&key) {
            self.forget_some();
            let (waker, turn) = (publisher.clone(), if self.is_awaited() { self.turn + 1 } else { self.turn });
            let publisher = Publisher { waker, turn, messages_left: TURN_MESSAGES, arrival: 0, stage: Stage::Away };
            self.publishers.insert(key, publisher);
        }
        let Some(publisher) = self.publishers.get_mut(&key) else { return };
        match publisher.stage {
            Stage::Waiting => return,
            Stage::Called => self.called.retain(|(called, _)| *called != key),
            Stage::Away => {
                publisher.turn = publisher.turn.clamp(self.turn.saturating_sub(TURNS_APART_MAX), self.turn + TURNS_APART_MAX);
                if publisher.messages_left == TURN_MESSAGES {
                    self.arrivals += 1;
                    publisher.arrival = self.arrivals;
                }
                self.waiting.insert(publisher.queue_key(key));
            }
        }
        publisher.stage = Stage::Waiting;
    }

    /// Notes that `publisher` waits for another inbox, so it holds up no other publisher here. It keeps the number of
    /// its turn.
    pub fn waits_elsewhere(&mut self, publisher: &Waker) {
        self.step_away(key(publisher));
    }

    /// Forgets `publisher`, which has gone.
    pub fn forget(&mut self, publisher: &Waker) {
        let key = key(publisher);
        self.step_away(key);
        self.publishers.remove(&key);
    }

    /// Calls the publishers whose turn it is, and returns their wakers. The caller wakes them in this order. Called in
    /// each tick with room.
    pub fn call_next(&mut self, now: Moment) -> Vec<Waker> {
        while let Some(&(late, _)) = self.called.front().filter(|(_, since)| now.since(*since) > PATIENCE) {
            self.step_away(late);
        }
        let Self { publishers, waiting, called, .. } = self;
        let Some(&(lowest, ..)) = waiting.first() else { return Vec::new() };
        let mut next = Vec::new();
        for (_, _, key) in waiting.iter().take_while(|(turn, ..)| *turn == lowest) {
            if called.len() >= CALLED_MAX {
                break;
            }
            let Some(publisher) = publishers.get_mut(key).filter(|publisher| publisher.stage == Stage::Waiting) else { continue };
            publisher.stage = Stage::Called;
            called.push_back((*key, now));
            next.push(publisher.waker.clone());
        }
        next
    }

    /// Notes that the shard has emptied its inbox. After [`IDLE_TAKES_MAX`] such notes while no publisher waits, the
    /// publishers' turns are forgotten.
    pub fn note_empty(&mut self) {
        if self.publishers.is_empty() || self.is_awaited() {
            self.idle_takes = 0;
            return;
        }
        self.idle_takes += 1;
        if self.idle_takes > IDLE_TAKES_MAX {
            *self = Self::default();
        }
    }

    /// Whether a publisher waits.
    pub fn is_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether publishers wait and no called one is expected. The next ones have to be called, if there is room.
    pub fn is_stalled(&self) -> bool {
        self.is_awaited() && self.called.is_empty()
    }

    fn lowest(&self) -> Option<u64> {
        self.waiting.first().map(|(turn, ..)| *turn)
    }

    /// Takes a publisher out of the queue. Its turn is kept.
    fn step_away(&mut self, key: usize) {
        let Some(publisher) = self.publishers.get_mut(&key).filter(|publisher| publisher.stage != Stage::Away) else { return };
        publisher.stage = Stage::Away;
        let queue_key = publisher.queue_key(key);
        self.turn = self.turn.max(self.lowest().unwrap_or_default());
        self.waiting.remove(&queue_key);
        self.called.retain(|(called, _)| *called != key);
    }

    /// Forgets publishers that neither wait nor are ahead, whenever the number of known publishers has doubled since
    /// the last time.
    fn forget_some(&mut self) {
        if self.publishers.len() > self.kept_max {
            let turn = self.turn;
            self.publishers.retain(|_, publisher| publisher.stage != Stage::Away || publisher.turn > turn);
            self.kept_max = 2 * self.publishers.len() + CALLED_MAX;
        }
    }
}

impl Publisher {
    fn queue_key(&self, key: usize) -> QueueKey {
        (self.turn, self.arrival, key)
    }
}

fn key(publisher: &Waker) -> usize {
    publisher.data().addr()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    struct Publisher;

    impl Wake for Publisher {
        fn wake(self: Arc<Self>) {}
    }

    fn publishers<const N: usize>() -> [Waker; N] {
        std::array::from_fn(|_| Waker::from(Arc::new(Publisher)))
    }

    /// The number of messages, of 100, that `publisher` may offer.
    fn offers(queue: &mut PublisherQueue, publisher: &Waker) -> u32 {
        let offer = |queue: &mut PublisherQueue| {
            let may = queue.may_offer(publisher);
            if may {
                queue.offered(publisher);
            }
            may
        };
        (0..100).take_while(|_| offer(queue)).count() as u32
    }

    fn are(woken: &[Waker], expected: &[&Waker]) -> bool {
        woken.len() == expected.len() && woken.iter().zip(expected).all(|(woken, expected)| woken.will_wake(expected))
    }

    /// Publishers are served in the order of their arrival, one turn each. A publisher that comes later goes behind.
    /// (Four publishers got 681,800, 62,200, 12,000 and 11,400 messages.)
    #[test]
    fn publishers_have_their_turns_in_their_order() {
        let (mut queue, now) = (PublisherQueue::default(), Moment::default());
        let [a, b, c] = publishers();
        assert_eq!(offers(&mut queue, &a), 100, "nobody waits");
        [&b, &a, &b].into_iter().for_each(|publisher| queue.wait(publisher));
        assert_eq!(offers(&mut queue, &c), 0, "others wait");
        queue.wait(&c);
        assert!(are(&queue.call_next(now), &[&b]), "it came to an inbox without a queue");
        let turn = |queue: &mut PublisherQueue, publisher| {
            let offered = offers(queue, publisher);
            queue.wait(publisher);
            offered
        };
        assert_eq!(turn(&mut queue, &b), TURN_MESSAGES);
        assert!(are(&queue.call_next(now), &[&a, &c, &b]));
        assert!(queue.call_next(now).is_empty(), "they are called once");
        assert_eq!([&c, &a].map(|publisher| turn(&mut queue, publisher)), [TURN_MESSAGES; 2]);
        assert_eq!(turn(&mut queue, &b), TURN_MESSAGES);
        assert!(are(&queue.call_next(now), &[&c, &a, &b]));
    }

    /// A publisher that finds no room within its turn keeps its place for the rest of the turn. (It went behind all
    /// others, so the last of each round got fewer messages.)
    #[test]
    fn a_full_inbox_does_not_end_a_turn() {
        let (mut queue, now) = (PublisherQueue::default(), Moment::default());
        let [a, b] = publishers();
        [&a, &b].into_iter().for_each(|publisher| queue.wait(publisher));
        queue.call_next(now);
        offers(&mut queue, &a);
        queue.wait(&a);
        assert!(are(&queue.call_next(now), &[&b, &a]));
        (0..3).for_each(|_| queue.offered(&b));
        (0..TURN_MESSAGES).for_each(|_| queue.offered(&a));
        [&a, &b].into_iter().for_each(|publisher| queue.wait(publisher));
        assert!(are(&queue.call_next(now), &[&b]));
        assert_eq!(offers(&mut queue, &b), TURN_MESSAGES - 3);
    }

    /// A publisher that was called does not hold up others if it has gone, waits elsewhere or is slow.
    #[test]
    fn a_called_publisher_that_does_not_come_holds_up_nobody() {
        let (mut queue, mut now) = (PublisherQueue::default(), Moment::default());
        let [gone, elsewhere, slow, live] = publishers();
        for publisher in [&gone, &elsewhere, &slow] {
            queue.wait(publisher);
            queue.wait(&live);
            now = now + PATIENCE;
            assert!(are(&queue.call_next(now), &[publisher]));
            now = now + PATIENCE;
            assert_eq!((queue.call_next(now).len(), queue.may_offer(&live)), (0, false), "another is waited for");
            match publisher {
                _ if publisher.will_wake(&gone) => queue.forget(publisher),
                _ if publisher.will_wake(&elsewhere) => queue.waits_elsewhere(publisher),
                _ => now = now + 2 * PATIENCE,
            }
            assert!(are(&queue.call_next(now), &[&live]));
            queue.forget(&live);
        }
    }

    /// The number of known publishers is bounded by those that wait, however many come once.
    #[test]
    fn publishers_that_come_once_are_forgotten() {
        let (mut queue, now) = (PublisherQueue::default(), Moment::default());
        let [always] = publishers();
        for _ in 0..10_000 {
            let [once] = publishers();
            queue.wait(&always);
            queue.wait(&once);
            queue.call_next(now);
            offers(&mut queue, &always);
            queue.offered(&once);
            assert!(queue.publishers.len() <= 2 * CALLED_MAX, "{} are known", queue.publishers.len());
        }
        (0..=IDLE_TAKES_MAX).for_each(|_| queue.note_empty());
        assert!(queue.publishers.is_empty(), "nobody waits any more");
    }

    /// A publisher that comes for the first time goes behind those that wait, even if one that was passed has a lower
    /// turn than they have.
    #[test]
    fn a_new_publisher_goes_behind_those_that_wait() {
        let (mut queue, now) = (PublisherQueue { kept_max: 8, ..PublisherQueue::default() }, Moment::default());
        let [waits, returns, comes] = publishers();
        queue.turn = 9;
        queue.wait(&returns);
        queue.call_next(now);
        queue.offered(&returns);
        queue.turn = 10;
        [&waits, &returns, &comes].into_iter().for_each(|publisher| queue.wait(publisher));
        let turns = [&waits, &returns, &comes].map(|publisher| queue.publishers[&key(publisher)].turn);
        assert_eq!(turns, [10, 9, 11]);
    }

    /// A publisher that returns after a long time has no more turns to catch up than any other.
    #[test]
    fn turns_of_long_ago_are_forgotten() {
        let mut queue = PublisherQueue { kept_max: 8, ..PublisherQueue::default() };
        let [waits, returns] = publishers();
        queue.wait(&returns);
        queue.call_next(Moment::default());
        queue.offered(&returns);
        queue.turn = 1_000;
        queue.wait(&waits);
        let offered = u64::from(offers(&mut queue, &returns));
        assert!((1..=TURNS_APART_MAX * u64::from(TURN_MESSAGES)).contains(&offered), "{offered}");
    }
}
