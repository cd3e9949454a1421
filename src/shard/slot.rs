//! One session's writing side: its socket, its outbox, its subscriptions, its last sign of life.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::outbox::Outbox;
use super::pace::Paces;
use super::pass::Chain;
use super::reader::Reader;
use super::ready::SlotWaker;
use super::replay::Replays;
use super::socket::Socket;
use crate::clock::Moment;
use crate::dialect::Encoding;
use crate::session_id::SessionId;
use crate::topic_name::{Pattern, TopicName};

/// One session in its shard. Whatever most sessions don't need at rest is boxed and absent.
pub struct Slot {
    /// Its name.
    pub id: SessionId,
    /// Who is at the other end.
    pub address: SocketAddr,
    /// Which frames it takes.
    pub variant: Encoding,
    /// Its connection.
    pub socket: Socket,
    /// Lists this slot as ready.
    pub waker: Arc<SlotWaker>,
    /// Decides for it; absent while it is being called.
    pub reader: Option<Box<dyn Reader>>,
    /// What is to be written to it.
    pub chain: Chain,
    /// What waits for its socket.
    pub outbox: Option<Box<Outbox>>,
    /// What was read and can't be acted on yet.
    pub unread: Vec<u8>,
    /// Its reader is to be called, input or not: a command waits.
    pub paused: bool,
    /// It is on the list of those that want a share of history.
    pub awaits_history: bool,
    /// Sorted by pattern.
    pub subscriptions: Vec<Subscription>,
    /// What is still read out of history for it.
    pub replays: Option<Box<Replays>>,
    /// What `interval_ms` holds back.
    pub paces: Option<Box<Paces>>,
    /// The message that it was last given, by its number in this shard.
    pub stamp: u64,
    /// Its life's stage.
    pub stage: Stage,
    /// When it was last heard of.
    pub heard_at: Moment,
    /// When the last Ping went out, or the session began.
    pub pinged_at: Moment,
    /// When its reader is to be called.
    pub deadline: Option<Moment>,
    /// When a drain closes it.
    pub leaves_at: Option<Moment>,
    /// Given back when the session ends.
    pub permit: Option<Box<dyn Send>>,
}

/// A session's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It reads and writes.
    Open,
    /// A Close is queued; what comes is read and discarded until then.
    Closing {
        /// When the connection is dropped.
        until: Moment,
        /// All is written and the writing side ended.
        ended: bool,
        /// It takes nothing but its Close any more.
        cut_off: bool,
    },
}

/// One subscription of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its topic or pattern.
    pub pattern: Pattern,
    /// At most one message per topic in so many milliseconds; a whole `Duration` would take twice the room.
    interval_ms: Option<NonZeroU32>,
    /// Larger than those of the session's older subscriptions.
    pub number: u32,
}

impl Subscription {
    /// To `pattern`, at most one message per topic in `interval`.
    pub fn new(pattern: Pattern, interval: Option<Duration>, number: u32) -> Self {
        let mut subscription = Self { pattern, interval_ms: None, number };
        subscription.set_interval(interval);
        subscription
    }

    /// Paces it anew, or no more. In whole milliseconds, as the contract has it.
    pub fn set_interval(&mut self, interval: Option<Duration>) {
        self.interval_ms = interval.and_then(|interval| NonZeroU32::new(u32::try_from(interval.as_millis()).unwrap_or(u32::MAX)));
    }

    /// Whether it is paced.
    pub fn is_paced(&self) -> bool {
        self.interval_ms.is_some()
    }
}

impl Slot {
    /// Whether it was cut off: what comes for it but its Close is given up.
    pub fn is_cut_off(&self) -> bool {
        matches!(self.stage, Stage::Closing { cut_off: true, .. })
    }

    /// Whether it takes messages.
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// The waker for its socket.
    pub fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.waker))
    }

    /// The bytes that wait for it.
    pub fn outbox_bytes(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.bytes()) + self.paces.as_ref().map_or(0, |paces| paces.bytes())
    }

    /// Where `pattern` is, or would be, among its subscriptions.
    pub fn find(&self, pattern: &Pattern) -> Result<usize, usize> {
        self.subscriptions.binary_search_by(|subscription| subscription.pattern.cmp(pattern))
    }

    /// Whether a subscription of it takes `topic`.
    pub fn covers(&self, topic: &TopicName) -> bool {
        self.subscriptions.iter().any(|subscription| subscription.pattern.matches(topic))
    }

    /// The smallest interval of the subscriptions that take `topic`; one without an interval counts as none.
    pub fn interval(&self, topic: &TopicName) -> Option<Duration> {
        smallest_interval(&self.subscriptions, topic)
    }

    /// Whether nothing is left to be done for it once its socket took all that it was given.
    pub fn is_at_rest(&self) -> bool {
        self.outbox.is_none()
            && self.replays.is_none()
            && self.unread.is_empty()
            && self.is_open()
            && matches!(self.socket, Socket::Plain(_))
    }

    /// Whether its first words go out with the next flush, before the runtime knows its socket, as it must to read.
    pub fn has_first_words(&self) -> bool {
        self.is_fresh() && !self.chain.is_empty()
    }

    /// Whether nothing was written to its socket yet, which would take it at once.
    pub fn is_fresh(&self) -> bool {
        matches!(self.socket, Socket::Fresh(_))
    }

    /// Whether a message needs no closer look before it is given to this session.
    pub fn is_plain(&self) -> bool {
        self.replays.is_none() && self.paces.is_none()
    }
}

/// The smallest interval among those of `subscriptions` that take `topic`; one without an interval counts as none.
pub fn smallest_interval(subscriptions: &[Subscription], topic: &TopicName) -> Option<Duration> {
    let matching = subscriptions.iter().filter(|subscription| subscription.pattern.matches(topic));
    let smallest = matching.map(|subscription| subscription.interval_ms).min().flatten();
    smallest.map(|interval| Duration::from_millis(interval.get().into()))
}
