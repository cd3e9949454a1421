//! Publishing: pipelined on one connection, so that the order of each session and topic holds; each answer is the stream's acknowledgement,
//! told once this gateway has read the message too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::payload;
use super::read_back::{ReadBack, Stored};
use super::state::StreamState;
use super::waiters::Waiters;
use crate::config::Live;
use crate::hub::{Answerer, Handed, Publication, PublishError, Receipt};
use crate::metrics::{Metrics, PublishFailure, PublishSource};
use crate::position::{Epoch, Offset, Position};
use crate::topic_name::TopicName;

/// The most bytes of the payloads that are not acknowledged yet. Past that, publishers wait.
const INFLIGHT_BYTES_MAX: usize = 64 << 20;
/// Between two looks at publications that have waited too long.
const LOOK: Duration = Duration::from_millis(100);

/// Hands publications to the servers, and the servers' answers to the publishers.
pub struct Publisher {
    inflight: Mutex<Inflight>,
    /// Told of each publication that is to be sent.
    unsent: Notify,
    metrics: Arc<Metrics>,
    live: Arc<Live>,
}

/// The message of a publication that was not sent yet.
struct Unsent {
    subject: String,
    headers: Option<HeaderMap>,
    payload: Bytes,
}

/// Publications that are not answered yet.
#[derive(Default)]
struct Inflight {
    /// Whether the connection to publish on is there.
    connected: bool,
    number: u64,
    /// Publications that are not acknowledged yet, by number: the first has waited longest. A message is kept here until it is sent, so a
    /// publication that was answered is never sent, and unsent messages take no room beyond that of `waiting`.
    waiting: BTreeMap<u64, Waiting>,
    /// The bytes of the payloads in `waiting`.
    bytes: usize,
    /// From this number on, publications in `waiting` are unsent.
    unsent_from: u64,
    /// Publications that are acknowledged, and were not read here yet.
    read_back: ReadBack,
    /// Publishers that wait for room or were woken for it.
    waiters: Waiters,
}

struct Waiting {
    answerer: Answerer,
    state: Arc<StreamState>,
    epoch: Epoch,
    topic: TopicName,
    source: PublishSource,
    bytes: usize,
    since: Instant,
    unsent: Option<Unsent>,
}

/// The bounds of publications on their way.
struct Limits {
    /// How many there are at most.
    inflight: usize,
    /// How long each waits for its acknowledgement.
    timeout: Duration,
    /// The most bytes of one payload.
    message_bytes: usize,
}

impl Inflight {
    /// How many more publications there is room for, if each is as large as a message may be.
    fn room(&self, limits: &Limits) -> usize {
        let bytes = INFLIGHT_BYTES_MAX.saturating_sub(self.bytes);
        limits.inflight.saturating_sub(self.len()).min(bytes.div_ceil(limits.message_bytes.max(1)))
    }

    fn len(&self) -> usize {
        self.waiting.len() + self.read_back.len()
    }

    fn take(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&number)?;
        self.bytes -= waiting.bytes;
        Some(waiting)
    }

    /// The next message to send, with its number.
    fn take_unsent(&mut self) -> Option<(u64, Unsent)> {
        let (&number, waiting) = self.waiting.range_mut(self.unsent_from..).next()?;
        self.unsent_from = number + 1;
        waiting.unsent.take().map(|unsent| (number, unsent))
    }
}

/// What a publisher is told.
const STANDING: &str = "this gateway does not follow the topic's stream for now";
const DISCONNECTED: &str = "the connection to the servers is lost";

impl Publisher {
    /// Without a connection, until [`Publisher::set_connected`].
    pub fn new(live: &Arc<Live>, metrics: &Arc<Metrics>) -> Arc<Self> {
        let (inflight, unsent) = Default::default();
        Arc::new(Self { inflight, unsent, metrics: Arc::clone(metrics), live: Arc::clone(live) })
    }

