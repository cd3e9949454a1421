//! One topic: the lock over its log and its audience.

mod audience;
mod exported;
mod history;
mod info;
mod lifetime;
mod log;
mod members;
mod rank;
mod shared;
mod state;

pub use exported::{KeptMessage, TopicState};
pub use info::TopicInfo;
pub use lifetime::Upkeep;
pub use log::{HistoryPage, HistoryPart, Log, ReadFrom, ReplayGap, ReplayPiece, ReplayRequest, Start};
pub use rank::RankBy;
pub use shared::Shared;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;

use audience::Audience;
use lifetime::Lifetime;
use rank::OrderedRanks;
use state::State;

use super::message::{About, Message, Publication};
use super::outlet::{Outlet, OutletId, PresenceChange};
use super::payer::Payer;
use super::stream::{StreamLife, StreamMessage};
use crate::clock::Moment;
use crate::config::Rule;
use crate::metrics::{PublishSource, RuleId};
use crate::position::Position;
use crate::session_id::{Member, SessionId};
use crate::topic_name::TopicName;

/// One life of a topic.
pub struct Topic {
    name: TopicName,
    /// The payer whose publish or subscribe made the topic; `None`: the gateway itself.
    payer: Option<Payer>,
    shared: Arc<Shared>,
    ordered_ranks: OrderedRanks,
    /// One lock over log and audience, so that each outlet receives offsets in order, and a subscriber begins between two messages. Nothing
    /// waits under this lock, and no other topic's lock is taken under it.
    state: Mutex<State>,
}

/// A topic that a session begins to receive, by name or by a pattern.
pub struct TopicStart {
    /// The topic.
    pub topic: Arc<Topic>,
    /// The position from which the session receives the topic.
    pub start: Start,
}

/// The topic's life has ended. The caller looks up the name again.
#[derive(Debug)]
pub struct Gone;

/// The outcome of an attempt to publish.
pub enum Published {
    /// The message has this position.
    At {
        /// The position.
        position: Position,
        /// The rule of the message.
        rule: RuleId,
        /// Whether the topic's entries in the orders of eviction are to be moved.
        is_rank_behind: bool,
    },
    /// This outlet has no room; no offset was assigned.
    NoRoom(Arc<dyn Outlet>),
}

impl Topic {
    /// A new life without messages and audience.
    pub fn new(name: TopicName, payer: Option<Payer>, shared: &Arc<Shared>) -> Self {
        let (live, now) = (&shared.live, shared.now());
        let generation = live.generation();
        let rule = Arc::clone(live.load().rules.of(&name));
        let log = match shared.streams.life_of(&name) {
            Some(life) => Log::of_stream(&life, life.base(), now),
            None => Log::new(now),
        };
        let audience = Audience::default();
        let state = State { log, audience, rule, generation, lifetime: Lifetime::new(now) };
        Self { name, payer, shared: Arc::clone(shared), ordered_ranks: OrderedRanks::default(), state: Mutex::new(state) }
    }

    /// The payer whose publish or subscribe made the topic; `None`: the gateway itself.
    pub fn payer(&self) -> Option<&Payer> {
        self.payer.as_ref()
    }

    /// The topic's name.
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// Gives `publication` the next position and delivers it, if every outlet has room for it.
    ///
    /// The payload is copied under the lock, because a message is one allocation that has its position from the beginning.
    pub fn publish(&self, publication: &Publication<'_>, publisher: &Waker) -> Result<Published, Gone> {
        self.deliver(publisher, |state| {
            if publication.source == PublishSource::Feed {
                state.lifetime.feed();
            }
            let about = About {
                topic: self.name.clone(),
                position: state.log.next_position(),
                published_at: self.shared.clock.now(),
                moment: self.shared.now(),
                kind: publication.kind,
                except: publication.except,
                rule: Arc::clone(&state.rule),
                extra: publication.extra.cloned(),
            };
            Message::new(about, publication.payload)
        })
    }

    /// Delivers `streamed`, if every outlet has room for it. The message must be newer than all that the topic has had in `life`.
    pub fn apply(&self, life: &Arc<StreamLife>, streamed: &StreamMessage<'_>, follower: &Waker) -> Result<Published, Gone> {
        self.deliver(follower, |state| {
            life.advance(streamed.offset);
            streamed.message(&self.name, life, state.log.newest(), &state.rule, self.shared.now())
        })
    }

