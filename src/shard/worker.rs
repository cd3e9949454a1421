//! A shard's loop: read what is ready, drain the inbox, fan out, flush, sweep.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::control::Control;
use super::drain::Drain;
use super::flush::Flush;
use super::inbox::Item;
use super::lobby::Lobby;
use super::newcomer::{SessionView, Visitor};
use super::rest::{Rest, flushes_whole, rest_after};
use super::sessions::{Parts, Sessions, encoder};
use super::slot::Slot;
use super::sweep::sweep_interval;
use crate::clock::Moment;
use crate::config::Rules;
use crate::frame::Inflater;
use crate::metrics::CloseReason;
use crate::session_id::Member;
use crate::topic_name::TopicName;

/// The buffer that a shard lends to the session whose socket it reads, in bytes. It bounds a session's share of a turn.
const READ_BUFFER_BYTES: usize = 64 << 10;

/// Reads of one socket in a turn: under TLS each gives a record of 16 KiB at most.
const READS_PER_TURN: usize = 4;

/// Messages that a turn takes from the inbox at once, at most; it takes twice. No more than two shares wait to be written.
const SHARE_MESSAGES: usize = 512;

/// Their bytes, at most; and never more than an eighth of an outbox, so that a pass can't fill one before a write was tried.
const SHARE_BYTES: usize = 128 << 10;

/// Sessions that a turn writes to before it looks at its sockets and its inbox again: about half a millisecond.
const FLUSHED_PER_TURN: usize = 128;

/// Pieces of history that a turn gives out, about a millisecond's work: where many come back at once, what is live does not wait
/// until all have had theirs.
const PIECES_PER_TURN: usize = 16;

/// The same where the turn has written a part of what waits.
const PIECES_WITHIN_PASS: usize = 2;

/// So many turns of a pass may go by before all outboxes are counted together.
const BUDGET_TURNS: u64 = 8;

/// Between two sweeps while the gateway drains, so that sessions leave at their own moments.
const DRAIN_SWEEP_INTERVAL: Duration = Duration::from_millis(20);

/// One shard at work.
pub struct Worker {
    sessions: Sessions,
    lobby: Lobby,
    shards: usize,
    buffer: Vec<u8>,
    inflater: Inflater,
    flush: Flush,
    share: VecDeque<Item>,
    ready: Vec<u32>,
    visitors: Vec<Visitor>,
    generation: u64,
    swept_at: Moment,
    /// How long this pass's flush has taken.
    flushed_for: Duration,
    turns: u64,
    drained: Option<oneshot::Sender<()>>,
    stopped: bool,
}

impl Worker {
    /// A shard without sessions, one of `shards`.
    pub fn new(parts: Parts, shards: usize) -> Self {
        let sessions = Sessions::new(parts);
        Self {
            generation: sessions.live.generation(),
            swept_at: sessions.now,
            sessions,
            lobby: Lobby::default(),
            shards,
            buffer: vec![0; READ_BUFFER_BYTES],
            inflater: Inflater::default(),
            flush: Flush::default(),
            share: VecDeque::new(),
            ready: Vec::new(),
            visitors: Vec::new(),
            flushed_for: Duration::ZERO,
            turns: 0,
            drained: None,
            stopped: false,
        }
    }

    /// Works until it is stopped.
    pub async fn run(mut self) {
        let timer = Rest::new().inspect_err(|error| tracing::warn!(%error, "no timer for server.coalesce, so it does nothing")).ok();
        while !self.stopped {
            let more = self.turn();
            // The runtime looks at the sockets during each of these.
            match (&timer, rest_after(self.flushed_for, self.sessions.config.server.coalesce)) {
                (Some(timer), Some(rest)) if self.sessions.awaiting.is_empty() && self.sessions.pass.is_empty() => {
                    if let Err(error) = timer.take(rest).await {
                        tracing::warn!(%error, "the timer for server.coalesce failed");
                    }
                }
                _ if more => tokio::task::yield_now().await,
                _ => self.wait().await,
            }
        }
    }

