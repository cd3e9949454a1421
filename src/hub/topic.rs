//! One topic: the lock over its log and its audience.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;

use super::audience::Audience;
use super::elsewhere::Elsewhere;
use super::log::{HistoryPage, HistoryPart, Log, ReadFrom, ReplayPiece, Start, Wanted};
use super::message::{About, Message, Publication};
use super::outlet::{Outlet, OutletId};
use super::patterns::Patterns;
use super::payer::{Payer, TopicAccounts};
use super::state::{KeptMessage, TopicState};
use super::stream::{StreamLife, Streamed, Streams};
use crate::clock::{Clock, Moment};
use crate::config::{Live, Rule};
use crate::metrics::{PublishSource, RuleId};
use crate::position::{Offset, Position};
use crate::session_id::{Member, SessionId};
use crate::topic_name::TopicName;

/// How much a topic's place in an order may be behind its rank, in nanoseconds.
const RANK_NANOS_MAX: u64 = 1_000_000_000;

/// The bit of a rank by which a topic gives way after those without it.
const RANK_LATER: u64 = 1 << 63;

/// What all topics share.
#[derive(Default)]
pub struct Shared {
    /// The bytes of all topics' histories.
    pub histories_bytes: AtomicUsize,
    /// The patterns that outlets hear by.
    pub patterns: Patterns,
    /// Who answers for how many topics.
    pub accounts: TopicAccounts,
    /// The streams that topics belong to.
    pub streams: Streams,
    /// The other gateways of these.
    pub elsewhere: Elsewhere,
}

/// One life of a topic.
pub struct Topic {
    name: TopicName,
    /// Who brought it to life.
    payer: Option<Payer>,
    shared: Arc<Shared>,
    /// The ranks at which the topic stands in the orders, by [`Rank`]; 0: in none. Each is written under its order's lock.
    placed: [AtomicU64; 2],
    /// Held over log and audience together: so each outlet hears offsets in order, and a subscriber begins between two
    /// messages. Nothing waits under this lock, and no other topic's lock is taken.
    state: Mutex<State>,
}

struct State {
    log: Log,
    audience: Audience,
    rule: Arc<Rule>,
    /// The configuration's generation that `rule` is of.
    generation: u64,
    /// When the topic was last used. It lies ahead for one that was restored and is held for its subscribers.
    used_at: Moment,
    /// Whether a feed publishes to the topic.
    fed: bool,
    /// Whether expiry has the topic in its queue.
    awaited: bool,
    /// The topic was taken out of the registry; its name has to be looked up again.
    gone: bool,
}

/// The topic has died meanwhile; its name has to be looked up again.
#[derive(Debug)]
pub struct Gone;

/// The outcome of an attempt to publish.
pub enum Published {
    /// The message has this position and this rule. The flag: the topic is to be placed in its orders.
    At(Position, RuleId, bool),
    /// This outlet has no room; no offset was assigned.
    NoRoom(Arc<dyn Outlet>),
}

/// The outcome of a topic's upkeep.
pub enum Upkeep {
    /// The next upkeep is due then.
    Again(Moment),
    /// No upkeep is due until the topic is used.
    Rests,
    /// Nobody needs the topic, and it is marked as gone.
    Dead,
}

/// What decides which topic gives way first.
#[derive(Debug, Clone, Copy)]
pub enum Rank {
    /// The last use, of topics without named subscribers; those with a history or a feed come after the others.
    LastUse,
    /// The last publish, of topics with a history.
    LastPublish,
}

/// A topic as `/v1/topics` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub topic: TopicName,
    /// Sessions subscribed by name.
    pub subscribers: usize,
    /// Its newest message's position.
    pub position: Position,
    /// Its rule's label.
    pub rule: Arc<str>,
}

impl Topic {
    /// A new life without messages and audience.
    pub fn new(name: TopicName, payer: Option<Payer>, live: &Live, shared: &Arc<Shared>, now: Moment) -> Self {
        let generation = live.generation();
        let rule = Arc::clone(live.load().rules.of(&name));
        let log = match shared.streams.life_of(&name) {
            Some(life) => Log::of_stream(&life, life.base(), now),
            None => Log::new(now),
        };
        let audience = Audience::default();
        let state = State { log, audience, rule, generation, used_at: now, fed: false, awaited: true, gone: false };
        Self { name, payer, shared: Arc::clone(shared), placed: Default::default(), state: Mutex::new(state) }
    }

