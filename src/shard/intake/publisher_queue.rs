//! The queue of publishers at an inbox that was full: first come, first served, a few messages for each.

use std::collections::VecDeque;
use std::task::Waker;

use foldhash::HashSet;

/// The messages that a publisher may offer in its turn. More in a row fill a write batch better, fewer let the next publisher begin earlier.
const TURN_MESSAGES: u32 = 16;

/// The most publishers that have their turn at once.
const OPEN_MAX: usize = 64;

/// A turn ends if its publisher offers nothing for this number of the shard's ticks while others wait: it has nothing more, or is gone.
const IDLE_TICKS_MAX: u32 = 1_000;

/// Publishers in the order in which they came. A publisher is identified by its waker, which it keeps while it waits.
#[derive(Debug, Default)]
pub struct PublisherQueue {
    waiting: VecDeque<Waker>,
    /// The addresses of the wakers in `waiting`.
    known: HashSet<usize>,
    open: VecDeque<Turn>,
}

#[derive(Debug)]
struct Turn {
    publisher: Waker,
    messages_left: u32,
    idle_ticks: u32,
}

impl PublisherQueue {
    /// Whether `publisher` may offer a message where there is room. A publisher needs no turn while no other waits and no turn is open.
    pub fn may_offer(&self, publisher: &Waker) -> bool {
        self.waiting.is_empty() && self.open.is_empty() || self.has_turn(publisher)
    }

    /// Notes that `publisher` has offered a message, which uses up a part of its turn.
    pub fn offered(&mut self, publisher: &Waker) {
        let Some(index) = self.open.iter().position(|turn| turn.publisher.will_wake(publisher)) else { return };
        let turn = &mut self.open[index];
        turn.idle_ticks = 0;
        turn.messages_left -= 1;
        if turn.messages_left == 0 {
            self.open.remove(index);
        }
    }

    /// Whether `publisher` has a turn.
    pub fn has_turn(&self, publisher: &Waker) -> bool {
        self.open.iter().any(|turn| turn.publisher.will_wake(publisher))
    }

    /// Queues `publisher` behind those that came before. A publisher that has a turn and found no room loses that turn.
    pub fn wait(&mut self, publisher: &Waker) {
        self.open.retain(|turn| !turn.publisher.will_wake(publisher));
        if self.known.insert(publisher.data().addr()) {
            self.waiting.push_back(publisher.clone());
        }
    }

    /// Gives `publisher` its turn now. Called where the inbox is empty, so that no tick of the shard would.
    pub fn open(&mut self, publisher: &Waker) {
        if self.has_turn(publisher) {
            return;
        }
        if self.open.len() == OPEN_MAX {
            self.open.pop_front();
        }
        self.open.push_back(Turn { publisher: publisher.clone(), messages_left: TURN_MESSAGES, idle_ticks: 0 });
    }

    /// Ends all turns if no publisher waits. Called when the shard has emptied its inbox, which then has room for every publisher.
    pub fn end(&mut self) {
        if self.waiting.is_empty() {
            self.open.clear();
        }
    }

    /// Gives turns to the publishers that wait, as many as may have one; the caller wakes them in this order. Called in each tick with room.
    pub fn open_next(&mut self) -> Vec<Waker> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        self.open.iter_mut().for_each(|turn| turn.idle_ticks += 1);
        self.open.retain(|turn| turn.idle_ticks <= IDLE_TICKS_MAX);
        let count = (OPEN_MAX - self.open.len()).min(self.waiting.len());
        let next: Vec<Waker> = self.waiting.drain(..count).collect();
        for publisher in &next {
            self.known.remove(&publisher.data().addr());
            self.open(publisher);
        }
        next
    }

    /// Whether a publisher waits.
    pub fn is_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }
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

    fn offers(turns: &mut PublisherQueue, publisher: &Waker) -> u32 {
        let offer = |turns: &mut PublisherQueue| {
            let may = turns.may_offer(publisher);
            if may {
                turns.offered(publisher);
            }
            may
        };
        (0..100).take_while(|_| offer(turns)).count() as u32
    }

    /// Issue 14, row 24: first come, first served, each for a turn; whoever comes meanwhile goes behind. (Four publishers got 681,800,
    /// 62,200, 12,000 and 11,400 messages.)
    #[test]
    fn publishers_have_their_turns_in_their_order() {
        let mut turns = PublisherQueue::default();
        let [a, b, c] = publishers();
        assert_eq!(offers(&mut turns, &a), 100, "nobody waits");
        [&b, &a, &b].into_iter().for_each(|publisher| turns.wait(publisher));
        assert_eq!(offers(&mut turns, &c), 0, "others wait");
        turns.wait(&c);
        let woken = turns.open_next();
        assert!(woken.iter().zip([&b, &a, &c]).all(|(woken, publisher)| woken.will_wake(publisher)) && woken.len() == 3);
        let turn = |publisher| {
            let offered = offers(&mut turns, publisher);
            turns.wait(publisher);
            offered
        };
        assert_eq!([&a, &b, &c].map(turn), [TURN_MESSAGES; 3]);
        assert_eq!(turns.open_next().len(), 3);
        [&a, &b].into_iter().for_each(|publisher| _ = offers(&mut turns, publisher));
        assert_eq!(offers(&mut turns, &c), 100, "all turns are over and nobody waits");
    }

    /// An inbox that was full once costs nobody a turn once it was emptied.
    #[test]
    fn turns_end_where_nobody_waits() {
        let mut turns = PublisherQueue::default();
        let [a, b, c] = publishers();
        [&a, &b].into_iter().for_each(|publisher| turns.wait(publisher));
        turns.end();
        assert_eq!(turns.open_next().len(), 2);
        assert_eq!(offers(&mut turns, &c), 0, "others have their turns");
        turns.end();
        assert_eq!(offers(&mut turns, &c), 100);
    }

    /// A publisher that finds no room within its turn is woken like the others. (It was in no list, and slept for ever.)
    #[test]
    fn a_full_inbox_ends_a_turn() {
        let mut turns = PublisherQueue::default();
        let [a, b] = publishers();
        turns.wait(&a);
        turns.open_next();
        turns.wait(&b);
        turns.wait(&a);
        let woken = turns.open_next();
        assert!(woken.iter().zip([&b, &a]).all(|(woken, publisher)| woken.will_wake(publisher)) && woken.len() == 2);
    }

    /// A publisher that has gone with its turn does not hold up those behind it.
    #[test]
    fn an_unused_turn_ends() {
        let mut turns = PublisherQueue::default();
        let gone: [Waker; OPEN_MAX] = publishers();
        let [late] = publishers();
        gone.iter().for_each(|publisher| turns.wait(publisher));
        assert_eq!(turns.open_next().len(), OPEN_MAX);
        turns.wait(&late);
        let ticks = (0..2 * IDLE_TICKS_MAX).take_while(|_| turns.open_next().is_empty()).count() as u32;
        assert_eq!((ticks, turns.is_awaited()), (IDLE_TICKS_MAX, false));
        assert!(turns.has_turn(&late));
    }
}