    /// One turn; whether there is more to do at once.
    fn turn(&mut self) -> bool {
        self.sessions.now = self.sessions.clock.moment();
        if self.sessions.pass.is_empty() {
            self.flushed_for = Duration::ZERO;
        }
        self.follow_config();
        // What was published before a command came goes out before its answer.
        self.drain_inbox();
        self.read_ready();
        let left = self.drain_inbox();
        self.sessions.send_due();
        self.sweep_if_due();
        let all_answered = self.meet_visitors();
        let flush_began = self.sessions.clock.moment();
        let whole = self.stopped || self.sessions.pass.is_full() || flushes_whole(self.sessions.config.server.coalesce);
        let most = if whole { usize::MAX } else { FLUSHED_PER_TURN };
        let all_written = self.sessions.flush(&mut self.flush, most);
        self.flushed_for += self.sessions.clock.moment().since(flush_began);
        self.sessions.give_out_history(if all_written { PIECES_PER_TURN } else { PIECES_WITHIN_PASS });
        self.turns += 1;
        if all_written || self.turns.is_multiple_of(BUDGET_TURNS) {
            self.sessions.keep_budget(self.sessions.config.limits.outbox_total_bytes / self.shards);
        }
        self.settle_floors();
        let all_written = all_written && self.sessions.flush(&mut self.flush, most);
        self.sessions.tally.hand_over();
        if self.sessions.open == 0
            && self.sessions.slots.is_empty()
            && let Some(drained) = self.drained.take()
        {
            let _ = drained.send(()); // whoever asked may have stopped waiting
        }
        left || !all_answered || !all_written || !self.sessions.again.is_empty() || !self.sessions.awaiting.is_empty()
    }

    /// Lets in who has come, and looks at those that have said something; whether at all of them.
    fn meet_visitors(&mut self) -> bool {
        let Self { sessions, lobby, visitors, buffer, .. } = self;
        sessions.inbox.take_visitors(visitors);
        visitors.drain(..).for_each(|visitor| lobby.receive(visitor, &sessions.inbox));
        lobby.answer(buffer, sessions)
    }

