//! Tests of subscribes that take several turns.

use super::*;
use crate::config::GrantLists;
use crate::dialect::Since;
use crate::position::Offset;
use crate::session_id::SessionId;
use crate::shard::tests::bench::Bench;
use crate::topic_name::{COMPARISONS, Scope};

/// A subscribe to `topics`.
fn begin(topics: impl IntoIterator<Item = String>, options: SubscribeOptions<'static>) -> Subscribing {
    Subscribing::new(topics.into_iter().map(|topic| Pattern::parse(&topic)).collect(), options)
}

/// Has the next turn, with grants for all topics.
fn resume(subscribing: &mut Subscribing, bench: &mut Bench) -> Poll<()> {
    let member = Member { session: SessionId::random(), user: None, info: None };
    let all = GrantLists { subscribe: vec![Scope::parse(">").unwrap()], publish: Vec::new() };
    subscribing.resume(Some(&Grants::of(&all, None)), &member, &mut bench.context())
}

/// Runs a subscribe to its end. Returns the number of entries of its answer.
fn done(topics: impl IntoIterator<Item = String>, options: SubscribeOptions<'static>, bench: &mut Bench) -> usize {
    let mut subscribing = begin(topics, options);
    while resume(&mut subscribing, bench).is_pending() {}
    let done = subscribing.finish(&mut bench.context());
    let entries = done.entries().len();
    done.begin_all(None, &mut bench.context());
    entries
}

/// A subscribe to 1,000 new topics takes several turns. A message that is published meanwhile is neither lost nor sent before the
/// answer. (The command blocked its shard for some milliseconds.)
#[test]
fn a_long_subscribe_takes_several_turns() {
    const TOPICS: usize = 1_000;
    let mut bench = Bench::new();
    let mut subscribing = begin((0..TOPICS).map(|number| format!("h.{number}")), SubscribeOptions::default());
    let mut turns = 0;
    while resume(&mut subscribing, &mut bench).is_pending() {
        turns += 1;
        bench.publish("h.0");
        assert!(bench.state().delivery.owes_nothing(0), "a message before the answer");
    }
    assert!(turns >= TOPICS * STEPS_PER_NEW_NAME / STEPS_PER_PART - 1, "{turns} turns");
    let done = subscribing.finish(&mut bench.context());
    let told = done.entries().first().and_then(|entry| entry.position);
    assert_eq!((done.entries().len(), told.map(|position| position.offset.0)), (TOPICS, Some(turns as u64)));
    done.begin_all(None, &mut bench.context());
    bench.publish("h.0");
    assert!(!bench.state().delivery.owes_nothing(0), "what is published behind the answer is live");
}

/// A subscription that ends between two turns of a subscribe has no entry, and the older subscriptions have their newest positions.
/// (The index of an entry was not adjusted after the removal of another, and a last index was out of bounds: the shard ended.)
#[test]
fn a_subscription_that_ends_between_turns_has_no_entry() {
    const TOPICS: u64 = 1_000;
    let mut bench = Bench::new();
    let last = format!("h.{}", TOPICS - 1);
    bench.subscribe(&last);
    let mut subscribing = begin((0..TOPICS).map(|number| format!("h.{number}")), SubscribeOptions::default());
    while resume(&mut subscribing, &mut bench).is_pending() {
        bench.context().unsubscribe(&[Pattern::parse("h.0").unwrap()]);
    }
    bench.publish(&last);
    let done = subscribing.finish(&mut bench.context());
    let (first, last) = (done.entries().first().unwrap(), done.entries().last().unwrap());
    assert_eq!((done.entries().len() as u64, first.topic.as_str()), (TOPICS - 1, "h.1"));
    assert_eq!(last.position.unwrap().offset, Offset(1));
}

/// Topics whose older subscriptions end between two turns, by name and by a pattern, begin anew with the answer: no message comes before
/// it, and the history is replayed behind it. (The messages came before the answer.)
#[test]
fn a_topic_whose_older_subscription_ends_between_turns_begins_anew() {
    for older in ["h.500", "h.*"] {
        let mut bench = Bench::new();
        done([older.to_owned()], SubscribeOptions::default(), &mut bench);
        let options = SubscribeOptions { last: Some(1), ..SubscribeOptions::default() };
        let mut subscribing = begin((0..1_000).map(|number| format!("h.{number}")), options);
        assert_eq!(resume(&mut subscribing, &mut bench), Poll::Pending);
        bench.context().unsubscribe(&[Pattern::parse(older).unwrap()]);
        while resume(&mut subscribing, &mut bench).is_pending() {
            ["h.0", "h.500"].into_iter().for_each(|topic| bench.publish(topic));
            assert!(bench.state().delivery.owes_nothing(0), "{older}: a message before the answer");
        }
        subscribing.finish(&mut bench.context()).begin_all(None, &mut bench.context());
        for topic in ["h.0", "h.500"] {
            assert!(bench.context().is_replaying(&TopicName::parse(topic).unwrap()), "{older}: {topic} begins without its history");
        }
    }
}

/// A long subscribe without an interval ends the pacing of its topics with its answer: held messages are sent before newer ones. (They
/// were sent behind messages that came between two turns.)
#[test]
fn pacing_ends_with_the_answer() {
    let mut bench = Bench::new();
    let paced = SubscribeOptions { interval: Some(Duration::from_secs(1)), ..SubscribeOptions::default() };
    done(["c.*".to_owned()], paced, &mut bench);
    (0..2).for_each(|_| bench.publish("c.1"));
    bench.flush();
    let mut subscribing = begin((1..1_000).map(|number| format!("c.{number}")), SubscribeOptions::default());
    while resume(&mut subscribing, &mut bench).is_pending() {
        bench.publish("c.1");
        assert!(bench.state().delivery.owes_nothing(0) && bench.state().pacing.bytes(0) > 0, "the newest is held still");
    }
    subscribing.finish(&mut bench.context()).begin_all(None, &mut bench.context());
    assert_eq!(bench.state().pacing.bytes(0), 0, "and goes out now");
}

/// The cost of a `since` with many topics does not grow with the number of the session's subscriptions. (It was the product of the
/// topics in `since`, the subscriptions, and the entries of the answer.)
#[test]
fn the_cost_of_since_does_not_grow_with_the_subscriptions() {
    const TOPICS: usize = 1_000;
    let mut bench = Bench::new();
    let before = (1..TOPICS).map(|number| format!("a.{number}.*"));
    assert_eq!(done(before, SubscribeOptions::default(), &mut bench), TOPICS - 1);
    (0..TOPICS).for_each(|number| bench.publish(&format!("h.{number}")));
    let since = |number| Since { topic: TopicName::parse(&format!("h.{number}")).unwrap(), epoch: "another".into(), offset: Offset(1) };
    let options = SubscribeOptions { since: (0..TOPICS).map(since).collect(), ..SubscribeOptions::default() };
    let compared = COMPARISONS.get();
    assert_eq!(done(["h.*".to_owned()], options, &mut bench), 1 + TOPICS);
    let compared = COMPARISONS.get() - compared;
    assert!(compared <= 10 * TOPICS, "{compared} comparisons");
}
