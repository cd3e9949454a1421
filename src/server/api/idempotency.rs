//! Idempotency keys: a topic publishes one message for each key, however often the request is repeated.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::clock::{Clock, Moment};
use crate::config::Live;
use crate::metrics::{LimitKey, Metrics};
use crate::position::Position;
use crate::topic_name::TopicName;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 128;
/// How long a key is remembered.
const KNOWN_FOR: Duration = Duration::from_secs(300);

/// The keys of the last [`KNOWN_FOR`], each with the position of its message.
pub struct Idempotency {
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// Locked for a look-up; nothing is published under the lock.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    positions: HashMap<Arc<Name>, Arc<OnceCell<Position>>>,
    /// Keys in the order of their first use.
    order: VecDeque<(Moment, Arc<Name>)>,
}

/// A topic and a key of this topic.
type Name = (TopicName, Box<str>);

impl Idempotency {
    /// No keys yet.
    pub fn new(live: &Arc<Live>, metrics: &Arc<Metrics>, clock: &Clock) -> Self {
        Self { live: Arc::clone(live), metrics: Arc::clone(metrics), clock: clock.clone(), known: Mutex::default() }
    }

    /// The result of `publish`, or the earlier result under this key. While a publish is under way, other requests with
    /// its key wait. If it fails, the next one publishes.
    pub async fn once<E>(&self, topic: &TopicName, key: &str, publish: impl Future<Output = Result<Position, E>>) -> Result<Position, E> {
        let position = self.position(topic, key);
        position.get_or_try_init(|| publish).await.copied()
    }

    /// The position of the message with this key, which is not known before it is published.
    fn position(&self, topic: &TopicName, key: &str) -> Arc<OnceCell<Position>> {
        let (now, most) = (self.clock.moment(), self.live.load().limits.idempotency_keys);
        let name: Arc<Name> = Arc::new((topic.clone(), key.into()));
        let mut known = self.known.lock();
        while known.order.front().is_some_and(|&(at, _)| now.since(at) >= KNOWN_FOR) {
            known.forget_oldest();
        }
        if let Some(position) = known.positions.get(&name) {
            return Arc::clone(position);
        }
        while known.order.len() >= most {
            known.forget_oldest();
            self.metrics.limit_hit(LimitKey::IdempotencyKeys);
        }
        let position = Arc::new(OnceCell::new());
        known.positions.insert(Arc::clone(&name), Arc::clone(&position));
        known.order.push_back((now, name));
        position
    }
}

impl Known {
    fn forget_oldest(&mut self) {
        if let Some((_, name)) = self.order.pop_front() {
            self.positions.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::config::Limits;
    use crate::position::{Epoch, Offset};

    fn position(offset: u64) -> Position {
        Position { epoch: Epoch::random(), offset: Offset(offset) }
    }

    async fn published(keys: &Idempotency, key: &str, offset: u64) -> u64 {
        let topic = TopicName::parse("a").unwrap();
        keys.once(&topic, key, async { Ok::<_, ()>(position(offset)) }).await.unwrap().offset.0
    }

    /// One key publishes once in five minutes; past `idempotency_keys` the oldest is forgotten.
    #[tokio::test]
    async fn keys_are_kept_for_five_minutes_and_are_bounded() {
        let clock = Clock::by_hand(Timestamp(0));
        let live = Live::with_limits(Limits { idempotency_keys: 2, ..Limits::default() });
        let keys = Idempotency::new(&live, &Arc::default(), &clock);
        assert_eq!((published(&keys, "a", 1).await, published(&keys, "a", 2).await, published(&keys, "b", 3).await), (1, 1, 3));
        assert_eq!((published(&keys, "c", 4).await, published(&keys, "b", 5).await, published(&keys, "a", 6).await), (4, 3, 6));
        clock.advance(KNOWN_FOR);
        assert_eq!((published(&keys, "c", 7).await, published(&keys, "a", 8).await), (7, 8));
        let topic = TopicName::parse("b").unwrap();
        assert!(keys.once(&topic, "a", async { Err(()) }).await.is_err(), "a key belongs to one topic");
        assert_eq!(
            keys.once(&topic, "a", async { Ok::<_, ()>(position(9)) }).await.unwrap().offset,
            Offset(9),
            "a failed publication does not use up its key"
        );
    }
}
