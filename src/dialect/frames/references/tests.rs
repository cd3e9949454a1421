//! Tests of the texts that are kept, and of their account.

use super::*;
use crate::hub::{About, PayloadKind};
use crate::metrics::Metrics;
use crate::position::{Epoch, Offset};

struct Fixture {
    references: References,
    tally: Tally,
    held: Arc<AtomicUsize>,
    epoch: Epoch,
}

impl Fixture {
    fn new(bytes_max: usize) -> Self {
        let held = Arc::<AtomicUsize>::default();
        let references = References::new(3, ReferenceAccount::new(Arc::clone(&held), bytes_max));
        Self { references, tally: Tally::new(Arc::new(Metrics::new())), held, epoch: Epoch::random() }
    }

    fn add(&mut self, topic: &str, offset: u64, text: &str) -> Option<Referable> {
        let position = Position { epoch: self.epoch, offset: Offset(offset) };
        let message = Message::new(About::of_test(topic, position, PayloadKind::Text), text.as_bytes());
        let plain = PlainFrame::of_message(&message, Dialect::Raw, false);
        self.references.add(Dialect::Raw, &message, &plain, &mut self.tally)
    }

    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

const TEXT: &str = "sixteen bytes it is";
const COST: usize = TEXT.len() + TEXT_OVERHEAD_BYTES;

/// A message has one number however often it is added. The oldest texts are removed. Numbers are never used again.
#[test]
fn the_newest_texts_of_a_topic_are_kept() {
    let mut fixture = Fixture::new(1 << 20);
    let first = fixture.add("a", 1, TEXT).unwrap();
    assert_eq!(fixture.add("a", 1, TEXT), Some(first));
    let numbers: Vec<u64> = (2..=4).map(|offset| fixture.add("a", offset, TEXT).unwrap().number).collect();
    assert_eq!(fixture.held(), 3 * COST);
    assert_eq!(fixture.references.text(first.topic, first.number), None, "three newer texts are kept");
    assert!(numbers.iter().all(|&number| fixture.references.text(first.topic, number) == Some(TEXT.as_bytes())));
    fixture.references.sweep(10, |_| false, &mut fixture.tally);
    assert_eq!((fixture.held(), fixture.references.text(first.topic, numbers[2])), (0, None));
    let other = fixture.add("b", 1, TEXT).unwrap();
    assert!(other.topic == first.topic && other.number > numbers[2], "the index of a removed topic is used again, and no number is");
}

/// PROTOCOL 7: `reference_bytes` bounds the texts of all shards. A text without room is not kept.
#[test]
fn texts_are_bounded_together() {
    let mut fixture = Fixture::new(2 * COST);
    assert!(fixture.add("a", 1, TEXT).is_some() && fixture.add("b", 1, TEXT).is_some());
    assert_eq!(fixture.add("c", 1, TEXT), None);
    assert_eq!(fixture.add("a", 2, TEXT), None);
    assert_eq!(fixture.held(), 2 * COST);
    fixture.references.sweep(10, |topic| topic.as_str() == "b", &mut fixture.tally);
    assert!(fixture.held() == COST && fixture.add("c", 2, TEXT).is_some());
}

/// A text that is too short for a reference, or longer than a window, is not kept.
#[test]
fn short_and_long_messages_are_not_kept() {
    let mut fixture = Fixture::new(1 << 20);
    assert_eq!(fixture.add("a", 1, "short"), None);
    assert_eq!(fixture.add("a", 2, &"x".repeat(REFERENCE_BYTES_MAX)), None);
    assert_eq!(fixture.held(), 0);
}

/// A sweep examines a number of topics, and the next sweep continues behind them.
#[test]
fn a_sweep_continues_behind_the_last_one() {
    let mut fixture = Fixture::new(1 << 20);
    assert!((0..10).all(|index| fixture.add(&format!("t.{index}"), 1, TEXT).is_some()));
    for left in [6, 2, 0] {
        fixture.references.sweep(4, |_| false, &mut fixture.tally);
        assert_eq!(fixture.held(), left * COST);
    }
}
