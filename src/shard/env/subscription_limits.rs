//! Limits on the subscriptions of all sessions: their number, and the number of pattern shapes.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::HashMap;
use parking_lot::Mutex;

use crate::client_address::counting_unit;
use crate::config::Limits;
use crate::metrics::LimitKey;
use crate::topic_name::{Pattern, Stars};

/// The subscriptions of all shards together, counted against their limits.
#[derive(Debug, Default)]
pub struct SubscriptionLimits {
    reserved: AtomicUsize,
    /// Held for one look-up.
    shapes: Mutex<Shapes>,
}

/// The shapes of patterns with two `*` or more.
///
/// A topic finds its patterns in a trie, where at each depth it visits at most one node for each shape. So the number
/// of shapes bounds what a message costs beyond its deliveries, however many patterns there are. Patterns with one `*`
/// or none have few shapes by themselves, and are not counted.
#[derive(Debug, Default)]
struct Shapes {
    held: HashMap<Stars, Shape>,
    /// The number of held shapes that each address was the first to bring.
    brought: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Shape {
    subscriptions: usize,
    brought_by: IpAddr,
}

impl SubscriptionLimits {
    /// Reserves a subscription to `pattern` by a session of `address`. The error is the limit that refuses it.
    pub fn reserve(&self, pattern: &Pattern, address: IpAddr, limits: &Limits) -> Result<(), LimitKey> {
        let more = |reserved| (reserved < limits.subscriptions_total).then_some(reserved + 1);
        if self.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return Err(LimitKey::SubscriptionsTotal);
        }
        let stars = pattern.stars();
        if stars.count() < 2 {
            return Ok(());
        }
        let entered = self.shapes.lock().insert(stars, counting_unit(address), limits);
        if entered.is_err() {
            self.reserved.fetch_sub(1, Ordering::Relaxed);
        }
        entered
    }

    /// Gives back what [`SubscriptionLimits::reserve`] reserved for `pattern`.
    pub fn release(&self, pattern: &Pattern) {
        self.reserved.fetch_sub(1, Ordering::Relaxed);
        let stars = pattern.stars();
        if stars.count() >= 2 {
            self.shapes.lock().remove(stars);
        }
    }

    /// The number of shapes that subscriptions hold.
    pub fn shapes(&self) -> usize {
        self.shapes.lock().held.len()
    }
}

impl Shapes {
    fn insert(&mut self, stars: Stars, address: IpAddr, limits: &Limits) -> Result<(), LimitKey> {
        if let Some(shape) = self.held.get_mut(&stars) {
            shape.subscriptions += 1;
            return Ok(());
        }
        if self.held.len() >= limits.pattern_shapes {
            return Err(LimitKey::PatternShapes);
        }
        let brought = self.brought.entry(address).or_default();
        if *brought >= limits.pattern_shapes_per_address {
            return Err(LimitKey::PatternShapesPerAddress);
        }
        *brought += 1;
        self.held.insert(stars, Shape { subscriptions: 1, brought_by: address });
        Ok(())
    }

    fn remove(&mut self, stars: Stars) {
        let Some(shape) = self.held.get_mut(&stars) else { return };
        shape.subscriptions -= 1;
        if shape.subscriptions > 0 {
            return;
        }
        let address = shape.brought_by;
        self.held.remove(&stars);
        if let Some(brought) = self.brought.get_mut(&address) {
            *brought -= 1;
            if *brought == 0 {
                self.brought.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::hub::PatternTrie;
    use crate::topic_name::tests::{name, pattern};

    /// A shape counts once however many patterns have it. It counts for the address that was the first to bring it,
    /// until its last pattern is gone.
    #[test]
    fn a_shape_counts_for_the_first_address_that_brings_it() {
        let limits = Limits { pattern_shapes: 3, pattern_shapes_per_address: 2, ..Limits::default() };
        let subscriptions = SubscriptionLimits::default();
        let take = |text: &str, last: u8| subscriptions.reserve(&pattern(text), [10, 0, 0, last].into(), &limits);
        for text in ["a.*.*", "b.*.*.c", "a.>", "*.b", "a.b.*.>", "*.*"] {
            assert_eq!(take(text, 1), Ok(()), "{text}");
        }
        assert_eq!(take("*.a.*", 1), Err(LimitKey::PatternShapesPerAddress));
        assert_eq!(take("*.a.*", 2), Ok(()));
        assert_eq!(take("*.b.*.c", 1), Ok(()), "a shape that another has brought");
        assert_eq!(take("*.*.*", 2), Err(LimitKey::PatternShapes));
        subscriptions.release(&pattern("a.*.*"));
        assert_eq!(take("*.*.*", 2), Err(LimitKey::PatternShapes), "b.*.*.c has the shape still");
        subscriptions.release(&pattern("b.*.*.c"));
        assert_eq!(take("*.*.*", 1), Ok(()));
        assert_eq!(subscriptions.shapes(), 3);
        let limits = Limits { subscriptions_total: 6, ..limits };
        assert_eq!(subscriptions.reserve(&pattern("a.b"), [10, 0, 0, 1].into(), &limits), Err(LimitKey::SubscriptionsTotal));
    }

    /// A message visits no more trie nodes than the limit of shapes allows, however many patterns match its topic.
    /// (With 2^15 patterns of `a` and `*`, it visited 65,535 nodes.)
    #[test]
    fn a_message_visits_no_more_nodes_than_the_shapes_allow() {
        let (limits, subscriptions, mut trie) = (Limits::default(), SubscriptionLimits::default(), PatternTrie::default());
        let mut taken = 0;
        for number in 1_u32..1 << 15 {
            let tokens: Vec<&str> = (0..15).map(|bit| if number >> bit & 1 == 0 { "a" } else { "*" }).collect();
            let pattern = pattern(&format!("chat.{}", tokens.join(".")));
            // Eight addresses, so that together they use up all shapes.
            if subscriptions.reserve(&pattern, [10, 0, 0, (number % 8) as u8].into(), &limits).is_ok() {
                *trie.entry(&pattern) = Some(());
                taken += 1;
            }
        }
        assert_eq!((taken, subscriptions.shapes()), (15 + limits.pattern_shapes, limits.pattern_shapes));
        let topic = name(&format!("chat.{}", ["a"; 15].join(".")));
        let visited = trie.matches_until(&topic, |()| ControlFlow::Continue(()));
        assert!(visited <= 16 * (15 + limits.pattern_shapes), "{visited} nodes");
    }
}
