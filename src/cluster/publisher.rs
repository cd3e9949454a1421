//! Publishes to the streams: pipelined on one connection, so that the order of each session and topic is kept. A publisher is answered after
//! the stream has acknowledged the message and this gateway has read it.

mod read_back;
#[cfg(test)]
mod tests;
mod waiters;

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

use super::headers;
use super::setup::HEADERS_BYTES_MAX;
use super::state::StreamState;
use crate::config::Live;
use crate::hub::{AnswerSender, EngineAttempt, Publication, PublishError, Receipt};
use crate::metrics::{Metrics, PublishFailure, PublishSource};
use crate::position::{Epoch, Offset, Position};
use crate::topic_name::TopicName;
use read_back::{ReadBack, Stored};
use waiters::Waiters;

/// The most bytes of the messages that are not acknowledged yet, headers included. Past that, publishers wait.
const INFLIGHT_BYTES_MAX: usize = 64 << 20;
/// The time between two checks for publications that have waited too long.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Sends publications to the servers, and hands their answers to the publishers.
pub struct Publisher {
    inflight: Mutex<Inflight>,
    /// Notified of each publication that is to be sent.
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

impl Unsent {
    fn bytes(&self) -> usize {
        self.payload.len() + self.headers.as_ref().map_or(0, headers::bytes)
    }
}

/// Publications that are not answered yet.
#[derive(Default)]
struct Inflight {
    /// Whether the connection is up.
    connected: bool,
    number: u64,
    /// Publications without an acknowledgement, by number: the first has waited longest. A message is kept here until it is sent, so a
    /// publication that was answered is never sent, and unsent messages are bounded as unacknowledged ones are.
    unacknowledged: BTreeMap<u64, Unacknowledged>,
    /// The bytes of the messages in `unacknowledged`.
    bytes: usize,
    /// Publications from this number on are unsent.
    unsent_from: u64,
    /// Publications that are acknowledged and not read back yet.
    read_back: ReadBack,
    /// Publishers that wait for room, and those that were woken.
    waiters: Waiters,
}

struct Unacknowledged {
    answer: AnswerSender,
    state: Arc<StreamState>,
    epoch: Epoch,
    topic: TopicName,
    source: PublishSource,
    bytes: usize,
    since: Instant,
    unsent: Option<Unsent>,
}

/// The limits on unanswered publications.
struct Limits {
    /// The most publications.
    inflight: usize,
    /// The longest wait for an acknowledgement.
    timeout: Duration,
    /// The most bytes of one payload.
    payload_bytes: usize,
}

impl Inflight {
    /// The number of further publications that there is room for, if each is of the largest size.
    fn room(&self, limits: &Limits) -> usize {
        let bytes = INFLIGHT_BYTES_MAX.saturating_sub(self.bytes);
        limits.inflight.saturating_sub(self.len()).min(bytes.div_ceil(limits.payload_bytes + HEADERS_BYTES_MAX))
    }

    fn len(&self) -> usize {
        self.unacknowledged.len() + self.read_back.len()
    }

    fn take(&mut self, number: u64) -> Option<Unacknowledged> {
        let publication = self.unacknowledged.remove(&number)?;
        self.bytes -= publication.bytes;
        Some(publication)
    }

    /// The next message to send, with its number.
    fn take_unsent(&mut self) -> Option<(u64, Unsent)> {
        let (&number, publication) = self.unacknowledged.range_mut(self.unsent_from..).next()?;
        self.unsent_from = number + 1;
        publication.unsent.take().map(|unsent| (number, unsent))
    }
}

/// Reasons that publishers are given.
const NOT_FOLLOWED: &str = "this gateway does not follow the topic's stream for now";
const DISCONNECTED: &str = "the connection to the servers is lost";

impl Publisher {
    /// A publisher without a connection, until [`Publisher::set_connected`].
    pub fn new(live: &Arc<Live>, metrics: &Arc<Metrics>) -> Arc<Self> {
        let (inflight, unsent) = Default::default();
        Arc::new(Self { inflight, unsent, metrics: Arc::clone(metrics), live: Arc::clone(live) })
    }