    /// Who brought it to life; `None`: the gateway itself.
    pub fn payer(&self) -> Option<&Payer> {
        self.payer.as_ref()
    }

    /// Its name.
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// Gives `publication` the next position and delivers it, if every outlet has room for it.
    pub fn publish(&self, publication: &Publication<'_>, publisher: &Waker, live: &Live, clock: &Clock) -> Result<Published, Gone> {
        self.with(|state| {
            if state.gone {
                return Err(Gone);
            }
            state.follow(live, &self.name);
            state.audience.follow(&self.name, &self.shared.patterns);
            if let Some(full) = state.audience.outlet_without_room(publisher) {
                return Ok(Published::NoRoom(Arc::clone(full)));
            }
            let message = self.positioned(state, publication, clock);
            state.deliver(&message, publisher);
            state.fed |= publication.source == PublishSource::Feed;
            Ok(Published::At(message.position, message.rule.id, self.is_misplaced_in(state)))
        })
    }

    /// Makes `publication` the message at the log's next position. The payload is copied here, under the lock: a message is one
    /// piece of memory that knows its position from the beginning.
    fn positioned(&self, state: &State, publication: &Publication<'_>, clock: &Clock) -> Message {
        let about = About {
            topic: self.name.clone(),
            position: state.log.next_position(),
            published_at: clock.now(),
            moment: clock.moment(),
            kind: publication.kind,
            except: publication.except,
            rule: Arc::clone(&state.rule),
            extra: publication.extra.cloned(),
        };
        Message::new(about, publication.payload)
    }

