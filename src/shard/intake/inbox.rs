//! The mailbox that publishers fill and one shard empties.

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
use crate::shard::load::Load;
use crate::topic_name::TopicName;

/// What a message costs in an inbox beside its payload, in bytes.
const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// What a control item costs in an inbox, in bytes. What else it brings is in the account of its connection.
const CONTROL_BYTES: usize = 256;

/// Requests that speak for sessions are refused while so many control items wait.
const CONTROLS_MAX: usize = 16_384;

/// Room that an empty inbox keeps, in items.
const ITEMS_KEPT: usize = 2_048;

/// What a shard finds in its inbox.
pub enum Item {
    /// A message of a topic with a subscriber here, or one that has just left.
    Message(Message),
    /// A topic whose log is another one from here on; subscribers have had all up to this position.
    LogReplaced(TopicName, Position),
    /// A change of presence of such a topic.
    Presence(Arc<PresenceChange>),
    /// Something that the gateway asks of this shard.
    Control(Control),
}

/// What is in an inbox after a share was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    /// How many items are left.
    pub items: usize,
    /// Whether publishers wait. Those that were woken may not come, and then others are woken by a later call.
    pub publishers_wait: bool,
}

/// One shard's inbox. Publishers push and wake the shard only if it is not awake already.
pub struct Inbox {
    /// Held for a push or for taking a tick's share; nothing waits under it.
    state: Mutex<State>,
    /// `limits.inbox_bytes`.
    bytes_max: AtomicUsize,
    /// What other threads see of the shard.
    load: Arc<Load>,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    shard: Option<Waker>,
    /// Publishers that found no room.
    publishers: PublisherQueue,
    /// Connections; they don't queue behind messages.
    connections: Vec<PendingConnection>,
}

impl Inbox {
    /// An empty one.
    pub fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), bytes_max: AtomicUsize::new(bytes_max), load: Arc::default() }
    }

    /// What other threads see of the shard.
    pub fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// Changes its bound.
    pub fn set_bytes_max(&self, bytes: usize) {
        self.bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// Hands `control` to the shard. None is refused for want of room: a new session has a place in an account of its own, an operator's order
    /// is to be carried out, and whoever speaks for a session asks [`Inbox::takes_requests`] before.
    pub fn control(&self, control: Control) {
        self.load.push_control();
        self.push(Item::Control(control));
    }

    /// Whether requests that speak for sessions are taken. A client may give one up that waits, and make the next.
    pub fn takes_requests(&self) -> bool {
        self.load.controls() < CONTROLS_MAX
    }

    /// Hands `control` to the shard, which finds it when it wakes; [`Inbox::rouse`] sees to that.
    pub fn deposit(&self, control: Control) {
        self.load.push_control();
        self.put(&mut self.state.lock(), Item::Control(control));
    }

    /// Leaves a connection for the shard; [`Inbox::rouse`] tells it.
    pub fn announce(&self, connection: PendingConnection) {
        self.load.occupy();
        self.state.lock().connections.push(connection);
    }

    /// Moves the connections that have come into `connections`.
    pub fn take_connections(&self, connections: &mut Vec<PendingConnection>) {
        connections.append(&mut self.state.lock().connections);
    }

    /// Wakes the shard if it has something to take and sleeps.
    pub fn rouse(&self) {
        let state = self.state.lock();
        if !state.is_empty() {
            wake(state);
        }
    }

    /// Moves a tick's share into `share`: at most about `messages` and `bytes`. And how many items are left.
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
        drop(state); // a waker takes the lock of a ready list
        publishers.into_iter().for_each(Waker::wake);
        remaining
    }

    /// Whether there is something to take; if not, `waker` is woken by the next push.
    pub fn is_filled_or_wakes(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        let filled = !state.is_empty();
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

    /// A publisher leaves the queue.
    fn leave(&self, leave: impl FnOnce(&mut PublisherQueue)) {
        let mut state = self.state.lock();
        leave(&mut state.publishers);
        self.rouse_if_stalled(state);
    }

    /// Wakes the shard where it is to call the next publishers, and may sleep.
    fn rouse_if_stalled(&self, state: MutexGuard<'_, State>) {
        if state.bytes < self.bytes_max.load(Ordering::Relaxed) && state.publishers.is_stalled() {
            wake(state);
        }
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

/// Wakes the shard if it sleeps, once the lock is free for it.
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
        // There may be room by now, and the shard may sleep.
        if state.bytes < self.bytes_max.load(Ordering::Relaxed) && state.publishers.may_offer(publisher) {
            drop(state);
            return publisher.wake_by_ref();
        }
        state.publishers.wait(publisher);
        self.rouse_if_stalled(state);
    }

    fn waits_elsewhere(&self, publisher: &Waker) {
        self.leave(|publishers| publishers.waits_elsewhere(publisher));
    }

    fn forget(&self, publisher: &Waker) {
        self.leave(|publishers| publishers.forget(publisher));
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

    fn tell(&self, change: &Arc<PresenceChange>) {
        self.push(Item::Presence(Arc::clone(change)));
    }
}

fn cost(item: &Item) -> usize {
    match item {
        Item::Message(message) => message.payload().len() + MESSAGE_OVERHEAD_BYTES,
        Item::Presence(change) => change.bytes(),
        Item::LogReplaced(topic, _) => topic.as_str().len() + MESSAGE_OVERHEAD_BYTES,
        Item::Control(_) => CONTROL_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{Epoch, Offset};

    /// Whatever waits in an inbox takes room in it, until the shard takes it; and a client that gives up its requests and makes
    /// others is refused at some point. (Control items and replaced logs took none.)
    #[test]
    fn whatever_waits_takes_room() {
        let inbox = Inbox::new(1);
        let topic = TopicName::parse("chat.a").unwrap();
        let put: [&dyn Fn(); 3] = [&|| inbox.control(Control::Stop), &|| inbox.deposit(Control::Stop), &|| {
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

    /// Control items are counted from when they are handed over until the shard takes them.
    #[test]
    fn control_items_are_counted() {
        let inbox = Inbox::new(1 << 20);
        inbox.control(Control::Stop);
        inbox.deposit(Control::Stop);
        assert_eq!(inbox.load().controls(), 2);
        let mut share = VecDeque::new();
        assert_eq!(inbox.take(&mut share, 1, usize::MAX, Moment::default()).items, 1);
        assert_eq!(inbox.load().controls(), 1);
        inbox.take(&mut share, usize::MAX, usize::MAX, Moment::default());
        assert_eq!((share.len(), inbox.load().controls()), (2, 0));
    }
}
