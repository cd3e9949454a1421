//! The operations of a session in its shard while its reader is called: say, subscribe, publish, ask, close.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::answer::Answer;
use super::slot::InputWait;
use super::state::ShardState;
use crate::clock::Moment;
use crate::codes::{CloseCode, ErrorCode};
use crate::config::Config;
use crate::dialect::centrifugo::{Disconnect, ErrorReply, Reply};
use crate::dialect::{Event, RequestId, StreamPosition};
use crate::frame::OpCode;
use crate::hub::{
    Disabled, HistoryPage, HistoryPart, Payer, Publication, PublishError, ReadFrom, Receipt, ReplayRequest, Start, Submitted, Topic,
};
use crate::metrics::{CloseReason, CommandOp, LimitKey, Recovery};
use crate::position::{Offset, Position};
use crate::session_id::Member;
use crate::topic_name::{Pattern, TopicName};

/// One session in its shard, valid for one call of its reader.
pub struct SessionContext<'a> {
    pub(super) state: &'a mut ShardState,
    pub(super) slot: u32,
    /// What the session's pending command waits for.
    waits: InputWait,
    /// The session waits for an answer of an engine, and its socket is read meanwhile.
    awaits: bool,
}

/// A topic that a session begins to receive, by name or by a pattern.
pub struct TopicStart {
    /// The topic.
    pub topic: Arc<Topic>,
    /// The position from which the session receives the topic.
    pub start: Start,
}

impl<'a> SessionContext<'a> {
    /// The session in `slot`.
    pub fn new(state: &'a mut ShardState, slot: u32) -> Self {
        Self { state, slot, waits: InputWait::Nothing, awaits: false }
    }

    /// What the session's pending command waits for.
    pub fn waits(&self) -> InputWait {
        self.waits
    }

    /// Whether the reader is to be called again even without new input, while the socket is read.
    pub fn awaits(&self) -> bool {
        self.awaits
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
        self.state.delivery.variant(self.slot).map_or(limits.ping_interval, |variant| variant.heartbeat(limits).interval)
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
        self.state.env.tally.command(op);
    }

    /// Counts whether a subscription with `since` got all messages that it had missed.
    pub fn count_recovery(&mut self, recovery: Recovery) {
        self.state.env.tally.recovery(recovery);
    }

    /// Counts that this session has reached `limit`.
    pub fn limit_hit(&mut self, limit: LimitKey) {
        self.state.env.tally.limit_hit(limit);
    }

    /// Notes that the reader holds commands that it has decoded and not carried out. The reader is called again in a
    /// later tick even without new input. If replies fill the outbox, this waits until they are written.
    pub fn hold(&mut self) {
        self.waits = InputWait::Outbox;
        if self.can_go_on() {
            self.state.table.schedule(self.slot);
        }
    }

    /// Whether the session is neither closing nor gone.
    pub fn is_open(&self) -> bool {
        self.state.table.is_open(self.slot)
    }

    /// Whether the session may carry out more commands. It may not while its replies and echoes hold `outbox_bytes` or
    /// more.
    pub fn can_go_on(&self) -> bool {
        self.is_open() && self.state.delivery.reply_bytes(self.slot) < self.state.env.config.limits.outbox_bytes
    }

    /// Queues `event` for the session, in its dialect.
    pub fn say(&mut self, event: &Event<'_>) {
        self.state.say(self.slot, event);
    }

    /// Queues a reply in Centrifugo's protocol.
    pub fn reply(&mut self, reply: &Reply<'_>) {
        self.state.delivery.reply(self.slot, reply, &mut self.state.env.tally);
    }

    /// Refuses a command in Centrifugo's protocol. `code` is the error that the metrics count.
    pub fn refuse_with(&mut self, id: u32, error: ErrorReply, code: ErrorCode) {
        self.state.env.tally.command_error(code);
        self.reply(&Reply::Error { id, error });
    }

    /// Sets the position of the session's stream. From now on each message carries the position behind it.
    pub fn set_stream_position(&mut self, position: StreamPosition) {
        self.state.delivery.set_stream_position(self.slot, position);
    }

