//! The operations of a session in its shard while its reader is called: send, publish, ask, close.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::clock::Moment;
use crate::codes::{CloseCode, ErrorCode};
use crate::config::Config;
use crate::dialect::centrifugo::{Disconnect, ErrorReply, Reply};
use crate::dialect::{Event, RequestId, StreamPosition};
use crate::frame::OpCode;
use crate::hub::{Disabled, HistoryPage, HistoryPart, Payer, Publication, PublishError, ReadFrom, Receipt, Submitted};
use crate::metrics::{CloseReason, CommandOp, LimitKey, Recovery};
use crate::position::{Offset, Position};
use crate::session_id::Member;
use crate::shard::slot::InputWait;
use crate::shard::state::ShardState;
use crate::topic_name::TopicName;

/// One session in its shard, valid for one call of its reader.
///
/// A command whose answer is [`Poll::Pending`] is repeated: the session keeps it and executes no later one, and its
/// reader is called again once the session's waker is woken, or in the session's next turn. Other sessions continue
/// meanwhile. A publication that an engine accepted is not submitted again: its receipt is polled, and the session may
/// publish more before the receipt has its answer.
pub struct SessionContext<'a> {
    pub(super) state: &'a mut ShardState,
    pub(super) slot: u32,
    /// What the session's pending command waits for.
    waits: InputWait,
    /// The session waits for an answer of an engine, and its socket is read meanwhile.
    awaits_engine: bool,
}

impl<'a> SessionContext<'a> {
    /// The session in `slot`.
    pub fn new(state: &'a mut ShardState, slot: u32) -> Self {
        Self { state, slot, waits: InputWait::Nothing, awaits_engine: false }
    }

    /// What the session's pending command waits for.
    pub fn waits(&self) -> InputWait {
        self.waits
    }

    /// Whether the reader is to be called again even without new input, while the socket is read.
    pub fn awaits_engine(&self) -> bool {
        self.awaits_engine
    }

    /// The time at which this tick began.
    pub fn now(&self) -> Moment {
        self.state.env.now
    }