    /// Makes a message and delivers it, if every outlet has room for it; else `make` is not called.
    fn deliver(&self, publisher: &Waker, make: impl FnOnce(&mut State) -> Message) -> Result<Published, Gone> {
        self.with_living(|state| {
            state.audience.follow(&self.name, &self.shared.patterns);
            if let Some(full) = state.audience.outlet_without_room(publisher) {
                return Published::NoRoom(Arc::clone(full));
            }
            let message = make(state);
            state.deliver(&message, publisher);
            Published::At { position: message.position, rule: message.rule.id, is_rank_behind: self.is_rank_behind_in(state) }
        })
    }

    /// Whether the topic's upkeep is to be scheduled now. Upkeep is scheduled once until it is done.
    pub fn begins_to_await_upkeep(&self) -> bool {
        self.state.lock().lifetime.begins_to_await_upkeep()
    }

    /// Subscribes a session of `outlet` by name. Returns where it begins.
    pub fn subscribe(&self, id: OutletId, outlet: &Arc<dyn Outlet>, member: &Member, wanted: ReplayRequest<'_>) -> Result<Start, Gone> {
        self.with_living(|state| {
            let start = state.start(wanted, self.shared.now());
            if state.rule.presence {
                state.audience.follow(&self.name, &self.shared.patterns);
                // Before the outlet is added: a session that is alone on its outlet does not receive its own join.
                state.audience.join(&self.name, member, &self.shared.other_gateways);
            }
            state.audience.add_named(id, outlet);
            start
        })
    }

    /// Undoes [`Topic::subscribe`].
    pub fn unsubscribe(&self, id: OutletId, session: SessionId) {
        let mut state = self.state.lock();
        state.lifetime.use_at(self.shared.now());
        state.audience.remove_named(id);
        state.audience.follow(&self.name, &self.shared.patterns);
        state.audience.leave(&self.name, session, &self.shared.other_gateways);
    }

    /// Changes the user of a member, which outlets receive as a leave and a join.
    pub fn change_user(&self, member: &Member) -> Result<(), Gone> {
        self.with_living(|state| {
            state.audience.follow(&self.name, &self.shared.patterns);
            state.audience.change_user(&self.name, member, &self.shared.other_gateways);
        })
    }

    /// Makes a subscribed session a member, if the topic's rule has presence on. Outlets receive no join.
    pub fn enter(&self, member: &Member) -> Result<(), Gone> {
        self.with_living(|state| {
            if state.rule.presence {
                state.audience.enter(&self.name, member, &self.shared.other_gateways);
            }
        })
    }

    /// The members at all gateways; `None`: the topic's rule has presence off.
    pub fn members(&self) -> Result<Option<Vec<Member>>, Gone> {
        self.with_living(|state| state.rule.presence.then(|| state.audience.members(&self.name, &self.shared.other_gateways)))
    }

    /// Applies a join or leave at another gateway, and forwards it to the outlets.
    pub fn apply_remote_presence(&self, change: &Arc<PresenceChange>) -> Result<(), Gone> {
        self.with_living(|state| {
            self.shared.other_gateways.apply(change);
            if state.rule.presence {
                state.audience.follow(&self.name, &self.shared.patterns);
                state.audience.forward(change);
            }
        })
    }

    /// Where a subscriber begins that receives the topic already, as one by pattern does; `None`: the topic has died.
    pub fn start(&self, wanted: ReplayRequest<'_>) -> Option<Start> {
        self.with_living(|state| state.start(wanted, self.shared.now())).ok()
    }

    /// Where the replay begins for a subscriber that gets every message from `owed` on, and the `last` messages before.
    pub fn replay_before(&self, owed: Position, last: Option<usize>) -> Position {
        self.read(|log, rule| log.replay_before(owed, last.unwrap_or(rule.last)))
    }

    /// Runs `read` on the log, which has no expired messages, with the rule in force. A topic that has died is read as empty.
    pub fn read<R>(&self, read: impl FnOnce(&Log, &Rule) -> R) -> R {
        self.with(|state| {
            state.follow(&self.shared.live, &self.name);
            state.expire(self.shared.now());
            read(&state.log, &state.rule)
        })
    }

    /// Reads history from `next` on: at most `messages` messages, and about `bytes` of payloads.
    pub fn replay(&self, next: Position, messages: usize, bytes: usize, now: Moment) -> ReplayPiece {
        self.with(|state| {
            state.expire(now);
            state.log.read(next, messages, bytes)
        })
    }

    /// The newest position.
    pub fn position(&self) -> Position {
        self.state.lock().log.position()
    }

    /// The topic as `/v1/topics` shows it.
    pub fn info(&self) -> TopicInfo {
        let state = self.state.lock();
        let (position, subscribers, rule) = (state.log.position(), state.audience.named(), state.rule.label().into());
        TopicInfo { topic: self.name.clone(), subscribers, position, rule }
    }

