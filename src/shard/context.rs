//! What a session may do in its shard while its reader is called: speak, subscribe, publish, ask, close.

use std::sync::Arc;

use super::answer::Answer;
use super::delivery::SubscriptionOptions;
use super::pattern_set::PatternSet;
use super::state::ShardState;
use crate::clock::Moment;
use crate::codes::{CloseCode, ErrorCode};
use crate::config::Config;
use crate::dialect::{Event, RequestId};
use crate::frame::OpCode;
use crate::hub::{Attempt, HistoryPage, Off, Payer, Publication, PublishError, Start, Topic, Wanted};
use crate::metrics::{CloseReason, CommandOp, LimitKey, Recovery};
use crate::position::{Offset, Position};
use crate::session_id::Member;
use crate::topic_name::{Pattern, TopicName};

/// One session in its shard, for the time of one call of its reader.
pub struct SessionContext<'a> {
    state: &'a mut ShardState,
    slot: u32,
    /// The session has a command that can't be done yet.
    waits: bool,
}

/// A topic on which a session begins, by its name or by a pattern.
pub struct Begun {
    /// The topic.
    pub topic: Arc<Topic>,
    /// Where the session begins on it.
    pub start: Start,
}

impl<'a> SessionContext<'a> {
    /// The session in `slot`.
    pub fn new(state: &'a mut ShardState, slot: u32) -> Self {
        Self { state, slot, waits: false }
    }

    /// Whether the session has a command that can't be done yet: its reader is called again, input or not, once its waker is woken.
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// Now, as of this tick.
    pub fn now(&self) -> Moment {
        self.state.env.now
    }

