//! What a session may do in its shard while its reader is called: speak, subscribe, publish, ask, close.

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

/// One session in its shard, for the time of one call of its reader.
pub struct SessionContext<'a> {
    pub(super) state: &'a mut ShardState,
    pub(super) slot: u32,
    /// What a command of the session waits for that can't be done yet.
    waits: InputWait,
    /// The session is owed an answer, and reads on meanwhile.
    awaits: bool,
}

/// A topic that a subscriber begins to receive, by name or by a pattern.
pub struct TopicStart {
    /// The topic.
    pub topic: Arc<Topic>,
    /// Where the session begins on it.
    pub start: Start,
}

impl<'a> SessionContext<'a> {
    /// The session in `slot`.
    pub fn new(state: &'a mut ShardState, slot: u32) -> Self {
        Self { state, slot, waits: InputWait::Nothing, awaits: false }
    }

    /// What a command of the session waits for that can't be done yet: its reader is called again, input or not, once that is there.
    pub fn waits(&self) -> InputWait {
        self.waits
    }

    /// Whether the session is to be called again, input or not, and may be read on.
    pub fn awaits(&self) -> bool {
        self.awaits
    }

    /// Now, as of this tick.
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

    /// The address that the session comes from, as limits count it.
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

    /// Counts whether a `since` was kept.
    pub fn count_recovery(&mut self, recovery: Recovery) {
        self.state.env.tally.recovery(recovery);
    }

    /// A limit bit this session.
    pub fn limit_hit(&mut self, limit: LimitKey) {
        self.state.env.tally.limit_hit(limit);
    }

    /// The session holds commands that it has read and not acted on: its reader is called again, input or not, in a later tick; where its
    /// replies fill the outbox, once that is written.
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

    /// Whether commands may be read on: while replies or echoes fill the outbox, they are not.
    pub fn can_go_on(&self) -> bool {
        self.is_open() && self.state.delivery.reply_bytes(self.slot) < self.state.env.config.limits.outbox_bytes
    }

    /// Says something to the session, in its dialect.
    pub fn say(&mut self, event: &Event<'_>) {
        self.state.say(self.slot, event);
    }

    /// Says something in Centrifugo's protocol.
    pub fn reply(&mut self, reply: &Reply<'_>) {
        self.state.delivery.reply(self.slot, reply, &mut self.state.env.tally);
    }

    /// Says, in Centrifugo's protocol, that a command is refused. `code` is what it counts as.
    pub fn refuse_with(&mut self, id: u32, error: ErrorReply, code: ErrorCode) {
        self.state.env.tally.command_error(code);
        self.reply(&Reply::Error { id, error });
    }

    /// Sets the position of the session's stream. From now on each message carries the position behind it.
    pub fn set_stream_position(&mut self, position: StreamPosition) {
        self.state.delivery.set_stream_position(self.slot, position);
    }

    /// Says that a command is refused.
    pub fn refuse(&mut self, id: Option<RequestId<'_>>, code: ErrorCode, message: &str) {
        self.state.env.tally.command_error(code);
        self.say(&Event::Error { id, code, message });
    }

    /// Sends a message of the session's own back.
    pub fn echo(&mut self, opcode: OpCode, payload: &[u8]) {
        self.state.delivery.echo(self.slot, opcode, payload, &mut self.state.env.tally);
    }

    /// Answers a Ping.
    pub fn pong(&mut self, payload: &[u8]) {
        self.state.delivery.queue_heartbeat_answer(self.slot, payload);
    }

    /// Ends the session: a Close with `code` goes out behind what waits.
    pub fn close(&mut self, code: CloseCode, reason: &str, why: CloseReason) {
        self.state.close(self.slot, code, reason, why);
    }

    /// Ends a session of Centrifugo's protocol as that says it.
    pub fn disconnect(&mut self, disconnect: Disconnect, why: CloseReason) {
        self.state.close_with(self.slot, Some(disconnect.code), disconnect.reason, why);
    }

    /// Answers the peer's Close with its own code, or with none.
    pub fn answer_close(&mut self, code: Option<u16>, why: CloseReason) {
        self.state.close_with(self.slot, code, "", why);
    }

    /// The reader's `deadline` is to be called then; `None`: not at all.
    pub fn wake_at(&mut self, moment: Option<Moment>) {
        if let Some(connection) = self.state.table.get_mut(self.slot) {
            connection.liveness().set_deadline(moment);
        }
    }

    /// Publishes. What an engine was handed has its answer later, by [`SessionContext::received`].
    pub fn publish(&mut self, topic: &TopicName, publication: &Publication<'_>) -> Answer<Result<Submitted, PublishError>> {
        let payer = self.payer();
        let publisher = self.waker().unwrap_or_else(|| Waker::noop().clone());
        match self.state.env.poll_submit(topic, &Publication { payer: payer.as_ref(), ..*publication }, &publisher) {
            Poll::Ready(submitted) => Answer::Ready(submitted),
            Poll::Pending => self.wait(),
        }
    }

    /// The answer to a publication that was handed to an engine; `reads_on`: the session goes on reading until it is there.
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

    /// The history of `topic` after `since`, or its newest `limit` messages.
    pub fn history(&mut self, topic: &TopicName, since: Option<Offset>, limit: usize) -> Answer<Result<HistoryPage, Disabled>> {
        Answer::Ready(self.state.env.hub().history(topic, since, limit))
    }

