//! The inbox of a shard: publishers push items, and the shard takes them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};

use super::control::Control;
use super::new_session::PendingConnection;
use super::publisher_queue::PublisherQueue;
use crate::clock::Moment;
use crate::hub::{Message, Outlet, PresenceChange};
use crate::position::Position;
use crate::shard::env::Load;
use crate::topic_name::TopicName;

/// The bytes that a message counts in an inbox beside its payload and metadata.
const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// The bytes that a control item counts in an inbox. Its other memory is accounted to its connection.
const CONTROL_BYTES: usize = 256;

/// The most control items that may wait before HTTP requests that carry frames of sessions are refused.
const CONTROLS_MAX: usize = 16_384;

/// The capacity that an empty inbox keeps, in items.
const ITEMS_KEPT: usize = 2_048;

/// An item of a shard's inbox.
pub enum Item {
    /// A message of a topic that the shard subscribes to. The last subscriber may have left since.
    Message(Message),
    /// The log of a topic was replaced. Subscribers have had the messages up to this position.
    LogReplaced(TopicName, Position),
    /// A change of presence in such a topic.
    Presence(Arc<PresenceChange>),
    /// A request of the gateway.
    Control(Control),
}

/// The state of an inbox after a share was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    /// The number of items that are left.
    pub items: usize,
    /// Whether publishers wait. A publisher that was woken may not come; then a later [`Inbox::take`] wakes others.
    pub publishers_wait: bool,
}

/// One shard's inbox. Publishers push, and wake the shard only if it sleeps.
pub struct Inbox {
    /// Held for a push or for taking a tick's share. Nothing blocks under this lock.
    state: Mutex<State>,
    /// `limits.inbox_bytes`.
    bytes_max: AtomicUsize,
    /// The counts of the shard that other threads see.
    load: Arc<Load>,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    shard: Option<Waker>,
    /// Publishers that found no room.
    publishers: PublisherQueue,
    /// New connections. They do not queue behind messages.
    connections: Vec<PendingConnection>,
}