    /// Refuses a command.
    pub fn refuse(&mut self, id: Option<RequestId<'_>>, code: ErrorCode, message: &str) {
        self.state.env.tally.command_error(code);
        self.say(&Event::Error { id, code, message });
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

    /// Sets the moment at which [`Reader::deadline`](super::reader::Reader::deadline) is called; `None`: never.
    pub fn wake_at(&mut self, moment: Option<Moment>) {
        if let Some(connection) = self.state.table.get_mut(self.slot) {
            connection.liveness().set_deadline(moment);
        }
    }

    /// Publishes. A publication that went to an engine has its answer later, by [`SessionContext::received`].
    pub fn publish(&mut self, topic: &TopicName, publication: &Publication<'_>) -> Answer<Result<Submitted, PublishError>> {
        let payer = self.payer();
        let publisher = self.waker().unwrap_or_else(|| Waker::noop().clone());
        match self.state.env.poll_submit(topic, &Publication { payer: payer.as_ref(), ..*publication }, &publisher) {
            Poll::Ready(submitted) => Answer::Ready(submitted),
            Poll::Pending => self.wait(),
        }
    }

    /// The answer of an engine to a publication. With `reads_on`, the session's socket is read while the answer is
    /// pending.
    pub fn received(&mut self, receipt: &Receipt, reads_on: bool) -> Answer<Result<Position, PublishError>> {
        let answer = self.waker().map_or(Poll::Pending, |waker| receipt.poll(&waker));
        match answer {
            Poll::Ready(answer) => Answer::Ready(answer),
            Poll::Pending if reads_on => {
                self.awaits = true;
                Answer::Pending
            }
            Poll::Pending => self.wait(),
        }
    }

    /// The messages in the history of `topic` after `since`, or its newest `limit` messages.
    pub fn history(&mut self, topic: &TopicName, since: Option<Offset>, limit: usize) -> Answer<Result<HistoryPage, Disabled>> {
        Answer::Ready(self.state.env.hub().history(topic, since, limit))
    }

    /// A part of the history of `topic`. The topic begins to live if it did not.
    pub fn history_part(
        &mut self,
        topic: &TopicName,
        from: ReadFrom,
        limit: usize,
    ) -> Answer<Result<Result<HistoryPart, Disabled>, PublishError>> {
        Answer::Ready(self.state.env.hub().history_part(topic, from, limit, self.payer().as_ref()))
    }

    /// The members of `topic`: the sessions that are subscribed to it by name.
    pub fn presence(&mut self, topic: &TopicName) -> Answer<Result<Vec<Member>, Disabled>> {
        let members = self.state.env.hub().presence(topic);
        let (pushed, taken) = (self.pushed(), self.state.env.processed());
        self.state.changes.ask(topic, pushed, taken);
        Answer::Ready(members)
    }

    /// The newest position of a topic; `None`: the hub has no such topic.
    pub fn position(&self, topic: &TopicName) -> Option<Position> {
        self.state.env.hub().topic(topic).map(|info| info.position)
    }

    /// How many items the shard's inbox has received so far.
    pub fn pushed(&self) -> u64 {
        self.state.env.pushed()
    }

    /// Ready once the shard has processed the first `pushed` items of its inbox.
    pub fn processed(&mut self, pushed: u64) -> Answer<()> {
        if self.state.has_processed(self.slot, pushed) {
            return Answer::Ready(());
        }
        self.state.table.schedule(self.slot);
        self.wait()
    }

    /// The session's subscriptions, oldest first.
    pub fn subscriptions(&self) -> Vec<Pattern> {
        self.state.delivery.subscribers.of(self.slot).in_order()
    }

    /// The session's subscriptions, in no particular order.
    pub fn patterns(&self) -> Vec<Pattern> {
        self.state.delivery.subscribers.of(self.slot).iter().map(|subscription| subscription.pattern().clone()).collect()
    }

    /// Whether a subscription of the session matches `topic`.
    pub fn covers(&self, topic: &TopicName) -> bool {
        self.state.delivery.subscribers.take(self.slot, topic)
    }

    /// The number of the session's subscriptions.
    pub fn subscription_count(&self) -> usize {
        self.state.delivery.subscribers.of(self.slot).len()
    }

    /// Whether the session has a subscription to exactly `pattern`.
    pub fn is_subscribed(&self, pattern: &Pattern) -> bool {
        self.state.delivery.subscribers.of(self.slot).contains(pattern)
    }

    /// Takes a place for a subscription to `pattern` among those of all sessions. The error is the limit that refuses
    /// it.
    pub fn take_place(&mut self, pattern: &Pattern) -> Result<(), LimitKey> {
        self.state.env.take_place(pattern, self.address())
    }

    /// Gives back a place whose subscription does not begin.
    pub fn give_place_back(&mut self, pattern: &Pattern) {
        self.state.env.give_place_back(pattern);
    }

    /// Subscribes to a topic by name, with at most one message in `interval`. A place was taken for the subscription.
    /// [`SessionContext::set_interval`] has to follow. The flag says whether the topic's rule has presence.
    pub fn subscribe(
        &mut self,
        topic: &TopicName,
        member: &Member,
        wanted: ReplayRequest<'_>,
        interval: Option<Duration>,
    ) -> Result<(TopicStart, bool), PublishError> {
        let (topic, start, presence) = self.state.env.subscribe(topic, member, self.payer().as_ref(), wanted)?;
        self.state.add_subscription(self.slot, &Pattern::from(topic.name().clone()), interval);
        Ok((TopicStart { topic, start }, presence))
    }

    /// Subscribes to a pattern, with at most one message of each topic in `interval`. A place was taken for the
    /// subscription. [`SessionContext::set_interval`] has to follow.
    pub fn subscribe_pattern(&mut self, pattern: &Pattern, interval: Option<Duration>) {
        if self.state.add_subscription(self.slot, pattern, interval) {
            self.state.env.subscribe_pattern(pattern);
        }
    }

    /// A start on one topic that a pattern of the session matches; `None`: the hub has no such topic.
    pub fn start(&self, topic: &TopicName, wanted: ReplayRequest<'_>) -> Option<TopicStart> {
        self.state.env.hub().start(topic, wanted).map(|(topic, start)| TopicStart { topic, start })
    }

    /// Sets the interval of an existing subscription; `None` ends its pacing. [`SessionContext::follow_intervals`] has
    /// to follow at once.
    pub fn set_interval(&mut self, pattern: &Pattern, interval: Option<Duration>) {
        self.state.set_interval(self.slot, pattern, interval);
    }

    /// Sets whether a subscription of the session receives joins and leaves from now on.
    pub fn watch(&mut self, pattern: &Pattern, watches: bool) {
        self.state.watch(self.slot, pattern, watches);
    }

    /// Whether a subscription of the session receives joins and leaves.
    pub fn is_watching(&self) -> bool {
        self.state.delivery.subscribers.is_watching(self.slot)
    }

    /// Whether the session has paced topics.
    pub fn is_paced(&self) -> bool {
        self.state.pacing.has(self.slot)
    }

    /// Adapts the pacing of the session's topics to the intervals of its subscriptions, which may have changed.
    pub fn follow_intervals(&mut self) {
        self.state.follow_intervals(self.slot);
    }

    /// Gives up the held message of `topic`: the client has it, or a replay brings it.
    pub fn give_up_held(&mut self, topic: &TopicName) {
        self.state.give_up_held(self.slot, topic);
    }

    /// Begins to deliver the topic of `begun` to the session: first the history that was asked for, then live messages.
    pub fn begin(&mut self, begun: TopicStart) {
        let TopicStart { topic, start } = begun;
        let pushed = self.pushed();
        self.state.catch_up.set_apart(self.slot, topic.name());
        match start.replay_from {
            Some(next) => self.state.catch_up.read_from(self.slot, topic, Position { offset: next, ..start.position }),
            None if pushed > self.state.env.processed() => {
                self.state.catch_up.set_watermark(self.slot, topic.name().clone(), start.position, pushed);
            }
            None => return,
        }
        self.state.delivery.use_slow_path(self.slot);
        self.state.table.schedule(self.slot);
    }

    /// Whether history of `topic` is being read for the session.
    pub fn is_replaying(&self, topic: &TopicName) -> bool {
        self.state.catch_up.is_replaying_topic(self.slot, topic)
    }

    /// Ends subscriptions. Messages that no other subscription matches are not replayed or held back any more.
    pub fn unsubscribe(&mut self, patterns: &[Pattern]) {
        self.state.end_subscriptions(self.slot, patterns);
    }

    /// Renames the session in the presence of the topics that it is subscribed to by name.
    pub fn rename(&mut self, member: &Member) {
        for topic in self.subscriptions().iter().filter_map(Pattern::as_name) {
            self.state.env.hub().rename(&topic, member);
        }
    }

    /// The payer of the topics that the session brings to life: its address.
    fn payer(&self) -> Option<Payer> {
        self.state.table.get(self.slot).map(|connection| Payer::of_address(connection.address().ip()))
    }

    fn waker(&self) -> Option<Waker> {
        self.state.table.get(self.slot).map(|connection| connection.waker())
    }

    /// Answers that a command is pending. The reader is called again once the session's waker is woken or its slot is
    /// scheduled.
    pub(super) fn wait<T>(&mut self) -> Answer<T> {
        self.waits = self.waits.max(InputWait::Waker);
        Answer::Pending
    }
}