    /// Waits for the inbox, for a socket or for the next thing that is due.
    async fn wait(&mut self) {
        let now = self.sessions.clock.moment();
        let sweep_at = self.swept_at + self.sweep_interval();
        let next = self.sessions.due.next().map_or(sweep_at, |at| at.min(sweep_at));
        let mut timer = std::pin::pin!(tokio::time::sleep_until(Instant::now() + next.since(now)));
        let (inbox, ready, lobby) = (&self.sessions.inbox, &self.sessions.ready, &self.lobby);
        let mut waited = false;
        poll_fn(|context: &mut Context<'_>| {
            let waker = context.waker();
            let filled = inbox.is_filled_or_wakes(waker) | ready.is_filled_or_wakes(waker) | lobby.is_heard_or_wakes(waker);
            let over = if filled { Poll::Ready(()) } else { timer.as_mut().poll(context) };
            waited |= over.is_pending();
            over
        })
        .await;
        if !waited {
            tokio::task::yield_now().await; // however much comes, the runtime has its turn
        }
    }

    fn follow_config(&mut self) {
        let generation = self.sessions.live.generation();
        if self.generation == generation {
            return;
        }
        self.generation = generation;
        let config = self.sessions.live.load();
        self.sessions.inbox.set_bytes_max(config.limits.inbox_bytes);
        self.sessions.encoder = encoder(&config);
        let former = std::mem::replace(&mut self.sessions.config, config);
        for slot in self.sessions.occupied() {
            self.sessions.call(slot, |reader, seat| reader.reload(seat));
        }
        self.sessions.enter_presence(&former.rules);
    }

    fn read_ready(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        ready.append(&mut self.sessions.again);
        self.sessions.ready.take(&mut ready);
        ready.sort_unstable();
        ready.dedup();
        for slot in ready.drain(..) {
            // What answers a session leaves before more is asked, so that no chain grows by what its own session sends.
            let Sessions { slots, pass, .. } = &self.sessions;
            if slots.get(slot).is_some_and(|session| session.has_first_words() || pass.has_answers(session.chain)) {
                self.sessions.again.push(slot);
                continue;
            }
            self.read(slot);
            // What waits for it already goes first; the flush does both.
            if self.sessions.slot(slot).is_some_and(|session| session.chain.is_empty()) {
                self.sessions.write_outbox(slot);
            }
        }
        self.ready = ready;
    }

    /// Reads what one session's socket has, at most a buffer's worth.
    fn read(&mut self, slot: u32) {
        self.sessions.reply_bytes = 0;
        let Some(session) = self.sessions.slot(slot) else { return };
        if session.is_open() && (session.paused || !session.unread.is_empty()) {
            session.paused = false;
            let mut unread = std::mem::take(&mut session.unread);
            let used = self.hand_up(slot, &mut unread);
            unread.drain(..used);
            let Some(session) = self.sessions.slot(slot).filter(|session| session.is_open()) else { return };
            if session.paused || !unread.is_empty() {
                session.unread = unread;
                return;
            }
        }
        let now = self.sessions.now;
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut reads = 0;
        // A short read tells the runtime that the socket is empty; the poll after it arms the waker without a system call.
        loop {
            if reads == READS_PER_TURN {
                self.sessions.again.push(slot);
                break;
            }
            reads += 1;
            let Some(session) = self.sessions.slot(slot) else { break };
            let waker = session.waker();
            match session.socket.poll_read(&mut Context::from_waker(&waker), &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => {
                    self.sessions.end(slot, CloseReason::Gone);
                    break;
                }
                Poll::Ready(Ok(read)) => {
                    session.heard_at = now;
                    let open = session.is_open();
                    self.sessions.tally.received_bytes(read as u64);
                    if !open {
                        continue; // what comes after our Close is discarded
                    }
                    let used = self.hand_up(slot, &mut buffer[..read]);
                    if let Some(session) = self.sessions.slot(slot).filter(|session| session.is_open() && (used < read || session.paused)) {
                        session.unread.extend_from_slice(&buffer[used..read]);
                        break;
                    }
                    if read == buffer.len() {
                        self.sessions.again.push(slot);
                        break;
                    }
                }
            }
        }
        self.buffer = buffer;
    }

    fn hand_up(&mut self, slot: u32, input: &mut [u8]) -> usize {
        let Self { sessions, inflater, .. } = self;
        sessions.call(slot, |reader, seat| reader.read(input, inflater, seat)).unwrap_or(input.len())
    }

    /// Takes a share of the inbox; whether items are left.
    fn drain_inbox(&mut self) -> bool {
        let mut share = std::mem::take(&mut self.share);
        let bytes = SHARE_BYTES.min(self.sessions.config.limits.outbox_bytes / 8).max(1);
        let room = self.sessions.pass.room(2 * SHARE_MESSAGES, 2 * bytes);
        let left = self.sessions.inbox.take(&mut share, SHARE_MESSAGES.min(room.0), bytes.min(room.1));
        for item in share.drain(..) {
            self.sessions.taken += 1;
            match item {
                Item::Message(message) => self.sessions.fan_out(&message),
                Item::Presence(change) => self.sessions.fan_out_presence(&change),
                Item::Control(control) => self.obey(control),
            }
        }
        self.share = share;
        self.sessions.metrics.set_shard_inbox(self.sessions.index, left);
        left > 0
    }

    fn obey(&mut self, control: Control) {
        match control {
            Control::Expect { newcomer, answer } => {
                self.sessions.expect(*newcomer);
                let _ = answer.send(()); // whoever waits may have gone
            }
            Control::Seat { newcomer, arrived } => self.sessions.seat(*newcomer, *arrived),
            Control::Arrive { id, arrived } => self.sessions.arrive(id, *arrived),
            Control::Forsake { id } => self.sessions.forsake(id),
            Control::Slowest { limit, answer } => {
                let _ = answer.send(self.slowest(limit)); // whoever asked may have gone
            }
            Control::Close { id, code, reason, answer } => {
                let found = self.sessions.slots.iter().find(|(_, session)| session.id == id && session.is_open()).map(|(slot, _)| slot);
                if let Some(slot) = found {
                    self.sessions.close(slot, Some(code.number()), reason, CloseReason::Operator);
                }
                let _ = answer.send(found.is_some());
            }
            Control::Drain { over, answer } => {
                self.drained = Some(answer);
                self.drain(over);
            }
            Control::Stop => self.stopped = true,
        }
    }

    fn slowest(&self, limit: usize) -> Vec<SessionView> {
        let now = self.sessions.now;
        let open = self.sessions.slots.iter().map(|(_, session)| session).filter(|session| session.is_open());
        let mut views: Vec<SessionView> = open.map(|slot| view(slot, now)).collect();
        views.sort_by_key(|view| std::cmp::Reverse(view.outbox_bytes));
        views.truncate(limit);
        views
    }

    fn drain(&mut self, over: Duration) {
        if self.sessions.draining.is_some() {
            return; // all have been told
        }
        self.sessions.draining = Some(Drain::new(over, self.sessions.now));
        for slot in self.sessions.occupied() {
            self.sessions.send_away(slot);
        }
    }

    fn sweep_interval(&self) -> Duration {
        match self.sessions.draining {
            Some(_) => DRAIN_SWEEP_INTERVAL,
            None => sweep_interval(&self.sessions.config.limits),
        }
    }

    fn sweep_if_due(&mut self) {
        let now = self.sessions.now;
        if now.since(self.swept_at) >= self.sweep_interval() {
            self.swept_at = now;
            self.sessions.sweep();
            self.lobby.sweep(Instant::now(), &self.sessions.inbox);
        }
    }

    fn settle_floors(&mut self) {
        let Sessions { floored, slots, taken, .. } = &mut self.sessions;
        floored.retain(|&(until_taken, slot)| {
            let passed = until_taken <= *taken;
            if passed && let Some(session) = slots.get_mut(slot) {
                let left = session.replays.as_mut().is_some_and(|replays| replays.settle(*taken));
                if !left {
                    session.replays = None;
                }
            }
            !passed
        });
    }
}

