//! Tests of the feeds with a sink in place of the hub (PROTOCOL section 8).

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::clock::Timestamp;
use crate::hub::PublishError;
use crate::metrics::PublishSource;
use crate::topic_name::TopicName;

/// A sink with room for one message, so that a feed waits until the test has read it.
struct OneMessageSink(mpsc::Sender<(String, String, PublishSource)>);

impl FeedSink for OneMessageSink {
    async fn publish(&self, topic: &TopicName, payload: &[u8], source: PublishSource) -> Result<(), PublishError> {
        let payload = String::from_utf8(payload.to_vec()).unwrap();
        // The test may have stopped reading.
        let _ = self.0.send((topic.to_string(), payload, source)).await;
        Ok(())
    }
}

struct Published(mpsc::Receiver<(String, String, PublishSource)>);

impl Published {
    async fn next(&mut self) -> Option<(String, String, PublishSource)> {
        timeout(Duration::from_secs(20), self.0.recv()).await.expect("a feed that publishes")
    }
}

fn sink() -> (OneMessageSink, Published) {
    let (sender, receiver) = mpsc::channel(1);
    (OneMessageSink(sender), Published(receiver))
}

fn clock() -> Clock {
    Clock::by_hand(Timestamp(1_732_233_600_123))
}

fn replay_of(content: &str, repeat: bool) -> (tempfile::TempDir, config::Replay) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ticks.csv");
    std::fs::write(&file, content).unwrap();
    let topic = config::TopicTemplate::parse("quotes.USDJPY").unwrap();
    (folder, config::Replay { file, topic, time: "t".into(), speed: 1_000.0, repeat })
}

/// A replay of a file with this content.
fn replayed(content: &str, repeat: bool) -> (tempfile::TempDir, Task, Published) {
    let (folder, settings) = replay_of(content, repeat);
    let (sink, published) = sink();
    (folder, Task::spawn(replay::run(Recording::open(&settings).unwrap(), sink)), published)
}

/// The symbols are quoted in order, each on its topic.
#[tokio::test]
async fn the_market_quotes_each_symbol() {
    let settings = config::Simulator { symbols: vec!["AAPL".into(), "MSFT".into()], interval: Duration::from_millis(4), seed: 7 };
    let (sink, mut published) = sink();
    let _task = simulate(&settings, sink, clock()).unwrap();
    for expected in ["AAPL", "MSFT", "AAPL", "MSFT", "AAPL"] {
        let (topic, payload, source) = published.next().await.unwrap();
        assert_eq!((topic, source), (format!("quotes.{expected}"), PublishSource::Feed));
        assert!(payload.starts_with(&format!(r#"{{"stock_id":"{expected}","price":"#)), "{payload}");
    }
}

/// A dropped task has dropped its sink.
#[tokio::test]
async fn a_feed_ends_with_its_task() {
    let settings = config::Simulator { symbols: vec!["AAPL".into()], interval: Duration::from_millis(1), seed: 7 };
    let (sink, mut published) = sink();
    let task = simulate(&settings, sink, clock()).unwrap();
    published.next().await.unwrap();
    drop(task);
    while published.next().await.is_some() {}
}

/// A bad row is skipped, the others are published in order, and the replay ends with the file.
#[tokio::test]
async fn a_replay_publishes_the_file() {
    let (_folder, _task, mut published) = replayed("t,bid\n1,86.650\nbad,1\n2,86.70\n1.5,0\n", false);
    for expected in [r#"{"t":1,"bid":86.650}"#, r#"{"t":2,"bid":86.70}"#, r#"{"t":1.5,"bid":0}"#] {
        assert_eq!(published.next().await.unwrap(), ("quotes.USDJPY".into(), expected.into(), PublishSource::Feed));
    }
    assert!(published.next().await.is_none());
}

/// With `repeat` the file is replayed again.
#[tokio::test]
async fn a_replay_repeats() {
    let (_folder, _task, mut published) = replayed("t\n1\n2\n", true);
    for expected in [1, 2, 1, 2, 1] {
        assert_eq!(published.next().await.unwrap().1, format!(r#"{{"t":{expected}}}"#));
    }
}

/// The replay ends, even with `repeat`.
#[tokio::test]
async fn a_file_without_a_valid_row_is_not_repeated() {
    let (_folder, _task, mut published) = replayed("t\nbad\n", true);
    assert!(published.next().await.is_none());
}

/// PROTOCOL 2: the first figures are published at once.
#[tokio::test]
async fn figures_are_published() {
    let (sink, mut published) = sink();
    let _task = Task::spawn(stats::run(sink, Arc::new(Metrics::new()), clock()));
    let (topic, payload, source) = published.next().await.unwrap();
    assert_eq!((topic.as_str(), source), ("$belfry.stats", PublishSource::Gateway));
    assert!(payload.starts_with(r#"{"sessions":0,"#), "{payload}");
}

/// Each problem has its key.
#[test]
fn all_problems_are_reported_together() {
    let (_folder, good) = replay_of("t\n1\n", false);
    let simulator = config::Simulator { symbols: vec!["*".into()], interval: Duration::from_secs(1), seed: 0 };
    let bad = config::Replay { time: "time".into(), ..good.clone() };
    let problems = check(&config::Feed { simulator: Some(simulator), replay: vec![bad, good] });
    assert_eq!(problems.len(), 2);
    assert!(problems[0].0.starts_with("feed.simulator") && problems[1].0.starts_with("feed.replay"), "{problems:?}");
}
