//! A planned restart: a clean stop writes a million messages in 100,000 topics, and the next start reads them.

#[path = "stage/hub.rs"]
#[allow(dead_code, reason = "this bench needs a part of it")]
mod hub;

use std::time::{Duration, Instant};

use belfry::store::Folder;
use hub::{Stage, name, publication};

const RULE: &str = "[{ match = \"quotes.>\", history = 10 }]";
const MESSAGES_PER_TOPIC: usize = 10;
/// The size of a quote.
const PAYLOAD_BYTES: usize = 128;

fn main() {
    // As a test, the bench runs once with a hundredth of the messages.
    let topics = if std::env::args().any(|argument| argument == "--bench") { 100_000 } else { 1_000 };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = Folder::open(folder.path()).expect("the folder is this process's own");
    let stage = Stage::new(RULE);
    let payload = [b'1'; PAYLOAD_BYTES];
    for topic in (0..topics).map(|number| name(&format!("quotes.{number}"))) {
        for _ in 0..MESSAGES_PER_TOPIC {
            stage.publish(&topic, &publication(&payload));
        }
    }
    let began = Instant::now();
    let written = folder.write(stage.hub.export(), stage.clock.now()).expect("the disk takes it");
    let wrote = began.elapsed();
    let next = Stage::new(RULE);
    let began = Instant::now();
    let read = folder.take(|topic| assert!(next.hub.restore(topic, Duration::from_secs(60)))).expect("it is as it was written");
    assert_eq!((Some(written), written.messages), (read, (topics * MESSAGES_PER_TOPIC) as u64));
    println!(
        "{} messages in {} topics: {:.1} MB, {:.2} s to write, {:.2} s to read",
        written.messages,
        written.topics,
        written.bytes as f64 / 1e6,
        wrote.as_secs_f64(),
        began.elapsed().as_secs_f64(),
    );
}