fn view(slot: &Slot, now: Moment) -> SessionView {
    let queued = slot.outbox.as_ref().and_then(|outbox| outbox.oldest()).map(|message| (&message.topic, message.moment));
    let held = slot.paces.as_ref().and_then(|paces| paces.oldest()).map(|message| (&message.topic, message.moment));
    let oldest = [queued, held].into_iter().flatten().min_by_key(|&(_, moment)| moment);
    SessionView {
        id: slot.id,
        user: slot.reader.as_ref().and_then(|reader| reader.user()),
        address: slot.address,
        dialect: slot.variant.dialect,
        outbox_bytes: slot.outbox_bytes(),
        oldest: oldest.map(|(topic, moment)| (topic.clone(), now.since(moment))),
    }
}

impl Sessions {
    /// Where the rules in force turn presence on and `former` had it off, whoever is subscribed by name is there from now on.
    fn enter_presence(&self, former: &Rules) {
        let rules = &self.config.rules;
        if rules == former || !rules.iter().any(|rule| rule.presence) {
            return;
        }
        let turned_on = |topic: &TopicName| rules.of(topic).presence && !former.of(topic).presence;
        for (_, session) in self.slots.iter().filter(|(_, session)| session.is_open()) {
            let member = Member { session: session.id, user: session.reader.as_ref().and_then(|reader| reader.user()) };
            let names = session.subscriptions.iter().filter_map(|subscription| subscription.pattern.as_name());
            names.filter(turned_on).for_each(|topic| self.hub.enter(&topic, &member));
        }
    }

    /// The slots that have an open session.
    fn occupied(&self) -> Vec<u32> {
        self.slots.iter().filter(|(_, session)| session.is_open()).map(|(slot, _)| slot).collect()
    }
}

/// Runs a worker on the current thread, in a runtime of its own.
pub fn run_on_this_thread(runtime: &tokio::runtime::Runtime, parts: Parts, shards: usize) {
    // The runtime's co-operative budget would tell a turn's later sockets that they are full.
    runtime.block_on(tokio::task::unconstrained(Worker::new(parts, shards).run()));
}

#[cfg(test)]
mod tests {
    use super::super::outbox::{Queued, What};
    use super::super::tests::bench::{newcomer, parts};
    use super::*;

    /// A pass ends however long there is always something for somebody, and its memory is used anew.
    #[test]
    fn a_pass_ends_under_load_without_end() {
        const SESSIONS: usize = 2 * FLUSHED_PER_TURN;
        let mut worker = Worker::new(parts(), 1);
        (0..SESSIONS).for_each(|_| worker.sessions.expect(newcomer()));
        let (mut passes, mut given) = (0, 0);
        for _ in 0..1_000 {
            for slot in worker.sessions.occupied() {
                if worker.sessions.slot(slot).is_some_and(|session| session.chain.is_empty()) {
                    worker.sessions.queue(slot, Queued { frame: b"1".to_vec().into(), what: What::Reply });
                    given += 1;
                }
            }
            worker.turn();
            passes += usize::from(worker.sessions.pass.is_empty());
            assert!(!worker.sessions.pass.is_full(), "after {given} frames and {passes} passes");
        }
        assert!((1..100).contains(&passes), "{passes} passes of {given} frames");
    }
}
