//! Shards. Each shard is one thread that owns its sessions. No shard holds a lock for long that another shard needs.

mod admin_command;
mod catchup;
mod context;
mod delivery;
mod env;
mod intake;
mod pacing;
mod pattern_set;
mod reader;
mod sessions;
mod slot;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod unused_input;
mod upkeep;
mod worker;

pub use admin_command::{AdminCommand, AdminSubscription, UserSessions};
pub use catchup::Expansion;
pub use context::{STEPS_PER_PART, SessionContext};
pub use env::HeldInput;
pub use intake::{Admitted, Arrived, HandshakeHandler, NewSession, PendingConnection, SessionView};
pub use pattern_set::PatternSet;
pub use reader::Reader;
pub use slot::Stream;
pub use unused_input::UnusedInput;

use std::cmp::Reverse;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

use env::{ShardParts, Totals};
use intake::{Control, Inbox};

use crate::clock::Clock;
use crate::codes::CloseCode;
use crate::config::Live;
use crate::hub::{Hub, Outlet};
use crate::metrics::{Gauge, Metrics};
use crate::session_id::{Forwarded, SessionId, SessionSecret};
use crate::topic_name::TopicName;

/// The outboxes of a shard count as full when they hold more than 15/16 of the shard's share of `outbox_total_bytes`.
/// The sixteenth stays free because [`upkeep::bound_outboxes`] shrinks outboxes to just below the share.
const FREE_SHARE: usize = 16;

/// The most topics whose subscriptions by patterns a shard counts in one go.
const COUNTED_AT_ONCE: usize = 100;

/// All shards.
pub struct Shards {
    inboxes: Vec<Arc<Inbox>>,
    next: AtomicUsize,
    /// The runtime of the first shard's thread.
    first_runtime: Handle,
}

/// A session whose socket is on its way to its shard. The session ends if this is dropped before the socket arrives.
pub struct Expected {
    inbox: Arc<Inbox>,
    /// `None` once the socket has been sent.
    awaited: Option<Awaited>,
}

/// The session that waits for a socket.
enum Awaited {
    /// A session that is registered in its shard.
    Registered(SessionId),
    /// A session that is registered in its shard together with its socket.
    Unregistered(Box<NewSession>),
}

impl Expected {
    /// Sends the socket to the session's shard. Sockets that arrive at the same time wake the shard once. Where the
    /// HTTP front and the shard share a core, one context switch for each socket costs up to a tenth of a handshake.
    pub async fn arrive(mut self, arrived: Arrived) {
        let arrived = Box::new(arrived);
        match self.awaited.take() {
            Some(Awaited::Registered(id)) => self.inbox.control_without_wake(Control::Arrive { id, arrived }),
            Some(Awaited::Unregistered(session)) => self.inbox.control_without_wake(Control::Begin { session, arrived }),
            None => {}
        }
        tokio::task::yield_now().await;
        self.inbox.wake();
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.inbox.load().vacate(); // the session is counted on its own
        if let Some(Awaited::Registered(id)) = self.awaited.take() {
            self.inbox.control(Control::CancelExpected { id });
        }
    }
}

impl Shards {
    /// Starts `count` shards, each on a thread of its own.
    pub fn start(count: usize, hub: &Arc<Hub>, live: &Arc<Live>, metrics: &Arc<Metrics>, clock: &Clock) -> io::Result<Arc<Self>> {
        let totals = Totals::default();
        let counted = Arc::clone(&totals.subscriptions);
        metrics.before_each_reading(move |metrics| metrics.set(Gauge::PatternShapes, counted.shapes()));
        let mut inboxes = Vec::with_capacity(count);
        let mut first_runtime = None;
        for index in 0..count {
            let inbox = Arc::new(Inbox::new(live.load().limits.inbox_bytes));
            let parts = ShardParts {
                outlet: hub.attach(Arc::clone(&inbox) as Arc<dyn Outlet>),
                load: Arc::clone(inbox.load()),
                totals: totals.clone(),
                index,
                metrics: Arc::clone(metrics),
                hub: Arc::clone(hub),
                live: Arc::clone(live),
                clock: clock.clone(),
            };
            let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
            first_runtime.get_or_insert_with(|| runtime.handle().clone());
            inboxes.push(Arc::clone(&inbox));
            let run = move || worker::run_on_this_thread(&runtime, parts, inbox, count);
            std::thread::Builder::new().name(format!("shard-{index}")).spawn(run)?;
        }
        let loads: Vec<_> = inboxes.iter().map(|inbox| Arc::clone(inbox.load())).collect();
        metrics.before_each_reading(move |metrics| metrics.set(Gauge::ControlItems, loads.iter().map(|load| load.controls()).sum()));
        Ok(Arc::new(Self { inboxes, next: AtomicUsize::new(0), first_runtime: first_runtime.ok_or(io::ErrorKind::InvalidInput)? }))
    }

    /// The runtime of the first shard's thread. A connection accepted in this runtime becomes a pending handshake of
    /// the first shard without a wake-up of another thread.
    pub fn first_runtime(&self) -> &Handle {
        &self.first_runtime
    }

    /// Gives a connection to the shard with the fewest sessions. [`Shards::wake`] has to follow: it wakes the shard.
    pub fn receive(&self, connection: PendingConnection) {
        self.next_inbox().add_connection(connection);
    }

    /// Wakes each shard that sleeps while its inbox has items.
    pub fn wake(&self) {
        self.inboxes.iter().for_each(|inbox| inbox.wake());
    }

