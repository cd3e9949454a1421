//! A session that leaves a topic and comes back to it, from its seat to what its client reads.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use super::{name, pattern};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Limits, Live, OnSlow, Rule, Rules};
use crate::dialect::{Dialect, Event, Variant};
use crate::frame::Inflater;
use crate::hub::{Attempt, Hub, Outlet, PayloadKind, Publication, Wanted};
use crate::metrics::{Metrics, PublishSource};
use crate::session_id::{Member, SessionId};
use crate::shard::flush::Flush;
use crate::shard::inbox::{Inbox, Item};
use crate::shard::newcomer::{Arrived, Newcomer, Stream};
use crate::shard::reader::{Options, Reader, Seat};
use crate::shard::seat::Seated;
use crate::shard::sessions::{Parts, Sessions};

/// Says and does nothing by itself.
struct Silent;

impl Reader for Silent {
    fn open(&mut self, _: &mut dyn Seat) {}
    fn read(&mut self, input: &mut [u8], _: &mut Inflater, _: &mut dyn Seat) -> usize {
        input.len()
    }
    fn deadline(&mut self, _: &mut dyn Seat) {}
    fn reload(&mut self, _: &mut dyn Seat) {}
    fn user(&self) -> Option<Arc<str>> {
        None
    }
}

/// A shard with one session, whose socket has not come yet: so nothing can be written to it.
struct Bench {
    sessions: Sessions,
    flush: Flush,
    session: SessionId,
}

impl Bench {
    /// Topics of `c.>` conflate, those of `d.>` drop the oldest, with room for two messages.
    fn new() -> Self {
        let rule = |text, on_slow| Rule { on_slow, ..Rule::plain(Some(pattern(text))) };
        let rules = Rules::new(vec![rule("c.>", OnSlow::Conflate), rule("d.>", OnSlow::DropOldest)]);
        let limits = Limits { outbox_bytes: 900, ..Limits::default() };
        let live = Arc::new(Live::new(Arc::new(Config { rules, limits, ..Config::default() })));
        let (clock, metrics, inbox) = (Clock::by_hand(Timestamp(0)), Arc::new(Metrics::new()), Arc::new(Inbox::new(1 << 20)));
        let hub = Hub::new(Arc::clone(&live), Arc::clone(&metrics), clock.clone());
        let outlet = hub.attach(Arc::clone(&inbox) as Arc<dyn Outlet>);
        let subscriptions_total = Arc::default();
        let mut sessions = Sessions::new(Parts { index: 0, metrics, outlet, inbox, subscriptions_total, hub, live, clock });
        let session = SessionId::random();
        let variant = Variant { dialect: Dialect::Json, window_bits: None };
        let (address, reader, pass) = (([127, 0, 0, 1], 1).into(), Box::new(Silent), Box::new(()));
        sessions.expect(Newcomer { id: session, address, variant, reader, pass, subscribes_at_once: true });
        Self { sessions, flush: Flush::default(), session }
    }

    fn subscribe(&mut self, topic: &str) {
        let member = Member { session: self.session, user: None };
        let mut seat = Seated::new(&mut self.sessions, 0);
        assert!(seat.take_place() && seat.subscribe(&name(topic), Options::default(), &member, Wanted::default()).is_ok());
    }

    fn unsubscribe(&mut self, topic: &str) {
        let mut seat = Seated::new(&mut self.sessions, 0);
        assert!(seat.unsubscribe(&pattern(topic)));
        seat.say(&Event::Unsubscribed { id: None, topics: &[pattern(topic)] });
    }

    /// One message of about 400 bytes, given to the session.
    fn publish(&mut self, topic: &str) {
        let publication = Publication { payload: &[b'1'; 300], kind: PayloadKind::Json, except: None, source: PublishSource::Http };
        assert!(matches!(self.sessions.hub.try_publish(&name(topic), &publication), Ok(Attempt::Published(_))));
        let mut share = VecDeque::new();
        self.sessions.inbox.take(&mut share, 1, usize::MAX);
        for item in share {
            let Item::Message(message) = item else { continue };
            self.sessions.taken += 1;
            self.sessions.fan_out(&message);
        }
    }

    fn flush(&mut self) {
        self.sessions.flush(&mut self.flush);
    }

    /// The socket comes; what the client reads: of each event its `op`, of a message its offset.
    async fn read(&mut self) -> Vec<String> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = listener.accept().unwrap().0;
        stream.set_nonblocking(true).unwrap();
        self.sessions.arrive(self.session, Arrived { stream: Stream::Plain(stream), head: Vec::new(), already_read: bytes::Bytes::new() });
        while self.sessions.slot(0).and_then(|session| session.outbox.as_ref()).is_some_and(|outbox| !outbox.is_empty()) {
            self.sessions.write_outbox(0);
            tokio::task::yield_now().await; // the runtime has to see the socket first
        }
        self.sessions.end(0, crate::metrics::CloseReason::Gone);
        let mut read = Vec::new();
        match client.read_to_end(&mut read) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
            _ => events(&read),
        }
    }
}

fn events(mut frames: &[u8]) -> Vec<String> {
    let mut told = Vec::new();
    while !frames.is_empty() {
        let (head, bytes) =
            if frames[1] == 126 { (4, usize::from(u16::from_be_bytes([frames[2], frames[3]]))) } else { (2, frames[1].into()) };
        let event: serde_json::Value = serde_json::from_slice(&frames[head..head + bytes]).unwrap();
        let offset = event["offset"].as_u64().map(|offset| format!(" {offset}"));
        told.push(event["op"].as_str().unwrap().to_owned() + &offset.unwrap_or_default());
        frames = &frames[head + bytes..];
    }
    told
}

/// PROTOCOL 3 and 7: a session leaves a topic in the turn that has a message of it, becomes slow with that turn, and comes back to the
/// topic. What waits of the ended subscription is nobody's place to take, and what is dropped of it is no gap of the new one. (The
/// newest took that place, before the answer to the unsubscribe; and a `gap` told of what lay before the new subscription.)
#[tokio::test]
async fn what_this_turn_had_of_a_left_topic_ends_with_its_subscription() {
    for (topic, first) in [("c.a", ["message 1", "unsubscribed"]), ("d.a", ["unsubscribed", "message 2"])] {
        let mut bench = Bench::new();
        bench.subscribe(topic);
        bench.publish(topic);
        bench.unsubscribe(topic);
        bench.flush();
        bench.subscribe(topic);
        bench.publish(topic);
        bench.publish(topic);
        bench.flush();
        assert_eq!(bench.read().await, [first[0], first[1], "message 3"], "{topic}");
    }
}