    /// Queues a publication for the servers, or says why not. `publisher` identifies the publisher and wakes it.
    pub fn publish(
        &self,
        state: &Arc<StreamState>,
        topic: &TopicName,
        publication: &Publication<'_>,
        publisher: &Waker,
    ) -> Result<EngineAttempt, PublishError> {
        let Some(epoch) = state.epoch() else { return Err(self.refuse(PublishFailure::Stalled, NOT_FOLLOWED)) };
        let limits = self.limits();
        let headers = headers::write(publication, limits.payload_bytes).map_err(|headers::TooLong| PublishError::ExtraTooLong)?;
        let mut inflight = self.inflight.lock();
        if !inflight.connected {
            drop(inflight);
            return Err(self.refuse(PublishFailure::Disconnected, DISCONNECTED));
        }
        let room = inflight.room(&limits);
        if !inflight.waiters.may_publish(publisher, room) {
            return Ok(EngineAttempt::NoRoom);
        }
        inflight.waiters.forget(publisher);
        inflight.number += 1;
        let (number, (sender, receipt)) = (inflight.number, Receipt::pair());
        let (state, topic) = (Arc::clone(state), topic.clone());
        let unsent = Unsent { subject: topic.as_str().to_owned(), headers, payload: Bytes::copy_from_slice(publication.payload) };
        let (bytes, source, unsent) = (unsent.bytes(), publication.source, Some(unsent));
        inflight.bytes += bytes;
        inflight
            .unacknowledged
            .insert(number, Unacknowledged { answer: sender, state, epoch, topic, source, bytes, since: Instant::now(), unsent });
        self.wake_publishers(inflight); // a short message may leave room for one more
        self.unsent.notify_one();
        Ok(EngineAttempt::Awaited(receipt))
    }

    /// Whether the stream takes publications now, if there is room.
    pub fn accepts(&self, state: &StreamState) -> bool {
        state.epoch().is_some() && self.inflight.lock().connected
    }

    /// Wakes `publisher` when there is room, which may be at once.
    pub fn when_room(&self, publisher: &Waker) {
        let mut inflight = self.inflight.lock();
        inflight.waiters.wait(publisher);
        self.wake_publishers(inflight);
    }

    /// Forgets a publisher that is gone. Others get the room that was reserved for it.
    pub fn forget(&self, publisher: &Waker) {
        let mut inflight = self.inflight.lock();
        inflight.waiters.forget(publisher);
        self.wake_publishers(inflight);
    }