    /// Hands a publication to the servers, or says why not. `publisher` wakes whoever publishes.
    pub fn publish(
        &self,
        state: &Arc<StreamState>,
        topic: &TopicName,
        publication: &Publication<'_>,
        publisher: &Waker,
    ) -> Result<Handed, PublishError> {
        let Some(epoch) = state.epoch() else { return Err(self.refuse(PublishFailure::Standing, STANDING)) };
        let limits = self.limits();
        let headers = payload::headers(publication, limits.message_bytes).map_err(|payload::TooLong| PublishError::ExtraTooLong)?;
        let mut inflight = self.inflight.lock();
        if !inflight.connected {
            drop(inflight);
            return Err(self.refuse(PublishFailure::Disconnected, DISCONNECTED));
        }
        let room = inflight.room(&limits);
        if !inflight.waiters.may_publish(publisher, room) {
            return Ok(Handed::NoRoom);
        }
        inflight.waiters.forget(publisher);
        inflight.number += 1;
        let (number, (answerer, receipt)) = (inflight.number, Receipt::pair());
        let (state, topic) = (Arc::clone(state), topic.clone());
        let unsent = Unsent { subject: topic.as_str().to_owned(), headers, payload: Bytes::copy_from_slice(publication.payload) };
        let (bytes, source, unsent) = (publication.payload.len(), publication.source, Some(unsent));
        inflight.bytes += bytes;
        inflight.waiting.insert(number, Waiting { answerer, state, epoch, topic, source, bytes, since: Instant::now(), unsent });
        self.wake_publishers(inflight); // a short message may leave room for one more
        self.unsent.notify_one();
        Ok(Handed::Awaited(receipt))
    }

    /// Whether publications of the stream are handed over for now, if there is room.
    pub fn accepts(&self, state: &StreamState) -> bool {
        state.epoch().is_some() && self.inflight.lock().connected
    }

    /// Wakes `publisher` once there is room; at once if there is now.
    pub fn when_room(&self, publisher: &Waker) {
        let mut inflight = self.inflight.lock();
        inflight.waiters.wait(publisher);
        self.wake_publishers(inflight);
    }

    /// Forgets a publisher that has gone. Room that it was woken for is for others.
    pub fn forget(&self, publisher: &Waker) {
        let mut inflight = self.inflight.lock();
        inflight.waiters.forget(publisher);
        self.wake_publishers(inflight);
    }

