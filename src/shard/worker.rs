//! The loop of a shard. Each tick processes a share of the inbox, reads ready sockets, fans out, flushes, and sweeps if due.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;

use super::delivery::{CoalescingTimer, flushes_whole, pause_after};
use super::env::ShardParts;
use super::intake::{Control, Inbox, Item, PendingConnection, PendingHandshakes};
use super::sessions::Sessions;
use super::upkeep::{Drain, bound_bookkeeping, bound_outboxes, bound_paced, sweep_interval};
use crate::clock::Moment;
use crate::hub::Message;

/// The size of the buffer that a shard lends to the session whose socket it reads, in bytes.
const READ_BUFFER_BYTES: usize = 64 << 10;

/// The most messages that a tick takes from the inbox at once. A tick takes twice, and no more than two such shares
/// wait to be written.
const SHARE_MESSAGES: usize = 512;

/// The most bytes of such a share. A share is also at most an eighth of an outbox, so that no write batch fills an
/// outbox before a write was tried.
const SHARE_BYTES: usize = 128 << 10;

/// The most sessions that a tick writes to before the sockets and the inbox are looked at again: about half a
/// millisecond.
const FLUSHED_PER_TICK: usize = 128;

/// The most pieces of history that a tick gives out: about a millisecond's work. The bound keeps live messages from
/// waiting when many sessions return at once.
const PIECES_PER_TICK: usize = 16;

/// The most pieces of history in a tick that has written only a part of the write batch.
const PIECES_WITHIN_BATCH: usize = 2;

/// While a write batch lasts, or sessions wait for their turns, the bytes of all outboxes are summed every 8 ticks.
const BUDGET_TICKS: u64 = 8;

/// The time between two sweeps while the gateway drains. It is short, so that sessions are closed close to their own
/// random moments.
const DRAIN_SWEEP_INTERVAL: Duration = Duration::from_millis(20);

/// The longest time after which a shard whose publishers wait calls the next of them.
const PUBLISHERS_LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// The loop of one shard and what it works on.
pub struct Worker {
    sessions: Sessions,
    inbox: Arc<Inbox>,
    pending: PendingHandshakes,
    shards: usize,
    buffer: Vec<u8>,
    share: VecDeque<Item>,
    connections: Vec<PendingConnection>,
    /// The moment of the last complete sweep.
    swept_at: Moment,
    /// The time that the flushes of this write batch have taken.
    flushed_for: Duration,
    ticks: u64,
    /// Whether publishers wait for room in the inbox.
    publishers_wait: bool,
    /// Requests to drain; each is answered when no session is left.
    drained: Vec<oneshot::Sender<()>>,
    stopped: bool,
}

impl Worker {
    /// One of `shards` shards, without sessions.
    pub fn new(parts: ShardParts, inbox: Arc<Inbox>, shards: usize) -> Self {
        let sessions = Sessions::new(parts);
        Self {
            swept_at: sessions.state.env.now,
            pending: PendingHandshakes::new(inbox.load()),
            sessions,
            inbox,
            shards,
            buffer: vec![0; READ_BUFFER_BYTES],
            share: VecDeque::new(),
            connections: Vec::new(),
            flushed_for: Duration::ZERO,
            ticks: 0,
            publishers_wait: false,
            drained: Vec::new(),
            stopped: false,
        }
    }

    /// Runs ticks until the shard is stopped.
    pub async fn run(mut self) {
        let mut timer =
            CoalescingTimer::new().inspect_err(|error| tracing::warn!(%error, "no timer for server.coalesce, so it does nothing")).ok();
        while !self.stopped {
            let more = self.tick();
            let state = &self.sessions.state;
            let may_pause = state.delivery.is_idle() && !state.catch_up.has_queued();
            // The runtime polls the sockets during each of these waits.
            match (&timer, pause_after(self.flushed_for, state.env.config.server.coalesce)) {
                (Some(working), Some(pause)) if may_pause => {
                    if let Err(error) = working.wait(pause).await {
                        tracing::warn!(%error, "the timer for server.coalesce failed, so server.coalesce does nothing from now on");
                        timer = None; // the timer would fail at once again, and the shard would spin
                    }
                }
                _ if more => tokio::task::yield_now().await,
                _ => self.wait().await,
            }
        }
    }