    /// The topic's rank; 0: the topic can't be evicted.
    pub fn rank(&self, by: RankBy) -> u64 {
        self.state.lock().rank(by)
    }

    /// The ranks of the topic's entries in the orders of eviction.
    pub fn ordered_ranks(&self) -> &OrderedRanks {
        &self.ordered_ranks
    }

    /// Whether the topic's entries in the orders of eviction are to be moved.
    pub fn is_rank_behind(&self) -> bool {
        self.is_rank_behind_in(&self.state.lock())
    }

    fn is_rank_behind_in(&self, state: &State) -> bool {
        self.ordered_ranks.is_behind(|by| state.rank(by))
    }

    /// Removes the oldest messages until `bytes` are freed or no message is left. Returns the number of freed bytes.
    pub fn trim_history(&self, bytes: usize) -> usize {
        self.with(|state| state.log.trim(bytes))
    }

    /// Ends the topic's life if its rank by last use is still `rank`. Returns whether it did.
    pub fn evict(&self, rank: u64) -> bool {
        self.with(|state| {
            let gives_way = state.rank(RankBy::LastUse) == rank;
            if gives_way {
                state.die();
            }
            gives_way
        })
    }

    /// Removes expired messages, and ends the topic's life after `grace` without messages and named subscribers.
    pub fn upkeep(&self, grace: Duration, now: Moment) -> Upkeep {
        self.with(|state| {
            state.expire(now);
            let kept_until = state.log.oldest_moment().map(|oldest| oldest + state.rule.history_ttl);
            let upkeep = state.lifetime.upkeep(kept_until, state.audience.named(), grace, now);
            if matches!(upkeep, Upkeep::Dead) {
                state.die();
            }
            upkeep
        })
    }

    /// Ends the topic's life and returns the topic in the form in which a store writes it; `None`: its life is over already, or a stream
    /// keeps its messages.
    pub fn export(&self) -> Option<TopicState> {
        self.with(|state| {
            if state.lifetime.is_over() || state.log.is_of_stream() {
                return None;
            }
            let rule = state.rule.label().into();
            let (position, messages) = (state.log.position(), state.log.messages().map(KeptMessage::from).collect());
            state.die();
            Some(TopicState { name: self.name.clone(), epoch: position.epoch, newest: position.offset, rule, messages })
        })
    }

    /// Continues `kept`. The topic is a new one that no session uses yet; it counts as used until `used_until`.
    pub fn restore(&self, kept: TopicState, used_until: Moment) {
        let (config, clock) = (self.shared.live.load(), &self.shared.clock);
        let rules = &config.rules;
        let has_label = |rule: &&Arc<Rule>| rule.label() == &*kept.rule;
        let rule = rules.iter().find(has_label).unwrap_or_else(|| rules.of(&self.name));
        let (epoch, newest) = (kept.epoch, kept.newest);
        let messages = kept.messages.into_iter().map(|message| message.into_message(&self.name, epoch, rule, clock));
        self.with(|state| {
            state.log = Log::restored(Position { epoch, offset: newest }, messages, clock.moment());
            state.lifetime.use_at(used_until);
        });
    }

    /// Replaces the topic's log by `log`, in which its subscribers continue.
    pub fn replace_log(&self, log: &mut Log) -> Result<(), Gone> {
        self.with(|state| {
            if state.lifetime.is_over() {
                return Err(Gone);
            }
            self.switch_log(state, log);
            Ok(())
        })
    }

    /// Replaces the topic's log by an empty one in `life`, unless the topic is in that life.
    pub fn begin_empty_in(&self, life: &Arc<StreamLife>) {
        self.with(|state| {
            if !state.lifetime.is_over() && !state.log.is_in(life) {
                self.switch_log(state, &mut Log::of_stream(life, life.base(), self.shared.now()));
            }
        });
    }

    fn switch_log(&self, state: &mut State, log: &mut Log) {
        let after = state.log.known_to();
        log.reach_back(&state.log);
        std::mem::swap(&mut state.log, log);
        state.lifetime.use_at(self.shared.now());
        state.audience.follow(&self.name, &self.shared.patterns);
        state.audience.log_replaced(&self.name, after);
    }

    /// Runs `act` under the lock with the rule in force, if the topic lives.
    fn with_living<R>(&self, act: impl FnOnce(&mut State) -> R) -> Result<R, Gone> {
        self.with(|state| {
            if state.lifetime.is_over() {
                return Err(Gone);
            }
            state.follow(&self.shared.live, &self.name);
            Ok(act(state))
        })
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
