//! The publisher without servers: the tests make the acknowledgements.

use std::task::Poll;

use super::*;
use crate::config::{Config, Sources, Stream, StreamStorage};
use crate::hub::PayloadKind;
use crate::topic_name::Pattern;
use waiters::tests::{Count, times};

/// The most unanswered publications.
const INFLIGHT: usize = 16;

/// A publisher whose connection is up and delivers nothing by itself, and a live stream.
struct Fixture {
    publisher: Arc<Publisher>,
    state: Arc<StreamState>,
    topic: TopicName,
}

fn fixture() -> Fixture {
    let stream = "{ name = \"CHAT\", match = \"chat.>\" }";
    let cluster = format!("{{ urls = [\"nats://127.0.0.1:1\"], publish_inflight = {INFLIGHT}, streams = [{stream}] }}");
    let config = Config::load(&Sources { settings: vec![("cluster".to_owned(), cluster)], ..Sources::default() }).unwrap();
    let metrics = Arc::new(Metrics::new());
    let publisher = Publisher::new(&Arc::new(Live::new(&config, &metrics)), &metrics);
    publisher.set_connected(true);
    let pattern = Pattern::parse("chat.>").unwrap();
    let (name, storage, max_age) = ("CHAT".to_owned(), StreamStorage::File, Duration::from_secs(60));
    let settings = Stream { name, pattern, replicas: 1, storage, retain: 100, max_bytes: 0, max_age };
    let state = StreamState::new(0, settings);
    state.set_live(Epoch::random());
    Fixture { publisher, state, topic: TopicName::parse("chat.a").unwrap() }
}

impl Fixture {
    /// Publishes a message for a publisher that was not woken. `None`: there is no room.
    fn publish(&self) -> Option<Receipt> {
        self.publish_by(Waker::noop())
    }

    /// Publishes a message for the publisher of `waker`. `None`: there is no room.
    fn publish_by(&self, waker: &Waker) -> Option<Receipt> {
        let (payload, source) = (b"1", PublishSource::Session);
        let publication = Publication::new(payload, PayloadKind::Json, source);
        match self.publisher.publish(&self.state, &self.topic, &publication, waker).unwrap() {
            EngineAttempt::Awaited(receipt) => Some(receipt),
            EngineAttempt::NoRoom => None,
        }
    }

    /// Takes the messages that would be sent now, and returns their numbers.
    fn unsent(&self) -> Vec<u64> {
        let mut inflight = self.publisher.inflight.lock();
        std::iter::from_fn(|| inflight.take_unsent()).map(|(number, _)| number).collect()
    }