    /// The configuration of this tick.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.state.env.config)
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
        self.state.close(self.slot, Some(code.number()), reason, why);
    }

    /// Answers the peer's Close with its own code, or with none.
    pub fn answer_close(&mut self, code: Option<u16>, why: CloseReason) {
        self.state.close(self.slot, code, "", why);
    }

    /// The reader's `deadline` is to be called then; `None`: not at all.
    pub fn wake_at(&mut self, moment: Option<Moment>) {
        if let Some(connection) = self.state.table.get_mut(self.slot) {
            connection.liveness().set_deadline(moment);
        }
    }

    /// Publishes; pending while an inbox is full.
    pub fn publish(&mut self, topic: &TopicName, publication: &Publication<'_>) -> Answer<Result<Position, PublishError>> {
        let payer = self.payer();
        match self.state.env.try_publish(topic, &Publication { payer: payer.as_ref(), ..*publication }) {
            Ok(Attempt::Published(position)) => Answer::Ready(Ok(position)),
            Ok(Attempt::NoRoom(outlet)) => {
                if let Some(waker) = self.state.table.get(self.slot).map(|connection| connection.waker()) {
                    outlet.when_room(&waker);
                }
                self.wait()
            }
            Err(error) => Answer::Ready(Err(error)),
        }
    }

    /// The history of `topic` after `since`, or its newest `limit` messages.
    pub fn history(&mut self, topic: &TopicName, since: Option<Offset>, limit: usize) -> Answer<Result<HistoryPage, Off>> {
        Answer::Ready(self.state.env.hub().history(topic, since, limit))
    }

    /// Who is subscribed to `topic` by name.
    pub fn presence(&mut self, topic: &TopicName) -> Answer<Result<Vec<Member>, Off>> {
        Answer::Ready(self.state.env.hub().presence(topic))
    }

    /// The newest position of a topic, if it lives.
    pub fn position(&self, topic: &TopicName) -> Option<Position> {
        self.state.env.hub().topic(topic).map(|info| info.position)
    }

    /// How many items the shard's inbox has had by now.
    pub fn pushed(&self) -> u64 {
        self.state.env.pushed()
    }

    /// Ready once the shard has taken the first `pushed` items of its inbox.
    pub fn taken(&mut self, pushed: u64) -> Answer<()> {
        if self.state.env.taken() >= pushed {
            return Answer::Ready(());
        }
        self.state.table.look_again(self.slot);
        self.wait()
    }

    /// What the session is subscribed to, in the order of its subscribing.
    pub fn subscriptions(&self) -> Vec<Pattern> {
        self.state.delivery.subscribers.of(self.slot).in_order()
    }

    /// The same as a set that topics are looked up in.
    pub fn subscription_set(&self) -> PatternSet {
        self.state.delivery.subscribers.of(self.slot).iter().map(|subscription| subscription.pattern()).collect()
    }

    /// How many that are.
    pub fn subscription_count(&self) -> usize {
        self.state.delivery.subscribers.of(self.slot).len()
    }

    /// Whether the session is subscribed to `pattern`, spelled like that.
    pub fn is_subscribed(&self, pattern: &Pattern) -> bool {
        self.state.delivery.subscribers.of(self.slot).contains(pattern)
    }

    /// Takes a place among the subscriptions of all sessions; `false`: there is none left.
    pub fn take_place(&mut self) -> bool {
        self.state.env.take_place()
    }

    /// Gives back a place that was taken for nothing.
    pub fn give_place_back(&mut self) {
        self.state.env.give_place_back();
    }

    /// Subscribes to a topic by name. The flag: its rule knows presence. A place was taken for it.
    /// [`SessionContext::follow_intervals`] is to follow.
    pub fn subscribe(
        &mut self,
        topic: &TopicName,
        options: SubscriptionOptions,
        member: &Member,
        wanted: Wanted<'_>,
    ) -> Result<(Begun, bool), PublishError> {
        let (topic, start, presence) = self.state.env.subscribe(topic, member, self.payer().as_ref(), wanted)?;
        self.state.add_subscription(self.slot, &Pattern::from(topic.name().clone()), options);
        Ok((Begun { topic, start }, presence))
    }

    /// Subscribes to a pattern. A place was taken for it. [`SessionContext::follow_intervals`] is to follow.
    pub fn subscribe_pattern(&mut self, pattern: &Pattern, options: SubscriptionOptions) {
        if self.state.add_subscription(self.slot, pattern, options) {
            self.state.env.subscribe_pattern(pattern);
        }
    }

    /// Each living topic of `pattern`, and how the session begins on it.
    pub fn starts(&self, pattern: &Pattern, wanted: Wanted<'_>) -> impl Iterator<Item = Begun> + use<> {
        self.state.env.hub().starts(pattern, wanted).into_iter().map(|(topic, start)| Begun { topic, start })
    }

    /// How the session begins on one topic that a pattern of its own takes; `None`: the topic does not live.
    pub fn start(&self, topic: &TopicName, wanted: Wanted<'_>) -> Option<Begun> {
        self.state.env.hub().start(topic, wanted).map(|(topic, start)| Begun { topic, start })
    }

    /// Replaces the options of a subscription that the session has. [`SessionContext::follow_intervals`] is to follow.
    pub fn set_options(&mut self, pattern: &Pattern, options: SubscriptionOptions) {
        self.state.set_options(self.slot, pattern, options);
    }

    /// The intervals of the session's subscriptions may have changed: from now on its topics are paced by these.
    pub fn follow_intervals(&mut self) {
        self.state.follow_intervals(self.slot);
    }

    /// The session begins on `begun`: what it is owed of the history is read, and what comes behind is live.
    pub fn begin(&mut self, begun: Begun) {
        let Begun { topic, start } = begun;
        let pushed = self.pushed();
        match start.replay_from {
            Some(next) => self.state.catch_up.read_from(self.slot, topic, next),
            None if pushed > self.state.env.taken() => {
                self.state.catch_up.set_watermark(self.slot, topic.name().clone(), start.position.offset, pushed);
            }
            None => return,
        }
        self.state.delivery.look_closer(self.slot);
        self.state.table.look_again(self.slot);
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

    fn wait<T>(&mut self) -> Answer<T> {
        self.waits = true;
        Answer::Pending
    }
}