    /// Whether expiry is to be told of the topic now; expiry is told once until its next upkeep.
    pub fn begins_to_be_awaited(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().awaited, true)
    }

    /// Subscribes a session of `outlet` by name. The flag: the topic's rule has presence on.
    pub fn subscribe(
        &self,
        id: OutletId,
        outlet: &Arc<dyn Outlet>,
        member: &Member,
        wanted: Wanted<'_>,
        live: &Live,
        now: Moment,
    ) -> Result<(Start, bool), Gone> {
        self.with(|state| {
            if state.gone {
                return Err(Gone);
            }
            state.follow(live, &self.name);
            let start = state.start(wanted, now);
            if state.rule.presence {
                state.audience.follow(&self.name, &self.shared.patterns);
                state.audience.join(&self.name, member, &self.shared.elsewhere); // first: a session alone on its outlet does not hear of its own join
            }
            state.audience.add_named(id, outlet);
            Ok((start, state.rule.presence))
        })
    }

    /// Undoes [`Topic::subscribe`].
    pub fn unsubscribe(&self, id: OutletId, session: SessionId, now: Moment) {
        let mut state = self.state.lock();
        state.used_at = now;
        state.audience.remove_named(id);
        state.audience.follow(&self.name, &self.shared.patterns);
        state.audience.leave(&self.name, session, &self.shared.elsewhere);
    }

    /// Runs `act` on the audience, under the lock. The flag: the topic's rule has presence on. `None`: the topic has died.
    pub fn with_audience<R>(&self, live: &Live, act: impl FnOnce(&mut Audience, bool) -> R) -> Option<R> {
        let mut state = self.state.lock();
        state.follow(live, &self.name);
        state.audience.follow(&self.name, &self.shared.patterns);
        let presence = state.rule.presence;
        (!state.gone).then(|| act(&mut state.audience, presence))
    }

    /// Where a subscriber by pattern begins; `None` if the topic has died.
    pub fn start_by_pattern(&self, wanted: Wanted<'_>, live: &Live, now: Moment) -> Option<Start> {
        self.with(|state| {
            state.follow(live, &self.name);
            (!state.gone).then(|| state.start(wanted, now))
        })
    }

    /// Where a replay begins for a subscriber who is owed every message from `owed` on, and the `last` before that.
    pub fn replay_before(&self, owed: Position, last: Option<usize>, live: &Live, now: Moment) -> Position {
        self.with(|state| {
            state.follow(live, &self.name);
            state.expire(now);
            state.log.replay_before(owed, last.unwrap_or(state.rule.last))
        })
    }

    /// Reads on from `next`, at most `messages` and about `bytes`.
    pub fn replay(&self, next: Position, messages: usize, bytes: usize, now: Moment) -> ReplayPiece {
        self.with(|state| {
            state.expire(now);
            state.log.read(next, messages, bytes)
        })
    }

    /// A part of the history: after `since`, or the newest `limit`; at most about `bytes`. `None`: the rule keeps none.
    pub fn history(&self, since: Option<Offset>, limit: usize, bytes: usize, live: &Live, now: Moment) -> Option<HistoryPage> {
        self.with(|state| {
            state.follow(live, &self.name);
            state.expire(now);
            (state.rule.history > 0).then(|| state.log.page(since, limit, bytes))
        })
    }

    /// At most `limit` messages from `from` on, and about `bytes`, with the newest position. `None`: the rule keeps no history.
    pub fn part(&self, from: ReadFrom, limit: usize, bytes: usize, live: &Live, now: Moment) -> Option<HistoryPart> {
        self.with(|state| {
            state.follow(live, &self.name);
            state.expire(now);
            let messages = match from {
                ReadFrom::After(offset) => state.log.page(Some(offset), limit, bytes).messages,
                ReadFrom::Before(offset) => state.log.page_back(offset, limit, bytes),
            };
            (state.rule.history > 0).then(|| HistoryPart { position: state.log.position(), messages })
        })
    }

    /// The topic as `/v1/topics` shows it.
    pub fn info(&self) -> TopicInfo {
        let state = self.state.lock();
        let (position, subscribers, rule) = (state.log.position(), state.audience.named(), state.rule.label().into());
        TopicInfo { topic: self.name.clone(), subscribers, position, rule }
    }

    /// The topic's rank; 0: it has nothing to give.
    pub fn rank(&self, rank: Rank) -> u64 {
        self.state.lock().rank(rank)
    }

    /// The rank at which the topic stands in the order by `rank`; 0: it does not.
    pub fn placed(&self, rank: Rank) -> &AtomicU64 {
        &self.placed[rank as usize]
    }

    /// Whether the topic is to be placed in its orders again.
    pub fn is_misplaced(&self) -> bool {
        self.is_misplaced_in(&self.state.lock())
    }

    fn is_misplaced_in(&self, state: &State) -> bool {
        [Rank::LastUse, Rank::LastPublish].into_iter().any(|rank| {
            let (is, placed) = (state.rank(rank), self.placed(rank).load(Ordering::Relaxed));
            (is == 0) != (placed == 0) || is.abs_diff(placed) >= RANK_NANOS_MAX
        })
    }

    /// Gives up its oldest messages until `bytes` are freed or none is left; how many bytes were freed.
    pub fn give_up_history(&self, bytes: usize) -> usize {
        self.with(|state| state.log.give_up_oldest(bytes))
    }

    /// Marks the topic as gone if its last use still has that rank.
    pub fn give_way(&self, rank: u64) -> bool {
        self.with(|state| {
            let gives_way = state.rank(Rank::LastUse) == rank;
            if gives_way {
                state.die();
            }
            gives_way
        })
    }

    /// Gives up old messages, and marks the topic as gone after `grace` without messages and named subscribers.
    pub fn look_after(&self, grace: Duration, now: Moment) -> Upkeep {
        self.with(|state| {
            state.expire(now);
            match state.log.oldest_moment() {
                Some(oldest) => Upkeep::Again(oldest + state.rule.history_ttl),
                None if state.audience.named() > 0 => {
                    state.awaited = false;
                    Upkeep::Rests
                }
                None if now.since(state.used_at) < grace => Upkeep::Again(state.used_at + grace),
                None => {
                    state.die();
                    Upkeep::Dead
                }
            }
        })
    }

    /// Marks the topic as gone and gives what can be written down of it; `None`: it is gone already, or a stream keeps it.
    pub fn take_out(&self) -> Option<TopicState> {
        self.with(|state| {
            if state.gone || state.log.is_of_stream() {
                return None;
            }
            let rule = state.rule.label().into();
            let (position, messages) = (state.log.position(), state.log.messages().map(KeptMessage::from).collect());
            state.die();
            Some(TopicState { name: self.name.clone(), epoch: position.epoch, newest: position.offset, rule, messages })
        })
    }

    /// Goes on from `kept`. The topic is a new one that nobody uses yet; it counts as used until `used_until`.
    pub fn restore(&self, kept: TopicState, live: &Live, clock: &Clock, used_until: Moment) {
        let config = live.load();
        let rules = &config.rules;
        let has_label = |rule: &&Arc<Rule>| rule.label() == &*kept.rule;
        let rule = rules.iter().find(has_label).unwrap_or_else(|| rules.of(&self.name));
        let (epoch, newest) = (kept.epoch, kept.newest);
        let messages = kept.messages.into_iter().map(|message| message.into_message(&self.name, epoch, rule, clock));
        self.with(|state| {
            state.log = Log::restored(Position { epoch, offset: newest }, messages, clock.moment());
            state.used_at = used_until;
        });
    }

    /// Delivers `streamed`, if every outlet has room. It is newer than all that the topic has had in `life`.
    pub fn apply(
        &self,
        life: &Arc<StreamLife>,
        streamed: &Streamed<'_>,
        follower: &Waker,
        live: &Live,
        clock: &Clock,
    ) -> Result<Published, Gone> {
        self.with(|state| {
            if state.gone {
                return Err(Gone);
            }
            state.follow(live, &self.name);
            state.audience.follow(&self.name, &self.shared.patterns);
            if let Some(full) = state.audience.outlet_without_room(follower) {
                return Ok(Published::NoRoom(Arc::clone(full)));
            }
            let about = About {
                topic: self.name.clone(),
                position: Position { epoch: life.epoch(), offset: streamed.offset },
                published_at: streamed.published_at,
                moment: clock.moment(),
                kind: streamed.kind,
                except: streamed.except,
                rule: Arc::clone(&state.rule),
                extra: streamed.extra.cloned(),
            };
            let message = Message::of_stream(about, state.log.newest(), streamed.payload);
            state.deliver(&message, follower);
            life.advance(streamed.offset);
            Ok(Published::At(message.position, message.rule.id, self.is_misplaced_in(state)))
        })
    }

    /// Takes `log` in the place of its own, and has its subscribers go on in it; the log comes back if the topic has died.
    pub fn begin_anew(&self, log: Log, clock: &Clock) -> Result<(), Log> {
        self.with(|state| {
            if state.gone {
                return Err(log);
            }
            self.replace(state, log, clock);
            Ok(())
        })
    }

    /// Begins without messages in `life`, if the topic is in another one.
    pub fn begin_empty_in(&self, life: &Arc<StreamLife>, clock: &Clock) {
        self.with(|state| {
            if !state.gone && !state.log.is_in(life) {
                self.replace(state, Log::of_stream(life, life.base(), clock.moment()), clock);
            }
        });
    }

    fn replace(&self, state: &mut State, log: Log, clock: &Clock) {
        let after = state.log.position();
        state.log = log;
        state.used_at = clock.moment();
        state.audience.follow(&self.name, &self.shared.patterns);
        state.audience.go_on(&self.name, after);
    }

    /// Runs `act` under the lock, and adds the change of the history's bytes to the sum of all topics.
    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let before = state.log.bytes();
        let result = act(&mut state);
        let after = state.log.bytes();
        if after > before {
            self.shared.histories_bytes.fetch_add(after - before, Ordering::Relaxed);
        } else if before > after {
            self.shared.histories_bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
        result
    }
}