    /// The configuration of this tick.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.state.env.config)
    }

    /// The time between two heartbeats of the session.
    pub fn heartbeat_interval(&self) -> Duration {
        let limits = &self.state.env.config.limits;
        self.state.delivery.outgoing.encoding(self.slot).map_or(limits.ping_interval, |encoding| encoding.heartbeat(limits).interval)
    }

    /// The client's address, as limits count it.
    pub fn address(&self) -> IpAddr {
        self.state.table.get(self.slot).map_or(Ipv4Addr::UNSPECIFIED.into(), |connection| connection.address().ip())
    }

    /// The number of the session's shard.
    pub fn shard(&self) -> usize {
        self.state.env.index()
    }

    /// Counts a command.
    pub fn count_command(&mut self, op: CommandOp) {
        self.state.env.tally.count(op, 1);
    }

    /// Counts whether a subscription with `since` got all messages that it had missed.
    pub fn count_recovery(&mut self, recovered: bool) {
        self.state.env.tally.count(if recovered { Recovery::Recovered } else { Recovery::Lost }, 1);
    }

    /// Counts that this session has reached `limit`.
    pub fn limit_hit(&mut self, limit: LimitKey) {
        self.state.env.tally.limit_hit(limit);
    }

    /// Notes that the reader holds commands that it has decoded and not carried out. The reader is called again in a
    /// later tick even without new input. If replies fill the outbox, this waits until they are written.
    pub fn call_again(&mut self) {
        self.waits = InputWait::Outbox;
        if self.may_execute() {
            self.state.table.schedule(self.slot);
        }
    }

    /// Has the reader called in the session's next turn, even without new input.
    pub fn call_in_turn(&mut self) {
        self.waits = self.waits.max(InputWait::Waker);
        self.state.table.schedule(self.slot);
    }

    /// Answers that a command is pending until the session's next turn.
    pub fn wait_for_turn(&mut self) -> Poll<()> {
        self.waits = self.waits.max(InputWait::Turn);
        self.state.table.schedule(self.slot);
        Poll::Pending
    }

    /// Whether the session begins after so many others in this tick that it leaves a long command to its first turn.
    pub fn begins_late(&mut self) -> bool {
        self.state.table.turns().begins_late()
    }

    /// Whether the session has had its turn, and is to carry out no further command in this call. Other sessions are
    /// served then, and live messages. The reader is called again with the input that it has not used.
    pub fn is_turn_over(&mut self) -> bool {
        self.state.is_turn_over()
    }

    /// Whether the session is neither closing nor gone.
    pub fn is_open(&self) -> bool {
        self.state.table.is_open(self.slot)
    }

    /// Whether the session may carry out more commands. It may not while its replies and echoes hold `outbox_bytes` or
    /// more.
    pub fn may_execute(&self) -> bool {
        self.is_open() && self.state.delivery.reply_bytes(self.slot) < self.state.env.config.limits.outbox_bytes
    }

    /// Queues `event` for the session, in its dialect.
    pub fn send(&mut self, event: &Event<'_>) {
        self.state.queue_event(self.slot, event);
    }

    /// Queues a reply in Centrifugo's protocol.
    pub fn reply(&mut self, reply: &Reply<'_>) {
        self.state.delivery.reply(self.slot, reply, &mut self.state.env.tally);
    }

    /// Refuses a command in Centrifugo's protocol. `code` is the error that the metrics count.
    pub fn refuse_with(&mut self, id: u32, error: ErrorReply, code: ErrorCode) {
        self.state.env.tally.count(code, 1);
        self.reply(&Reply::Error { id, error });
    }

    /// Sets the position of the session's stream. From now on each message carries the position behind it.
    pub fn set_stream_position(&mut self, position: StreamPosition) {
        self.state.delivery.set_stream_position(self.slot, position);
    }

    /// Refuses a command.
    pub fn refuse(&mut self, id: Option<RequestId<'_>>, code: ErrorCode, message: &str) {
        self.state.env.tally.count(code, 1);
        self.send(&Event::Error { id, code, message });
    }

    /// Sends a message of the session back to it.
    pub fn echo(&mut self, opcode: OpCode, payload: &[u8]) {
        self.state.delivery.echo(self.slot, opcode, payload, &mut self.state.env.tally);
    }

    /// Answers a Ping.
    pub fn pong(&mut self, payload: &[u8]) {
        self.state.delivery.queue_heartbeat_answer(self.slot, payload);
    }

    /// Closes the session: a Close with `code` goes out behind the waiting frames.
    pub fn close(&mut self, code: CloseCode, reason: &str, why: CloseReason) {
        self.state.close(self.slot, code, reason, why);
    }

    /// Closes a session of Centrifugo's protocol with the code and reason of `disconnect`.
    pub fn disconnect(&mut self, disconnect: Disconnect, why: CloseReason) {
        self.state.close_with(self.slot, Some(disconnect.code), disconnect.reason, why);
    }

    /// Answers the peer's Close with the peer's `code`, or with a Close without a code.
    pub fn answer_close(&mut self, code: Option<u16>, why: CloseReason) {
        self.state.close_with(self.slot, code, "", why);
    }

    /// Sets the moment at which [`Reader::on_deadline`](crate::shard::Reader::on_deadline) is called; `None`: never.
    pub fn set_deadline(&mut self, moment: Option<Moment>) {
        if let Some(connection) = self.state.table.get_mut(self.slot) {
            connection.liveness().set_deadline(moment);
        }
    }

    /// Publishes. A publication that went to an engine has its answer later, by [`SessionContext::received`].
    pub fn publish(&mut self, topic: &TopicName, publication: &Publication<'_>) -> Poll<Result<Submitted, PublishError>> {
        let payer = self.payer();
        let publisher = self.waker().unwrap_or_else(|| Waker::noop().clone());
        match self.state.env.hub().poll_submit(topic, &Publication { payer: payer.as_ref(), ..*publication }, &publisher) {
            Poll::Pending => self.wait(),
            submitted => submitted,
        }
    }

    /// The answer of an engine to a publication. With `keeps_reading`, the session's socket is read while the answer is
    /// pending.
    pub fn received(&mut self, receipt: &Receipt, keeps_reading: bool) -> Poll<Result<Position, PublishError>> {
        let answer = self.waker().map_or(Poll::Pending, |waker| receipt.poll(&waker));
        if answer.is_pending() && !keeps_reading {
            return self.wait();
        }
        self.awaits_engine |= answer.is_pending();
        answer
    }

    /// The messages in the history of `topic` after `since`, or its newest `limit` messages.
    pub fn history(&mut self, topic: &TopicName, since: Option<Offset>, limit: usize) -> Poll<Result<HistoryPage, Disabled>> {
        Poll::Ready(self.state.env.hub().history(topic, since, limit))
    }

    /// A part of the history of `topic`. The topic begins to live if it did not.
    pub fn history_part(
        &mut self,
        topic: &TopicName,
        from: ReadFrom,
        limit: usize,
    ) -> Poll<Result<Result<HistoryPart, Disabled>, PublishError>> {
        Poll::Ready(self.state.env.hub().history_part(topic, from, limit, self.payer().as_ref()))
    }

    /// The members of `topic`: the sessions that are subscribed to it by name.
    pub fn presence(&mut self, topic: &TopicName) -> Poll<Result<Vec<Member>, Disabled>> {
        let members = self.state.env.hub().presence(topic);
        let (pushed, processed) = (self.pushed(), self.state.env.processed());
        self.state.presence.ask(topic, pushed, processed);
        Poll::Ready(members)
    }

    /// The newest position of a topic; `None`: the hub has no such topic.
    pub fn position(&self, topic: &TopicName) -> Option<Position> {
        self.state.env.hub().position(topic)
    }

    /// How many items the shard's inbox has received so far.
    pub fn pushed(&self) -> u64 {
        self.state.env.pushed()
    }

    /// Ready once the shard has processed the first `pushed` items of its inbox.
    pub fn when_processed(&mut self, pushed: u64) -> Poll<()> {
        if self.state.has_processed(self.slot, pushed) {
            return Poll::Ready(());
        }
        self.state.table.schedule(self.slot);
        self.wait()
    }

    /// The payer of the topics that the session brings to life: its address.
    pub(super) fn payer(&self) -> Option<Payer> {
        self.state.table.get(self.slot).map(|connection| Payer::of_address(connection.address().ip()))
    }

    fn waker(&self) -> Option<Waker> {
        self.state.table.get(self.slot).map(|connection| connection.waker())
    }

    /// Answers that a command is pending. The reader is called again once the session's waker is woken or its slot is
    /// scheduled.
    pub(super) fn wait<T>(&mut self) -> Poll<T> {
        self.waits = self.waits.max(InputWait::Waker);
        Poll::Pending
    }
}