    /// A part of the history of `topic`, which begins to live with that if it does not.
    pub fn history_part(
        &mut self,
        topic: &TopicName,
        from: ReadFrom,
        limit: usize,
    ) -> Answer<Result<Result<HistoryPart, Disabled>, PublishError>> {
        Answer::Ready(self.state.env.hub().history_part(topic, from, limit, self.payer().as_ref()))
    }

    /// Who is subscribed to `topic` by name.
    pub fn presence(&mut self, topic: &TopicName) -> Answer<Result<Vec<Member>, Disabled>> {
        let members = self.state.env.hub().presence(topic);
        let (pushed, taken) = (self.pushed(), self.state.env.processed());
        self.state.changes.ask(topic, pushed, taken);
        Answer::Ready(members)
    }

    /// The newest position of a topic, if it lives.
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

    /// What the session is subscribed to, in the order of its subscribing.
    pub fn subscriptions(&self) -> Vec<Pattern> {
        self.state.delivery.subscribers.of(self.slot).in_order()
    }

    /// The same, in no order that means anything.
    pub fn patterns(&self) -> Vec<Pattern> {
        self.state.delivery.subscribers.of(self.slot).iter().map(|subscription| subscription.pattern().clone()).collect()
    }

    /// Whether a subscription of the session matches `topic`.
    pub fn covers(&self, topic: &TopicName) -> bool {
        self.state.delivery.subscribers.take(self.slot, topic)
    }

    /// How many that are.
    pub fn subscription_count(&self) -> usize {
        self.state.delivery.subscribers.of(self.slot).len()
    }

    /// Whether the session is subscribed to `pattern`, spelled like that.
    pub fn is_subscribed(&self, pattern: &Pattern) -> bool {
        self.state.delivery.subscribers.of(self.slot).contains(pattern)
    }

    /// Takes a place among the subscriptions of all sessions for one to `pattern`; an error: the limit that is in its way.
    pub fn take_place(&mut self, pattern: &Pattern) -> Result<(), LimitKey> {
        self.state.env.take_place(pattern, self.address())
    }

    /// Gives back a place that was taken for nothing.
    pub fn give_place_back(&mut self, pattern: &Pattern) {
        self.state.env.give_place_back(pattern);
    }

    /// Subscribes to a topic by name, at most one message in `interval`. The flag: its rule knows presence. A place was taken for it.
    /// [`SessionContext::set_interval`] is to follow.
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

    /// Subscribes to a pattern, at most one message of each topic in `interval`. A place was taken for it.
    /// [`SessionContext::set_interval`] is to follow.
    pub fn subscribe_pattern(&mut self, pattern: &Pattern, interval: Option<Duration>) {
        if self.state.add_subscription(self.slot, pattern, interval) {
            self.state.env.subscribe_pattern(pattern);
        }
    }

    /// How the session begins on one topic that a pattern of its own takes; `None`: the topic does not live.
    pub fn start(&self, topic: &TopicName, wanted: ReplayRequest<'_>) -> Option<TopicStart> {
        self.state.env.hub().start(topic, wanted).map(|(topic, start)| TopicStart { topic, start })
    }

    /// Paces a subscription that the session has anew, or no more. [`SessionContext::follow_intervals`] is to follow at once.
    pub fn set_interval(&mut self, pattern: &Pattern, interval: Option<Duration>) {
        self.state.set_interval(self.slot, pattern, interval);
    }

    /// Tells the session of joins and leaves by a subscription that it has, from now on, or no more.
    pub fn watch(&mut self, pattern: &Pattern, watches: bool) {
        self.state.watch(self.slot, pattern, watches);
    }

    /// Whether a subscription of the session tells it of joins and leaves.
    pub fn is_watching(&self) -> bool {
        self.state.delivery.subscribers.is_watching(self.slot)
    }

    /// Whether the session's topics are paced.
    pub fn is_paced(&self) -> bool {
        self.state.pacing.has(self.slot)
    }

    /// The intervals of the session's subscriptions may have changed: from now on its topics are paced by these.
    pub fn follow_intervals(&mut self) {
        self.state.follow_intervals(self.slot);
    }

    /// What is held of `topic` for the session does not go out: its client has it, or a replay brings it.
    pub fn give_up_held(&mut self, topic: &TopicName) {
        self.state.give_up_held(self.slot, topic);
    }

    /// The session begins on `begun`: what it is owed of the history is read, and what comes behind is live.
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

    /// Ends subscriptions. What they alone brought is not replayed or held back any more.
    pub fn unsubscribe(&mut self, patterns: &[Pattern]) {
        self.state.end_subscriptions(self.slot, patterns);
    }

    /// The session's user is another one from now on, where presence tells of it.
    pub fn rename(&mut self, member: &Member) {
        for topic in self.subscriptions().iter().filter_map(Pattern::as_name) {
            self.state.env.hub().rename(&topic, member);
        }
    }

    /// Who answers for the topics that the session brings to life: its address.
    fn payer(&self) -> Option<Payer> {
        self.state.table.get(self.slot).map(|connection| Payer::of_address(connection.address().ip()))
    }

    fn waker(&self) -> Option<Waker> {
        self.state.table.get(self.slot).map(|connection| connection.waker())
    }

    /// The session waits, and is asked again once it is woken or looked at.
    pub(super) fn wait<T>(&mut self) -> Answer<T> {
        self.waits = self.waits.max(InputWait::Waker);
        Answer::Pending
    }
}