    /// Runs one tick. Returns whether there is more to do at once.
    fn tick(&mut self) -> bool {
        self.sessions.state.begin_tick();
        if self.sessions.state.delivery.is_idle() {
            self.flushed_for = Duration::ZERO;
        }
        self.follow_config();
        // Messages that were published before a command came go out before the answer to the command.
        self.process_share();
        self.sessions.read_ready(&mut self.buffer);
        let left = self.process_share();
        self.sessions.state.tell_changes();
        self.sessions.state.send_due();
        self.sessions.state.continue_adapting();
        let all_swept = self.sweep_if_due();
        bound_paced(&mut self.sessions.state);
        let all_answered = self.answer_handshakes();
        let all_written = self.write();
        self.sessions.tell_lapsed();
        self.sessions.charge_work();
        self.sessions.drop_closing();
        self.sessions.show_input();
        let follows = self.sessions.are_following();
        let state = &mut self.sessions.state;
        state.unsubscribe_ended_sessions();
        state.release_ended();
        state.env.tally.hand_over();
        if state.table.is_empty() && !state.has_ended() {
            for drained in self.drained.drain(..) {
                let _ = drained.send(()); // the requester may have stopped waiting
            }
        }
        let waits = state.catch_up.has_queued() || state.presence.due(state.env.now).is_some_and(|due| due <= state.env.now);
        left || !all_answered
            || !all_written
            || !all_swept
            || state.table.has_more()
            || follows
            || state.delivery.subscribers.has_ended()
            || state.pacing.has_adapting()
            || state.has_ended()
            || waits
    }

    /// Flushes the write batch or a part of it, and gives out a share of history. Returns whether the write batch is
    /// complete.
    fn write(&mut self) -> bool {
        let state = &mut self.sessions.state;
        let began = state.env.moment();
        let whole = self.stopped || state.delivery.is_full() || flushes_whole(state.env.config.server.coalesce);
        let most = if whole { usize::MAX } else { FLUSHED_PER_TICK };
        let all_written = state.flush(most);
        self.flushed_for += state.env.moment().since(began);
        state.serve_history(if all_written { PIECES_PER_TICK } else { PIECES_WITHIN_BATCH });
        self.ticks += 1;
        if all_written && !state.table.has_more() || self.ticks.is_multiple_of(BUDGET_TICKS) {
            let share = state.env.config.limits.outbox_total_bytes / self.shards;
            bound_outboxes(state, share);
            bound_bookkeeping(state);
        }
        state.catch_up.forget_passed(state.env.processed());
        all_written && state.flush(most)
    }

    /// Takes the new connections, and reads the pending handshakes that have sent something. Returns whether none of
    /// these is left for the next tick.
    fn answer_handshakes(&mut self) -> bool {
        let Self { sessions, inbox, pending, connections, buffer, .. } = self;
        inbox.take_connections(connections);
        let clock = sessions.state.env.clock();
        connections.drain(..).for_each(|connection| pending.receive(connection, sessions.state.env.now));
        pending.answer(buffer, |admitted, tcp, rest| sessions.admit(admitted, tcp, rest), || clock.moment())
    }

