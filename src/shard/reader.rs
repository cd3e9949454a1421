//! The traits through which what was read goes up to whoever decides, and what was decided comes down.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::codes::{CloseCode, ErrorCode};
use crate::config::Config;
use crate::dialect::{Event, RequestId};
use crate::frame::{Inflater, OpCode};
use crate::hub::{Hub, Publication, PublishError, Start, Topic, Wanted};
use crate::metrics::{CloseReason, LimitKey, Tally};
use crate::position::Position;
use crate::session_id::Member;
use crate::topic_name::{Pattern, TopicName};

/// Reads what one session said and decides what follows. Its shard calls it, on the shard's thread, and it never waits.
pub trait Reader: Send {
    /// The session begins; what it is told first goes out now.
    fn open(&mut self, seat: &mut dyn Seat);

    /// Takes what `input` holds and says how many bytes of it were used. It stops early when the seat says that it
    /// can't go on, or when it has had its share of the turn; the rest comes again, before anything newer.
    fn read(&mut self, input: &mut [u8], inflater: &mut Inflater, seat: &mut dyn Seat) -> usize;

    /// Its deadline (see [`Seat::wake_at`]) has passed.
    fn deadline(&mut self, seat: &mut dyn Seat);

    /// The configuration has changed.
    fn reload(&mut self, seat: &mut dyn Seat);

    /// The user as `/v1/sessions` shows it.
    fn user(&self) -> Option<Arc<str>>;
}

/// A session's hold on its shard while its reader is called: to speak, to subscribe, to publish, to close.
pub trait Seat {
    /// The shard's counts.
    fn tally(&mut self) -> &mut Tally;

    /// Now, as of this turn.
    fn now(&self) -> Moment;

    /// The configuration of this turn.
    fn config(&self) -> Arc<Config>;

    /// Topics.
    fn hub(&self) -> Arc<Hub>;

    /// Whether the session is neither closing nor gone.
    fn is_open(&mut self) -> bool;

    /// Whether commands may be read on: while replies or echoes fill the outbox, they are not.
    fn can_go_on(&mut self) -> bool;

    /// Says something to the session, in its dialect.
    fn say(&mut self, event: &Event<'_>);

    /// Says that a command is refused.
    fn refuse(&mut self, id: Option<RequestId<'_>>, code: ErrorCode, message: &str);

    /// Sends a message of the session's own back.
    fn echo(&mut self, opcode: OpCode, payload: &[u8]);

    /// Answers a Ping.
    fn pong(&mut self, payload: &[u8]);

    /// Ends the session: a Close with `code` goes out behind what waits.
    fn close(&mut self, code: CloseCode, reason: &str, why: CloseReason);

    /// Answers the peer's Close with its own code, or with none.
    fn answer_close(&mut self, code: Option<u16>, why: CloseReason);

    /// A limit bit this session.
    fn limit_hit(&mut self, limit: LimitKey);

    /// Its reader's `deadline` is to be called then; `None`: not at all.
    fn wake_at(&mut self, moment: Option<Moment>);

    /// Publishes; `None`: an inbox is full, and the session is read again when it has room.
    fn try_publish(&mut self, topic: &TopicName, publication: &Publication<'_>) -> Option<Result<Position, PublishError>>;

    /// The session has a command that can't be done yet: its reader is called again, input or not, once its waker is woken.
    fn pause(&mut self);

    /// The same, and the waker is as good as woken: the next turn will do.
    fn pause_for_a_turn(&mut self);

    /// How many items the shard's inbox has had by now.
    fn pushed(&self) -> u64;

    /// Whether the shard has taken the first `pushed` items of its inbox.
    fn has_taken(&self, pushed: u64) -> bool;

    /// What the session is subscribed to, in the order of its subscribing.
    fn subscriptions(&mut self) -> Vec<Pattern>;

    /// How many that are.
    fn subscription_count(&mut self) -> usize;

    /// Whether the session is subscribed to `pattern`, spelled like that.
    fn is_subscribed(&mut self, pattern: &Pattern) -> bool;

    /// Whether a subscription of the session takes `topic`.
    fn covers(&mut self, topic: &TopicName) -> bool;

    /// Takes a place among the subscriptions of all sessions; `false`: there is none left.
    fn take_place(&mut self) -> bool;

    /// Gives back a place that was taken for nothing.
    fn give_place_back(&mut self);

    /// Subscribes to a topic by name. The flag: its rule knows presence. A place was taken for it.
    fn subscribe(
        &mut self,
        topic: &TopicName,
        options: Options,
        member: &Member,
        wanted: Wanted<'_>,
    ) -> Result<(Begun, bool), PublishError>;

    /// Subscribes to a pattern. A place was taken for it.
    fn subscribe_pattern(&mut self, pattern: &Pattern, options: Options);

    /// Replaces the options of a subscription that the session has.
    fn set_options(&mut self, pattern: &Pattern, options: Options);

    /// The session begins on `begun`: what it is owed of the history is read, and what comes behind is live.
    fn begin(&mut self, begun: Begun);

    /// Whether history of `topic` is being read for the session.
    fn is_replaying(&mut self, topic: &TopicName) -> bool;

    /// Ends a subscription; `false`: there was none. What it alone brought is not replayed or held back any more.
    fn unsubscribe(&mut self, pattern: &Pattern) -> bool;

    /// The session's user is another one from now on, where presence tells of it.
    fn rename(&mut self, member: &Member);
}

/// A subscription's options.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// At most one message per topic in that time.
    pub interval: Option<Duration>,
    /// Whether joins and leaves are told.
    pub presence: bool,
}

/// A topic on which a session begins, by its name or by a pattern.
pub struct Begun {
    /// The topic.
    pub topic: Arc<Topic>,
    /// Where the session begins on it.
    pub start: Start,
}