    /// Waits until every publication is answered.
    pub async fn emptied(&self) {
        while self.inflight() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn limits(&self) -> Limits {
        let config = self.live.load();
        let (inflight, timeout) =
            config.cluster.as_ref().map_or((0, Duration::ZERO), |cluster| (cluster.publish_inflight, cluster.publish_timeout));
        Limits { inflight, timeout, message_bytes: config.limits.message_bytes }
    }

    /// Wakes publishers that have room now, or that have nothing to wait for: without a connection they are refused. Nobody else wakes them.
    fn wake_publishers(&self, mut inflight: MutexGuard<'_, Inflight>) {
        let woken = match inflight.connected {
            _ if inflight.waiters.is_empty() => return,
            true => {
                let room = inflight.room(&self.limits());
                inflight.waiters.take(room)
            }
            false => inflight.waiters.take_all(),
        };
        drop(inflight);
        woken.into_iter().for_each(Waker::wake);
    }

    /// How many publications are not answered yet.
    pub fn inflight(&self) -> usize {
        self.inflight.lock().len()
    }

    /// This gateway has read the stream up to `cursor`.
    pub fn read_to(&self, state: &StreamState, cursor: u64) {
        self.answer_stored(|read_back| read_back.read_to(state.index, cursor));
    }

    /// This gateway does not read the stream for now.
    pub fn stand(&self, state: &StreamState) {
        self.answer_stored(|read_back| read_back.give_up(state.index));
    }

    fn answer_stored(&self, take: impl FnOnce(&mut ReadBack) -> Vec<Stored>) {
        let mut inflight = self.inflight.lock();
        let stored = take(&mut inflight.read_back);
        if stored.is_empty() {
            return;
        }
        self.wake_publishers(inflight);
        stored.into_iter().for_each(Stored::answer);
    }

    /// The connection to publish on came or went. As the connection goes, publications without an acknowledgement are answered
    /// `unavailable`. Those that the client was handed may be stored or not; no other is sent later, because that would break the order.
    /// Acknowledged publications wait on, because the stream is read on a connection of its own.
    pub fn set_connected(&self, connected: bool) {
        let mut inflight = self.inflight.lock();
        inflight.connected = connected;
        let lost = if connected { BTreeMap::new() } else { std::mem::take(&mut inflight.waiting) };
        inflight.bytes -= lost.values().map(|waiting| waiting.bytes).sum::<usize>();
        self.wake_publishers(inflight);
        for waiting in lost.into_values() {
            waiting.answerer.answer(Err(self.refuse(PublishFailure::Disconnected, DISCONNECTED)));
        }
    }

    /// Sends publications, hears acknowledgements and gives up what waits too long, for as long as the future is polled. A connection
    /// that takes nothing for a while holds up what is sent, and nothing else.
    pub async fn run(&self, client: &Client) -> Result<(), async_nats::SubscribeError> {
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await?;
        tokio::join!(self.send(client, &inbox), self.hear(answers));
        Ok(())
    }

    async fn send(&self, client: &Client, inbox: &str) {
        loop {
            let (number, Unsent { subject, headers, payload }) = self.next_unsent().await;
            let reply = format!("{inbox}.{number}");
            let sent = match headers {
                Some(headers) => client.publish_with_reply_and_headers(subject, reply, headers, payload).await,
                None => client.publish_with_reply(subject, reply, payload).await,
            };
            if sent.is_err() {
                self.fail(number, PublishFailure::Refused, "the connection does not take it");
            }
        }
    }

    async fn next_unsent(&self) -> (u64, Unsent) {
        loop {
            let unsent = self.inflight.lock().take_unsent();
            match unsent {
                Some(unsent) => return unsent,
                None => self.unsent.notified().await,
            }
        }
    }

    async fn hear(&self, mut answers: Subscriber) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay); // what was woken at one look has until the next but one
        loop {
            tokio::select! {
                Some(answer) = answers.next() => self.acknowledge(&answer),
                _ = look.tick() => self.look(),
            }
        }
    }

    /// Ends what has waited too long: publications for their acknowledgement or to be read, room for the publishers that were woken for it.
    fn look(&self) {
        self.give_up_older_than(self.limits().timeout);
        self.answer_stored(|read_back| read_back.overdue(Instant::now()));
        let mut inflight = self.inflight.lock();
        inflight.waiters.forget_late();
        self.wake_publishers(inflight);
    }

    fn acknowledge(&self, answer: &Message) {
        let number = answer.subject.as_str().rsplit('.').next().and_then(|number| number.parse().ok());
        let Some(number) = number else { return };
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            return self.fail(number, PublishFailure::NoResponders, "the stream has no leader");
        }
        let Some(sequence) = acknowledged(&answer.payload) else {
            return self.fail(number, PublishFailure::Refused, "the stream has refused the message");
        };
        let mut inflight = self.inflight.lock();
        let Some(waiting) = inflight.take(number) else { return };
        // A life that the session does not know of yet: its offset would name another message there.
        if waiting.state.epoch() != Some(waiting.epoch) {
            self.wake_publishers(inflight);
            return waiting.answerer.answer(Err(self.refuse(PublishFailure::Standing, STANDING)));
        }
        self.metrics.cluster_acknowledged(waiting.since.elapsed());
        self.metrics.published(self.live.load().rules.of(&waiting.topic).id, waiting.source);
        let position = Position { epoch: waiting.epoch, offset: Offset(sequence) };
        let stored = Stored { answerer: waiting.answerer, position, since: Instant::now() };
        let stored = inflight.read_back.hold(waiting.state.index, stored);
        self.wake_publishers(inflight);
        stored.into_iter().for_each(Stored::answer);
    }

    fn give_up_older_than(&self, timeout: Duration) {
        loop {
            let mut inflight = self.inflight.lock();
            let Some(first) = inflight.waiting.first_entry().filter(|first| first.get().since.elapsed() >= timeout) else { return };
            let number = *first.key();
            drop(inflight);
            self.fail(number, PublishFailure::Timeout, "no acknowledgement came in time");
        }
    }

    fn fail(&self, number: u64, failure: PublishFailure, reason: &'static str) {
        if let Some(waiting) = self.take(number) {
            waiting.answerer.answer(Err(self.refuse(failure, reason)));
        }
    }

    fn take(&self, number: u64) -> Option<Waiting> {
        let mut inflight = self.inflight.lock();
        let waiting = inflight.take(number)?;
        self.wake_publishers(inflight);
        Some(waiting)
    }

    fn refuse(&self, failure: PublishFailure, reason: &'static str) -> PublishError {
        self.metrics.cluster_publish_failed(failure);
        PublishError::Unavailable(reason)
    }
}

/// The number in a stream's acknowledgement; `None`: it is none.
fn acknowledged(payload: &[u8]) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Acknowledgement {
        seq: Option<u64>,
        error: Option<serde::de::IgnoredAny>,
    }
    let Acknowledgement { seq, error } = serde_json::from_slice(payload).ok()?;
    seq.filter(|sequence| *sequence > 0 && error.is_none())
}

#[cfg(test)]
mod tests;