    /// Waits until all publications are answered.
    pub async fn all_answered(&self) {
        while self.inflight() > 0 {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }

    fn limits(&self) -> Limits {
        let config = self.live.load();
        let (inflight, timeout) =
            config.cluster.as_ref().map_or((0, Duration::ZERO), |cluster| (cluster.publish_inflight, cluster.publish_timeout));
        Limits { inflight, timeout, payload_bytes: config.limits.message_bytes }
    }

    /// Wakes the publishers that have room now. Without a connection it wakes all of them, which are then refused.
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

    /// The number of unanswered publications.
    pub fn inflight(&self) -> usize {
        self.inflight.lock().len()
    }

    /// Answers the publications up to `cursor`, up to which this gateway has read the stream.
    pub fn read_to(&self, state: &StreamState, cursor: u64) {
        self.answer_stored(|read_back| read_back.read_to(state.index, cursor));
    }

    /// Answers the stored publications of a stream that this gateway does not read for now.
    pub fn stream_lost(&self, state: &StreamState) {
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

    /// Notes whether the connection is up. When it is lost, publications without an acknowledgement are answered `unavailable`. Those that
    /// the NATS client already has may be stored or not; the others are not sent later, because that would break the order. Acknowledged
    /// publications wait on, because the stream is read on a connection of its own.
    pub fn set_connected(&self, connected: bool) {
        let mut inflight = self.inflight.lock();
        inflight.connected = connected;
        let lost = if connected { BTreeMap::new() } else { std::mem::take(&mut inflight.unacknowledged) };
        inflight.bytes -= lost.values().map(|publication| publication.bytes).sum::<usize>();
        self.wake_publishers(inflight);
        for publication in lost.into_values() {
            publication.answer.send(Err(self.refuse(PublishFailure::Disconnected, DISCONNECTED)));
        }
    }

    /// Sends publications, receives acknowledgements and ends what waits too long, for as long as the future is polled. A connection that
    /// takes no data for a while delays only the sending.
    pub async fn run(&self, client: &Client) -> Result<(), async_nats::SubscribeError> {
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await?;
        tokio::join!(self.send(client, &inbox), self.receive_answers(answers));
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

    async fn receive_answers(&self, mut answers: Subscriber) {
        let mut check = tokio::time::interval(CHECK_INTERVAL);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay); // a woken publisher keeps its reservation for at least one interval
        loop {
            tokio::select! {
                Some(answer) = answers.next() => self.acknowledge(&answer),
                _ = check.tick() => self.check_timeouts(),
            }
        }
    }

    /// Ends the waits that took too long: for an acknowledgement, for reading the message back, and for a woken publisher.
    fn check_timeouts(&self) {
        self.give_up_older_than(self.limits().timeout);
        self.answer_stored(|read_back| read_back.overdue(Instant::now()));
        let mut inflight = self.inflight.lock();
        inflight.waiters.expire_woken();
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
        let Some(publication) = inflight.take(number) else { return };
        // The session does not know the new epoch yet. In its epoch, the offset would name another message.
        if publication.state.epoch() != Some(publication.epoch) {
            self.wake_publishers(inflight);
            return publication.answer.send(Err(self.refuse(PublishFailure::Stalled, NOT_FOLLOWED)));
        }
        self.metrics.cluster_acknowledged(publication.since.elapsed());
        self.metrics.published(self.live.load().rules.of(&publication.topic).id, publication.source);
        let position = Position { epoch: publication.epoch, offset: Offset(sequence) };
        let stored = Stored { answer: publication.answer, position, since: Instant::now() };
        let stored = inflight.read_back.hold(publication.state.index, stored);
        self.wake_publishers(inflight);
        stored.into_iter().for_each(Stored::answer);
    }

    fn give_up_older_than(&self, timeout: Duration) {
        loop {
            let mut inflight = self.inflight.lock();
            let Some(first) = inflight.unacknowledged.first_entry().filter(|first| first.get().since.elapsed() >= timeout) else { return };
            let number = *first.key();
            drop(inflight);
            self.fail(number, PublishFailure::Timeout, "no acknowledgement came in time");
        }
    }

    fn fail(&self, number: u64, failure: PublishFailure, reason: &'static str) {
        if let Some(publication) = self.take(number) {
            publication.answer.send(Err(self.refuse(failure, reason)));
        }
    }

    fn take(&self, number: u64) -> Option<Unacknowledged> {
        let mut inflight = self.inflight.lock();
        let publication = inflight.take(number)?;
        self.wake_publishers(inflight);
        Some(publication)
    }

    fn refuse(&self, failure: PublishFailure, reason: &'static str) -> PublishError {
        self.metrics.count(failure, 1);
        PublishError::Unavailable(reason)
    }
}

/// The number in a stream's acknowledgement. `None`: the payload is no acknowledgement.
fn acknowledged(payload: &[u8]) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Acknowledgement {
        seq: Option<u64>,
        error: Option<serde::de::IgnoredAny>,
    }
    let Acknowledgement { seq, error } = serde_json::from_slice(payload).ok()?;
    seq.filter(|sequence| *sequence > 0 && error.is_none())
}