impl Inbox {
    /// An empty inbox that holds about `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), bytes_max: AtomicUsize::new(bytes_max), load: Arc::default() }
    }

    /// The counts of the shard that other threads see.
    pub fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// Sets `limits.inbox_bytes`.
    pub fn set_bytes_max(&self, bytes: usize) {
        self.bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// Hands `control` to the shard and wakes it. No control item is refused for lack of room. A new session has its
    /// place in an account of its own, an administrator's command must be executed, and the caller of a request for a
    /// session asks [`Inbox::takes_requests`] first.
    pub fn control(&self, control: Control) {
        self.load.push_control();
        self.push(Item::Control(control));
    }

    /// Whether frames of HTTP requests are accepted. Without this bound, a client could abandon its waiting requests
    /// and send others without end.
    pub fn takes_requests(&self) -> bool {
        self.load.controls() < CONTROLS_MAX
    }

    /// Hands `control` to the shard without waking it. [`Inbox::wake`] has to follow.
    pub fn control_without_wake(&self, control: Control) {
        self.load.push_control();
        self.put(&mut self.state.lock(), Item::Control(control));
    }

    /// Leaves a connection for the shard without waking it. [`Inbox::wake`] has to follow.
    pub fn add_connection(&self, connection: PendingConnection) {
        self.load.occupy();
        self.state.lock().connections.push(connection);
    }

    /// Moves the new connections into `connections`.
    pub fn take_connections(&self, connections: &mut Vec<PendingConnection>) {
        connections.append(&mut self.state.lock().connections);
    }

    /// Wakes the shard if it sleeps while its inbox has items or connections.
    pub fn wake(&self) {
        let state = self.state.lock();
        if !state.is_empty() {
            wake(state);
        }
    }

    /// Moves at most about `messages` items, or `bytes` bytes, into `share`, and wakes the publishers whose turn it is.
    /// Returns what is left.
    pub fn take(&self, share: &mut VecDeque<Item>, messages: usize, bytes: usize, now: Moment) -> Remaining {
        let mut state = self.state.lock();
        let mut taken_bytes = 0;
        while share.len() < messages && taken_bytes < bytes {
            let Some(item) = state.items.pop_front() else { break };
            taken_bytes += cost(&item);
            if matches!(item, Item::Control(_)) {
                self.load.take_control();
            }
            share.push_back(item);
        }
        state.bytes -= taken_bytes;
        if state.items.is_empty() && state.items.capacity() > ITEMS_KEPT {
            state.items = VecDeque::new();
        }
        if state.items.is_empty() {
            state.publishers.note_empty();
        }
        let has_room = state.bytes < self.bytes_max.load(Ordering::Relaxed);
        let publishers = if has_room { state.publishers.call_next(now) } else { Vec::new() };
        let remaining = Remaining { items: state.items.len(), publishers_wait: state.publishers.is_awaited() };
        drop(state); // a waker takes the lock of a `ReadyList`
        publishers.into_iter().for_each(Waker::wake);
        remaining
    }

    /// Whether the inbox has items, connections, or publishers that have to be called. If not, `waker` is woken when it
    /// has.
    pub fn is_filled_or_wakes(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        let filled = !state.is_empty() || self.is_stalled(&state);
        if !filled {
            state.shard = Some(waker.clone());
        }
        filled
    }

    fn push(&self, item: Item) {
        let mut state = self.state.lock();
        self.put(&mut state, item);
        wake(state);
    }

    /// Takes a publisher out of the queue.
    fn update_publishers(&self, update: impl FnOnce(&mut PublisherQueue)) {
        let mut state = self.state.lock();
        update(&mut state.publishers);
        self.wake_if_stalled(state);
    }

    /// Wakes the shard, which may sleep, if it is to call the next publishers.
    fn wake_if_stalled(&self, state: MutexGuard<'_, State>) {
        if self.is_stalled(&state) {
            wake(state);
        }
    }

    fn is_stalled(&self, state: &State) -> bool {
        state.bytes < self.bytes_max.load(Ordering::Relaxed) && state.publishers.is_stalled()
    }

    fn put(&self, state: &mut State, item: Item) {
        state.bytes += cost(&item);
        state.items.push_back(item);
        self.load.push();
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.connections.is_empty()
    }
}

/// Wakes the shard if it sleeps. The lock is released first, because the shard takes it at once.
fn wake(mut state: MutexGuard<'_, State>) {
    let shard = state.shard.take();
    drop(state);
    if let Some(shard) = shard {
        shard.wake();
    }
}

impl Outlet for Inbox {
    fn has_room(&self, publisher: &Waker) -> bool {
        let state = self.state.lock();
        state.bytes < self.bytes_max.load(Ordering::Relaxed) && state.publishers.may_offer(publisher)
    }

    fn when_room(&self, publisher: &Waker) {
        let mut state = self.state.lock();
        // The inbox may have room by now while the shard sleeps; then nothing else would wake the publisher.
        if state.bytes < self.bytes_max.load(Ordering::Relaxed) && state.publishers.may_offer(publisher) {
            drop(state);
            return publisher.wake_by_ref();
        }
        state.publishers.wait(publisher);
        self.wake_if_stalled(state);
    }

    fn waits_elsewhere(&self, publisher: &Waker) {
        self.update_publishers(|publishers| publishers.waits_elsewhere(publisher));
    }

    fn forget(&self, publisher: &Waker) {
        self.update_publishers(|publishers| publishers.forget(publisher));
    }

    fn offer(&self, message: &Message, publisher: &Waker) {
        let item = Item::Message(message.clone());
        let mut state = self.state.lock();
        state.publishers.offered(publisher);
        self.put(&mut state, item);
        wake(state);
    }

    fn log_replaced(&self, topic: &TopicName, after: Position) {
        self.push(Item::LogReplaced(topic.clone(), after));
    }

    fn offer_presence(&self, change: &Arc<PresenceChange>) {
        self.push(Item::Presence(Arc::clone(change)));
    }
}