    /// Whether the outboxes of every shard are full. `outbox_total_bytes` is split evenly among the shards; see
    /// `FREE_SHARE`.
    pub fn are_full(&self, outbox_total_bytes: usize) -> bool {
        let share = outbox_total_bytes / self.inboxes.len();
        self.inboxes.iter().all(|inbox| inbox.load().outbox_bytes() > share - share / FREE_SHARE)
    }

    /// Assigns a new session to the shard with the fewest sessions. A session that subscribes as it opens is registered
    /// before this returns. So a message published as soon as the client has its 101 reaches the session, unless its
    /// subscribe is long. The socket follows by [`Expected::arrive`].
    pub async fn expect(&self, session: NewSession) -> Expected {
        let inbox = Arc::clone(self.next_inbox());
        inbox.load().occupy();
        if !session.subscribes_at_once {
            return Expected { inbox, awaited: Some(Awaited::Unregistered(Box::new(session))) };
        }
        let expected = Expected { inbox, awaited: Some(Awaited::Registered(session.id)) };
        let (answer, registered) = oneshot::channel();
        expected.inbox.control(Control::Expect { session: Box::new(session), answer });
        let _ = registered.await; // a shard that stops drops the request
        expected
    }

    /// Hands `frame` to the session that has `secret`. The session can only be in the shard with the number `shard`.
    pub async fn forward_frame(&self, shard: usize, secret: SessionSecret, frame: Bytes) -> Forwarded {
        let Some(inbox) = self.inboxes.get(shard) else { return Forwarded::NoSession };
        if !inbox.takes_requests() {
            return Forwarded::Full;
        }
        let (answer, forwarded) = oneshot::channel();
        inbox.control(Control::ForwardFrame { secret, frame, answer });
        forwarded.await.unwrap_or(Forwarded::NoSession) // a shard that stops drops the request
    }

    /// The `limit` sessions with the fullest outboxes, fullest first.
    pub async fn slowest(&self, limit: usize) -> Vec<SessionView> {
        let mut views: Vec<SessionView> = self.ask(|answer| Control::Slowest { limit, answer }).await.into_iter().flatten().collect();
        views.sort_by_key(|view| Reverse(view.outbox_bytes));
        views.truncate(limit);
        views
    }

    /// For each of `topics`, the number of subscriptions by patterns that match it. No tick counts more than
    /// `COUNTED_AT_ONCE` topics for one call.
    pub async fn count_by_pattern(&self, topics: &[TopicName]) -> Vec<usize> {
        let mut counts = Vec::with_capacity(topics.len());
        for part in topics.chunks(COUNTED_AT_ONCE) {
            let topics: Arc<[TopicName]> = part.into();
            let of_shards = self.ask(|answer| Control::CountByPattern { topics: Arc::clone(&topics), answer }).await;
            counts.extend((0..part.len()).map(|index| of_shards.iter().filter_map(|counts| counts.get(index)).sum::<usize>()));
        }
        counts
    }

    /// Closes the session `id`. Returns `false` if there is no such session.
    pub async fn close(&self, id: SessionId, code: CloseCode, reason: &'static str) -> bool {
        self.ask(|answer| Control::Close { id, code, reason, answer }).await.contains(&true)
    }

    /// Executes `command` in `sessions`. Returns the number of sessions on which it had an effect.
    pub async fn execute(&self, sessions: UserSessions, command: AdminCommand) -> usize {
        let command = Arc::new((sessions, command));
        self.ask(|answer| Control::Execute { command: Arc::clone(&command), answer }).await.into_iter().sum()
    }

    /// Closes `sessions` with 4009. Returns the number of closed sessions.
    pub async fn close_user(&self, sessions: UserSessions) -> usize {
        let sessions = Arc::new(sessions);
        self.ask(|answer| Control::CloseUser { sessions: Arc::clone(&sessions), answer }).await.into_iter().sum()
    }

    /// Tells every session that the gateway drains, and closes each session with 1001 at a random moment within `over`.
    /// Returns when no session is left. Sessions that begin later are told and closed too; a second call waits for
    /// them.
    pub async fn drain(&self, over: Duration) {
        self.ask(|answer| Control::Drain { over, answer }).await;
    }

    /// Stops all shards. Their threads end even while sessions are left.
    pub fn stop(&self) {
        self.inboxes.iter().for_each(|inbox| inbox.control(Control::Stop));
    }

    /// The inbox of the shard with the fewest sessions and pending connections. Shards with the same number take turns.
    fn next_inbox(&self) -> &Arc<Inbox> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.inboxes.len();
        let from_first = (first..self.inboxes.len()).chain(0..first).map(|index| &self.inboxes[index]);
        from_first.min_by_key(|inbox| inbox.load().occupied()).unwrap_or(&self.inboxes[first])
    }

    /// Asks every shard at once. Returns the answers of the shards that gave one.
    async fn ask<A>(&self, question: impl Fn(oneshot::Sender<A>) -> Control) -> Vec<A> {
        let waiting: Vec<oneshot::Receiver<A>> = self
            .inboxes
            .iter()
            .map(|inbox| {
                let (answer, waiting) = oneshot::channel();
                inbox.control(question(answer));
                waiting
            })
            .collect();
        let mut answers = Vec::with_capacity(waiting.len());
        for answer in waiting {
            answers.extend(answer.await);
        }
        answers
    }
}