    /// Waits for the inbox, for a socket, or for the next moment at which something is due.
    async fn wait(&mut self) {
        let state = &self.sessions.state;
        let now = state.env.moment();
        let sweep_at = self.swept_at + self.sweep_interval();
        let look_at = self.publishers_wait.then(|| now + PUBLISHERS_LOOK_INTERVAL);
        let next = [state.pacing.next(), state.presence.due(now), look_at].into_iter().flatten().fold(sweep_at, Moment::min);
        let mut timer = std::pin::pin!(tokio::time::sleep(next.since(now)));
        let (inbox, table, pending) = (&self.inbox, &state.table, &self.pending);
        let mut waited = false;
        poll_fn(|context: &mut Context<'_>| {
            let waker = context.waker();
            let filled = inbox.is_filled_or_wakes(waker) | table.is_ready_or_wakes(waker) | pending.is_ready_or_wakes(waker);
            let over = if filled { Poll::Ready(()) } else { timer.as_mut().poll(context) };
            waited |= over.is_pending();
            over
        })
        .await;
        if !waited {
            tokio::task::yield_now().await; // under any load, the runtime has its turn
        }
    }

    fn follow_config(&mut self) {
        self.sessions.follow_config();
        self.inbox.set_bytes_max(self.sessions.state.env.config.limits.inbox_bytes);
    }

    /// Takes a share of the inbox and processes it. Returns whether items are left.
    fn process_share(&mut self) -> bool {
        let mut share = std::mem::take(&mut self.share);
        let state = &self.sessions.state;
        let bytes = SHARE_BYTES.min(state.env.config.limits.outbox_bytes / 8).max(1);
        let room = state.delivery.room(2 * SHARE_MESSAGES, 2 * bytes);
        let left = self.inbox.take(&mut share, SHARE_MESSAGES.min(room.0), bytes.min(room.1), state.env.now);
        for item in share.drain(..) {
            self.sessions.state.env.count_item();
            match item {
                Item::Message(message) => self.fan_out(&message),
                Item::LogReplaced(topic, after) => self.sessions.state.log_replaced(&topic, after),
                Item::Presence(change) => self.sessions.state.on_presence_change(&change),
                Item::Control(control) => self.execute_control(control),
            }
        }
        self.share = share;
        self.sessions.state.env.show_inbox(left.items);
        self.publishers_wait = left.publishers_wait;
        left.items > 0
    }

    /// Gives a message to its subscribers. Flushes the write batch if it is full then.
    fn fan_out(&mut self, message: &Message) {
        let state = &mut self.sessions.state;
        state.fan_out(message);
        if state.delivery.is_full() {
            state.flush(usize::MAX);
        }
    }

    fn execute_control(&mut self, control: Control) {
        match control {
            Control::Expect { session, answer } => {
                self.sessions.expect(*session);
                let _ = answer.send(()); // the requester may have gone
            }
            Control::Begin { session, arrived } => self.sessions.begin(*session, *arrived),
            Control::Arrive { id, arrived } => self.sessions.arrive(id, *arrived),
            Control::CancelExpected { id } => self.sessions.cancel_expected(id),
            Control::ForwardFrame { secret, frame, answer } => {
                let _ = answer.send(self.sessions.forward_frame(secret, frame)); // the requester may have gone
            }
            Control::Slowest { limit, answer } => {
                let _ = answer.send(self.sessions.slowest(limit)); // the requester may have gone
            }
            Control::CountByPattern { topics, answer } => {
                let _ = answer.send(self.sessions.count_by_pattern(&topics)); // the requester may have gone
            }
            Control::Close { id, code, reason, answer } => {
                let _ = answer.send(self.sessions.close(id, code, reason));
            }
            Control::CloseUser { sessions, answer } => {
                let _ = answer.send(self.sessions.close_user(&sessions));
            }
            Control::Execute { command, answer } => {
                let (sessions, command) = &*command;
                let _ = answer.send(self.sessions.execute(sessions, command));
            }
            Control::Drain { over, answer } => {
                self.drained.push(answer);
                self.sessions.drain(Drain::new(over, self.sessions.state.env.now));
            }
            Control::Stop => self.stopped = true,
        }
    }

    fn sweep_interval(&self) -> Duration {
        if self.sessions.is_draining() { DRAIN_SWEEP_INTERVAL } else { sweep_interval(&self.sessions.state.env.config.limits) }
    }

    /// Sweeps if it is time. Returns `false` if the next tick has to sweep on.
    fn sweep_if_due(&mut self) -> bool {
        let now = self.sessions.state.env.now;
        if now.since(self.swept_at) < self.sweep_interval() {
            return true;
        }
        self.pending.sweep(now);
        let is_complete = self.sessions.sweep();
        if is_complete {
            self.swept_at = now;
        }
        is_complete
    }
}