    /// Acknowledges publication `number`, as a stream does that has given the message the same number.
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

/// Room for one wakes the publisher that has waited longest. No other publisher uses that room. The bugs: room woke all
/// publishers, and 1,000 had half a million wake-ups. Later a publisher that came in between used the room, and the
/// woken one waited behind all others.
#[test]
fn room_for_one_wakes_one() {
    let fixture = fixture();
    let first: Vec<_> = (0..INFLIGHT).map(|_| fixture.publish().unwrap()).collect();
    let waiting: Vec<Arc<Count>> = (0..1_000).map(|_| Arc::default()).collect();
    for publisher in &waiting {
        assert!(fixture.publish().is_none());
        fixture.publisher.when_room(&Waker::from(Arc::clone(publisher)));
    }
    for (number, publisher) in (1..).zip(&waiting) {
        fixture.acknowledge(number);
        assert_eq!(publisher.times(), 0, "the message was not read back yet");
        fixture.publisher.read_to(&fixture.state, number);
        assert_eq!(publisher.times(), 1);
        assert!(fixture.publish().is_none(), "the room is reserved for the woken publisher");
        let waker = Waker::from(Arc::clone(publisher));
        assert!(fixture.publish_by(&waker).is_some() && fixture.publish_by(&waker).is_none());
    }
    assert_eq!(waiting.iter().map(|publisher| publisher.times()).sum::<usize>(), 1_000);
    assert!(first.iter().all(|receipt| receipt.poll(Waker::noop()).is_ready()));
}

/// Room that was reserved for a publisher goes to the next one: at once if the publisher is forgotten, else at the
/// second check.
#[test]
fn unused_room_goes_to_the_next_publisher() {
    let fixture = fixture();
    (0..INFLIGHT).for_each(|_| drop(fixture.publish()));
    let waiting: Vec<Arc<Count>> = (0..3).map(|_| Arc::default()).collect();
    waiting.iter().for_each(|publisher| fixture.publisher.when_room(&Waker::from(Arc::clone(publisher))));
    fixture.acknowledge(1);
    fixture.publisher.read_to(&fixture.state, 1);
    assert_eq!(times(&waiting), [1, 0, 0]);
    fixture.publisher.forget(&Waker::from(Arc::clone(&waiting[0])));
    assert_eq!(times(&waiting), [1, 1, 0]);
    fixture.publisher.check_timeouts();
    assert_eq!(times(&waiting), [1, 1, 0]);
    fixture.publisher.check_timeouts();
    assert_eq!(times(&waiting), [1, 1, 1]);
}

/// When the connection is lost, publications without an acknowledgement are answered with `unavailable`, and no
/// publisher waits for room. An acknowledged publication is answered after this gateway has read it on its other
/// connection. The bug: it was answered before.
#[test]
fn no_publisher_waits_without_a_connection() {
    let fixture = fixture();
    let receipts: Vec<_> = (0..INFLIGHT).map(|_| fixture.publish().unwrap()).collect();
    let waiting = Arc::<Count>::default();
    fixture.publisher.when_room(&Waker::from(Arc::clone(&waiting)));
    fixture.acknowledge(1);
    fixture.publisher.set_connected(false);
    assert_eq!((waiting.times(), fixture.publisher.inflight()), (1, 1));
    let answers: Vec<_> = receipts.iter().map(|receipt| receipt.poll(Waker::noop())).collect();
    assert!(answers[0].is_pending(), "the message was not read back yet");
    assert!(answers[1..].iter().all(|answer| matches!(answer, Poll::Ready(Err(PublishError::Unavailable(_))))));
    fixture.publisher.read_to(&fixture.state, 1);
    let answer = receipts[0].poll(Waker::noop());
    assert!(matches!(&answer, Poll::Ready(Ok(position)) if position.offset == Offset(1)), "{answer:?}");
}

/// The bug: a publication that was answered `unavailable` was sent later, after newer ones, once the connection
/// accepted messages again.
#[test]
fn an_answered_publication_is_not_sent() {
    let fixture = fixture();
    (0..3).for_each(|_| drop(fixture.publish()));
    assert_eq!(fixture.unsent(), [1, 2, 3]);
    (0..3).for_each(|_| drop(fixture.publish()));
    fixture.publisher.set_connected(false);
    fixture.publisher.set_connected(true);
    (0..2).for_each(|_| drop(fixture.publish()));
    fixture.publisher.fail(7, PublishFailure::Timeout, "");
    assert_eq!(fixture.unsent(), [8]);
}

/// While the connection accepts no data, unsent messages are bounded as publications are. The bug: those that had timed
/// out were kept in addition.
#[test]
fn unsent_messages_are_bounded() {
    let fixture = fixture();
    for _ in 0..3 {
        (0..INFLIGHT).for_each(|_| drop(fixture.publish().unwrap()));
        fixture.publisher.give_up_older_than(Duration::ZERO);
    }
    (0..INFLIGHT).for_each(|_| drop(fixture.publish().unwrap()));
    assert_eq!(fixture.unsent().len(), INFLIGHT);
}

/// The headers of publications in flight count as their payloads do. The bug: 64 MiB of payloads could have as many
/// bytes of headers.
#[test]
fn headers_count_against_the_bytes_in_flight() {
    let fixture = fixture();
    let tags = vec![("key".into(), "x".repeat(10_000).into())];
    let extra = Arc::new(crate::hub::Extra { publisher: None, tags });
    let publication = Publication { extra: Some(&extra), ..Publication::new(b"1", PayloadKind::Json, PublishSource::Session) };
    let handed = fixture.publisher.publish(&fixture.state, &fixture.topic, &publication, Waker::noop());
    assert!(matches!(handed, Ok(EngineAttempt::Awaited(_))));
    let bytes = fixture.publisher.inflight.lock().bytes;
    assert!((10_000..10_200).contains(&bytes), "{bytes} bytes");
    fixture.acknowledge(1);
    assert_eq!(fixture.publisher.inflight.lock().bytes, 0);
}
