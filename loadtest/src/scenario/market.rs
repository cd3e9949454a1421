//! `market`: many topics of skewed popularity, some of them for each subscriber.

use super::bench::Bench;
use crate::engine::StreamOrder;
use crate::report::Report;

/// The number of topics of each subscriber.
const TOPICS_PER_SUBSCRIBER: usize = 10;

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    let publishers = bench.connect_publishers()?;
    let topics = bench.add_topics();
    for (number, topic) in topics.iter().enumerate() {
        bench.engine.add_stream(*topic, publishers[number % publishers.len()]);
    }
    let subscribers = bench.add_subscribers(|subscriber| portfolio(subscriber, &topics));
    bench.connect(&subscribers)?;
    bench.measure(bench.load(StreamOrder::zipf(topics.len() as u32)), Bench::run)?;
    bench.finish()
}

/// The topics of one subscriber: every nth of all topics, with a step of its own, so that all topics have about the
/// same number of subscribers.
fn portfolio(subscriber: usize, topics: &[u32]) -> Vec<u32> {
    let mut chosen: Vec<u32> = Vec::new();
    let mut at = subscriber * TOPICS_PER_SUBSCRIBER + subscriber / 7;
    while chosen.len() < TOPICS_PER_SUBSCRIBER.min(topics.len()) {
        let topic = topics[at % topics.len()];
        if chosen.contains(&topic) {
            at += 1;
        } else {
            chosen.push(topic);
            at += 1 + subscriber % 13;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portfolio_has_each_topic_once_and_subscribers_are_spread_evenly() {
        let topics: Vec<u32> = (0..200).collect();
        let mut taken = [0; 200];
        for subscriber in 0..2_000 {
            let mut portfolio = portfolio(subscriber, &topics);
            portfolio.iter().for_each(|topic| taken[*topic as usize] += 1);
            portfolio.dedup();
            assert_eq!(portfolio.len(), TOPICS_PER_SUBSCRIBER);
        }
        assert!(taken.iter().all(|count| (60..=140).contains(count)), "{taken:?}");
    }
}