/// Runs a worker on the current thread, in a runtime of its own.
pub fn run_on_this_thread(runtime: &tokio::runtime::Runtime, parts: ShardParts, inbox: Arc<Inbox>, shards: usize) {
    // Unconstrained, because the runtime's co-operative budget would report the later sockets of a tick as not ready.
    runtime.block_on(tokio::task::unconstrained(Worker::new(parts, inbox, shards).run()));
}

#[cfg(test)]
mod tests {
    use super::super::delivery::{FrameKind, Queued};
    use super::super::tests::bench::{new_session, parts, parts_with};
    use super::super::tests::{name, pattern};
    use super::*;
    use crate::config::Config;

    /// A write batch ends even if there is always a frame for some session, and its memory is reused.
    #[test]
    fn a_write_batch_ends_under_load_without_end() {
        const SESSIONS: usize = 2 * FLUSHED_PER_TICK;
        let (parts, inbox) = parts();
        let mut worker = Worker::new(parts, inbox, 1);
        (0..SESSIONS).for_each(|_| worker.sessions.expect(new_session()));
        let (mut batches, mut given) = (0, 0);
        for _ in 0..1_000 {
            for slot in worker.sessions.state.table.open_slots() {
                let delivery = &mut worker.sessions.state.delivery;
                if delivery.owes_nothing(slot) {
                    delivery.queue(slot, Queued { frame: b"1".to_vec().into(), kind: FrameKind::Reply });
                    given += 1;
                }
            }
            worker.tick();
            batches += usize::from(worker.sessions.state.delivery.is_idle());
            assert!(!worker.sessions.state.delivery.is_full(), "after {given} frames and {batches} batches");
        }
        assert!((1..100).contains(&batches), "{batches} batches of {given} frames");
    }

    /// PROTOCOL 6: a sweep that leaves sessions of a drain is continued in the next tick. (It was continued after 20 ms,
    /// so a drain could outlast its time, and the rest of the sessions were dropped without a Close.)
    #[test]
    fn a_drain_sweeps_on_at_once() {
        const TOPICS: usize = 4_096;
        let (parts, inbox) = parts_with(&Config::default());
        let mut worker = Worker::new(parts, inbox, 1);
        let now = worker.sessions.state.env.now;
        for slot in 0..3 {
            worker.sessions.expect(new_session());
            let pacing = &mut worker.sessions.state.pacing;
            pacing.begin(slot, [(&pattern("c.*"), Some(Duration::from_secs(1)))].into_iter());
            (0..TOPICS).for_each(|number| pacing.begin_interval(slot, &name(&format!("c.{number}")), now));
        }
        worker.sessions.drain(Drain::new(Duration::ZERO, now));
        worker.sessions.state.env.clock().advance(DRAIN_SWEEP_INTERVAL);
        for left in [2, 1, 0] {
            let more = worker.tick();
            assert_eq!(worker.sessions.state.table.open_sessions(), left);
            assert!(more || left == 0);
        }
    }

    /// A second request to drain does not take the answer of the first.
    #[test]
    fn each_drain_is_answered() {
        let (parts, inbox) = parts();
        let mut worker = Worker::new(parts, inbox, 1);
        let mut waiting: Vec<oneshot::Receiver<()>> = Vec::new();
        for _ in 0..2 {
            let (answer, drained) = oneshot::channel();
            worker.execute_control(Control::Drain { over: Duration::ZERO, answer });
            waiting.push(drained);
        }
        worker.tick();
        assert!(waiting.iter_mut().all(|drained| drained.try_recv().is_ok()));
    }
}