impl State {
    /// Appends a message that has its position to the log and offers it to the audience. It makes no difference who assigned
    /// the position.
    fn deliver(&mut self, message: &Message, publisher: &Waker) {
        self.used_at = message.moment;
        self.log.append(message);
        self.audience.offer(message, publisher);
    }

    /// Takes the rule of the configuration in force.
    fn follow(&mut self, live: &Live, name: &TopicName) {
        let generation = live.generation();
        if self.generation != generation {
            self.generation = generation;
            self.rule = Arc::clone(live.load().rules.of(name));
        }
    }

    fn rank(&self, rank: Rank) -> u64 {
        let since_earliest = |moment: Moment| moment.since(moment.before(Duration::MAX)).as_nanos();
        let nanos = |moment| 1 + u64::try_from(since_earliest(moment)).unwrap_or(u64::MAX).min(RANK_LATER - 2);
        match rank {
            _ if self.gone => 0,
            Rank::LastUse if self.audience.named() > 0 => 0,
            Rank::LastUse if self.fed || self.log.kept_since().is_some() => nanos(self.used_at) | RANK_LATER,
            Rank::LastUse => nanos(self.used_at),
            Rank::LastPublish => self.log.kept_since().map_or(0, nanos),
        }
    }

    fn start(&mut self, wanted: Wanted<'_>, now: Moment) -> Start {
        self.expire(now);
        self.log.start(wanted, self.rule.last)
    }

    fn expire(&mut self, now: Moment) {
        self.log.expire(&self.rule, now);
    }

    fn die(&mut self) {
        self.gone = true;
        self.log.end();
    }
}