fn cost(item: &Item) -> usize {
    match item {
        Item::Message(message) => message.transit_bytes() + MESSAGE_OVERHEAD_BYTES,
        Item::Presence(change) => change.bytes(),
        Item::LogReplaced(topic, _) => topic.as_str().len() + MESSAGE_OVERHEAD_BYTES,
        Item::Control(_) => CONTROL_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{About, Extra, PayloadKind};
    use crate::position::{Epoch, Offset};

    /// All items in an inbox count against its bound until the shard takes them. HTTP requests are refused past a
    /// bound, even if their clients abandon them. (Control items and replaced logs did not count.)
    #[test]
    fn all_items_count_against_the_bound() {
        let inbox = Inbox::new(1);
        let topic = TopicName::parse("chat.a").unwrap();
        let put: [&dyn Fn(); 3] = [&|| inbox.control(Control::Stop), &|| inbox.control_without_wake(Control::Stop), &|| {
            inbox.log_replaced(&topic, Position { epoch: Epoch::random(), offset: Offset(1) })
        }];
        for put in put {
            assert!(inbox.has_room(Waker::noop()));
            put();
            assert!(!inbox.has_room(Waker::noop()));
            inbox.take(&mut VecDeque::new(), usize::MAX, usize::MAX, Moment::default());
        }
        (0..CONTROLS_MAX).for_each(|_| inbox.control(Control::Stop));
        assert!(!inbox.takes_requests());
        inbox.take(&mut VecDeque::new(), 1, usize::MAX, Moment::default());
        assert!(inbox.takes_requests());
    }

    /// The metadata of a message counts against the bound. (Its tags took memory that nothing counted.)
    #[test]
    fn metadata_counts_against_the_bound() {
        let tags = vec![("key".into(), "a".repeat(1_000).into())];
        let extra = Some(Arc::new(Extra { publisher: None, tags }));
        let position = Position { epoch: Epoch::random(), offset: Offset(1) };
        let inbox = Inbox::new(1_000);
        for (extra, has_room) in [(None, true), (extra, false)] {
            inbox.offer(&Message::new(About { extra, ..About::of_test("chat.a", position, PayloadKind::Json) }, b"1"), Waker::noop());
            assert_eq!(inbox.has_room(Waker::noop()), has_room);
        }
    }

    /// A called publisher that waits for another inbox instead leaves its place to the next one. The shard, which
    /// sleeps by then, is woken to call that one.
    #[test]
    fn publishers_that_are_to_be_called_keep_the_shard_awake() {
        struct Publisher;
        impl std::task::Wake for Publisher {
            fn wake(self: std::sync::Arc<Self>) {}
        }
        let [called, next] = std::array::from_fn(|_| Waker::from(std::sync::Arc::new(Publisher)));
        let inbox = Inbox::new(1);
        inbox.control(Control::Stop);
        [&called, &called, &next].into_iter().for_each(|publisher| inbox.when_room(publisher));
        let take = || inbox.take(&mut VecDeque::new(), usize::MAX, usize::MAX, Moment::default());
        inbox.control(Control::Stop);
        assert!(take().publishers_wait);
        assert!(!inbox.is_filled_or_wakes(Waker::noop()), "both were called");
        inbox.when_room(&next);
        assert!(!inbox.is_filled_or_wakes(Waker::noop()), "the first one may come yet");
        inbox.waits_elsewhere(&called);
        assert!(inbox.is_filled_or_wakes(Waker::noop()));
        take();
        assert!(!inbox.is_filled_or_wakes(Waker::noop()), "the next was called");
    }

    /// Control items are counted from their push until the shard takes them.
    #[test]
    fn control_items_are_counted() {
        let inbox = Inbox::new(1 << 20);
        inbox.control(Control::Stop);
        inbox.control_without_wake(Control::Stop);
        assert_eq!(inbox.load().controls(), 2);
        let mut share = VecDeque::new();
        assert_eq!(inbox.take(&mut share, 1, usize::MAX, Moment::default()).items, 1);
        assert_eq!(inbox.load().controls(), 1);
        inbox.take(&mut share, usize::MAX, usize::MAX, Moment::default());
        assert_eq!((share.len(), inbox.load().controls()), (2, 0));
    }
}
