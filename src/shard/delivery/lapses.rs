//! Lapses. A subscription of Centrifugo's protocol lapses when messages were lost: the gateway ends it, and the client
//! subscribes again from the last message that it has. The protocol has no gap notice.

use std::time::Duration;

use foldhash::HashMap;

use crate::clock::Moment;
use crate::topic_name::TopicName;

/// The shortest time between two lapses of a subscription. A client is back within a round trip, so a subscription
/// could lapse thousands of times a second. Losses within this time are not told.
const INTERVAL: Duration = Duration::from_secs(1);

/// The lapses of a shard's subscriptions. Lapses of the last [`INTERVAL`] are remembered, at most one for each
/// subscription.
#[derive(Default)]
pub struct Lapses {
    told: HashMap<(u32, TopicName), Moment>,
    /// The subscriptions that are to be ended.
    ended: Vec<(u32, TopicName)>,
}

impl Lapses {
    /// Notes that messages of `topic` were lost for the session in `slot`. Returns whether its subscription ends.
    pub fn note(&mut self, slot: u32, topic: &TopicName, now: Moment) -> bool {
        let key = (slot, topic.clone());
        if self.told.get(&key).is_some_and(|told| now.since(*told) < INTERVAL) {
            return false;
        }
        self.ended.push(key.clone());
        self.told.insert(key, now);
        true
    }

    /// Takes the subscriptions that are to be ended.
    pub fn take_ended(&mut self) -> Vec<(u32, TopicName)> {
        std::mem::take(&mut self.ended)
    }

    /// Forgets lapses that are older than [`INTERVAL`].
    pub fn forget_old(&mut self, now: Moment) {
        self.told.retain(|_, told| now.since(*told) < INTERVAL);
        if self.told.is_empty() {
            self.told = HashMap::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Timestamp};

    /// Each subscription lapses at most once a second, however much is lost.
    #[test]
    fn a_subscription_lapses_once_a_second() {
        let clock = Clock::by_hand(Timestamp(0));
        let [one, two] = ["a", "b"].map(|name| TopicName::parse(name).unwrap());
        let mut lapses = Lapses::default();
        assert!(lapses.note(7, &one, clock.moment()) && lapses.note(7, &two, clock.moment()) && lapses.note(8, &one, clock.moment()));
        assert!(!lapses.note(7, &one, clock.moment()));
        assert_eq!(lapses.take_ended().len(), 3);
        clock.advance(Duration::from_millis(999));
        lapses.forget_old(clock.moment());
        assert!(!lapses.note(7, &one, clock.moment()));
        clock.advance(Duration::from_millis(1));
        lapses.forget_old(clock.moment());
        assert!(lapses.told.is_empty() && lapses.note(7, &one, clock.moment()));
    }
}
