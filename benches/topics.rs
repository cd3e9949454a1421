//! Topics: the cost of finding a topic, and of finding the patterns that match it, does not depend on the number of others.

#[path = "stage/hub.rs"]
#[allow(dead_code, reason = "this bench needs a part of it")]
mod hub;

use std::hint::black_box;

use belfry::hub::{PatternTrie, ReplayRequest};
use belfry::session_id::{Member, SessionId};
use belfry::topic_name::TopicName;
use criterion::{Criterion, criterion_group, criterion_main};
use hub::{Stage, name, pattern, publication};

const COUNTS: [usize; 4] = [1, 1_000, 10_000, 100_000];

/// `count` names of three tokens.
fn names(count: usize) -> Vec<TopicName> {
    (0..count).map(|at| name(&format!("quotes.{}.{}", at % 97, at))).collect()
}

/// A publish to the same topic each time (`one`), and to each topic in turn (`each`), which depends on the CPU's caches too.
fn a_publish_costs_the_same_among_any_number_of_topics(criterion: &mut Criterion) {
    let publication = publication(b"1");
    for count in COUNTS {
        let (stage, names) = (Stage::new("[]"), names(count));
        for name in &names {
            let member = Member { session: SessionId::random(), user: None, info: None };
            assert!(stage.hub.subscribe(name, stage.outlet, &member, None, ReplayRequest::default()).is_ok());
        }
        let mut group = criterion.benchmark_group("a_publish_costs_the_same_among_any_number_of_topics");
        group.bench_function(format!("one/{count}"), |bencher| bencher.iter(|| stage.publish(&names[count / 2], &publication)));
        let mut turns = names.iter().cycle();
        group.bench_function(format!("each/{count}"), |bencher| {
            bencher.iter(|| stage.publish(turns.next().expect("it has no end"), &publication));
        });
        group.finish();
    }
}

/// Three of all the patterns match: one without a wildcard, one with `*`, one with `>`.
fn matching_costs_the_same_among_any_number_of_patterns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("matching_costs_the_same_among_any_number_of_patterns");
    for count in COUNTS {
        let mut trie = PatternTrie::default();
        for at in 0..count {
            *trie.entry(&pattern(&format!("quotes.*.{at}"))) = Some(at);
            *trie.entry(&pattern(&format!("quotes.{}.{at}", at % 97))) = Some(at);
            *trie.entry(&pattern(&format!("chat.{at}.>"))) = Some(at);
        }
        *trie.entry(&pattern("quotes.>")) = Some(count);
        let topic = name("quotes.0.0");
        let mut found = 0;
        trie.matches(&topic, |_| found += 1);
        assert_eq!(found, 3, "of {count}");
        group.bench_function(count.to_string(), |bencher| {
            bencher.iter(|| {
                let mut sum = 0;
                trie.matches(black_box(&topic), |&at| sum += at);
                sum
            });
        });
    }
    group.finish();
}

criterion_group!(benches, a_publish_costs_the_same_among_any_number_of_topics, matching_costs_the_same_among_any_number_of_patterns);
criterion_main!(benches);
