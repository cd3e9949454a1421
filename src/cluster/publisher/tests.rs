//! The publisher without servers: acknowledgements are handed to it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake};

use super::*;
use crate::config::{Config, Sources, Stream, StreamStorage};
use crate::hub::PayloadKind;
use crate::topic_name::Pattern;

/// Publications that may be on their way.
const INFLIGHT: usize = 16;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn times(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A publisher whose connection is there and brings nothing by itself, and a stream that is followed.
struct House {
    publisher: Arc<Publisher>,
    _queue: Queue,
    state: Arc<StreamState>,
    topic: TopicName,
}

fn house() -> House {
    let stream = "{ name = \"CHAT\", match = \"chat.>\" }";
    let cluster = format!("{{ urls = [\"nats://127.0.0.1:1\"], publish_inflight = {INFLIGHT}, streams = [{stream}] }}");
    let config = Config::load(&Sources { settings: vec![("cluster".to_owned(), cluster)], ..Sources::default() }).unwrap();
    let metrics = Arc::new(Metrics::new());
    let (publisher, queue) = Publisher::new(&Arc::new(Live::new(&config, &metrics)), &metrics);
    publisher.set_connected(true);
    let pattern = Pattern::parse("chat.>").unwrap();
    let (name, storage, max_age) = ("CHAT".to_owned(), StreamStorage::File, Duration::from_secs(60));
    let settings = Stream { name, pattern, replicas: 1, storage, retain: 100, max_bytes: 0, max_age };
    let state = StreamState::new(0, settings);
    state.live(Epoch::random());
    House { publisher, _queue: queue, state, topic: TopicName::parse("chat.a").unwrap() }
}

impl House {
    /// Publishes a message; `None`: there is no room.
    fn publish(&self) -> Option<Receipt> {
        let (payload, source) = (b"1", PublishSource::Session);
        let publication = Publication::new(payload, PayloadKind::Json, source);
        match self.publisher.publish(&self.state, &self.topic, &publication).unwrap() {
            Handed::Awaited(receipt) => Some(receipt),
            Handed::NoRoom => None,
        }
    }

    /// The stream has stored the message with that number as its message with the same number.
    fn acknowledge(&self, number: u64) {
        let (subject, payload) = (format!("inbox.{number}").into(), format!(r#"{{"stream":"CHAT","seq":{number}}}"#).into());
        let (reply, headers, status, description) = (None, None, None, None);
        self.publisher.acknowledge(&Message { subject, reply, payload, headers, status, description, length: 0 });
    }
}

#[test]
fn an_acknowledgement_has_a_number_and_no_error() {
    assert_eq!(acknowledged(br#"{"stream":"Q","seq":17}"#), Some(17));
    assert_eq!(acknowledged(br#"{"error":{"code":400,"description":"x"},"stream":"Q","seq":0}"#), None);
    assert_eq!(acknowledged(b""), None);
}

/// Room for one wakes one publisher, and whoever waits longest. (It woke all of them: 1,000 that waited had half a million wake-ups.)
#[test]
fn room_for_one_wakes_one() {
    let house = house();
    let first: Vec<_> = (0..INFLIGHT).map(|_| house.publish().unwrap()).collect();
    let waiting: Vec<Arc<Count>> = (0..1_000).map(|_| Arc::default()).collect();
    for publisher in &waiting {
        assert!(house.publish().is_none());
        house.publisher.when_room(&Waker::from(Arc::clone(publisher)));
    }
    for (number, publisher) in (1..).zip(&waiting) {
        house.acknowledge(number);
        assert_eq!(publisher.times(), 0, "it was not read yet");
        house.publisher.read_to(&house.state, number);
        assert_eq!(publisher.times(), 1);
        assert!(house.publish().is_some() && house.publish().is_none());
    }
    assert_eq!(waiting.iter().map(|publisher| publisher.times()).sum::<usize>(), 1_000);
    assert!(first.iter().all(|receipt| receipt.poll(Waker::noop()).is_ready()));
}

/// Who was woken and went away leaves its room to others at the next look.
#[test]
fn room_that_nobody_takes_is_given_on() {
    let house = house();
    (0..INFLIGHT).for_each(|_| drop(house.publish()));
    let waiting: Vec<Arc<Count>> = (0..2).map(|_| Arc::default()).collect();
    waiting.iter().for_each(|publisher| house.publisher.when_room(&Waker::from(Arc::clone(publisher))));
    house.acknowledge(1);
    house.publisher.read_to(&house.state, 1);
    assert_eq!((waiting[0].times(), waiting[1].times()), (1, 0));
    house.publisher.look();
    assert_eq!((waiting[0].times(), waiting[1].times()), (1, 1));
}

/// As the connection goes, what was acknowledged is answered with its position, all else with `unavailable`, and nobody waits for room.
#[test]
fn nobody_waits_without_a_connection() {
    let house = house();
    let receipts: Vec<_> = (0..INFLIGHT).map(|_| house.publish().unwrap()).collect();
    let waiting = Arc::<Count>::default();
    house.publisher.when_room(&Waker::from(Arc::clone(&waiting)));
    house.acknowledge(1);
    house.publisher.set_connected(false);
    assert_eq!((waiting.times(), house.publisher.inflight()), (1, 0));
    let answers: Vec<_> = receipts.iter().map(|receipt| receipt.poll(Waker::noop())).collect();
    assert!(matches!(&answers[0], Poll::Ready(Ok(position)) if position.offset == Offset(1)), "{:?}", answers[0]);
    assert!(answers[1..].iter().all(|answer| matches!(answer, Poll::Ready(Err(PublishError::Unavailable(_))))));
}
