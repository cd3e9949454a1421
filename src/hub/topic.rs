//! One topic: its lock, and under it the offset, the history, who is there and who is to hear.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::history::History;
use super::message::{About, Message, Publication};
use super::outlet::{Outlet, OutletId, PresenceChange};
use super::presence::Presence;
use crate::clock::{Clock, Moment};
use crate::config::{Live, Rule, RuleId};
use crate::position::{Epoch, Offset, Position};
use crate::session_id::{Member, SessionId};
use crate::topic_name::TopicName;

/// One life of a topic.
pub struct Topic {
    name: TopicName,
    epoch: Epoch,
    /// The bytes of all topics' histories.
    histories_bytes: Arc<AtomicUsize>,
    /// Nothing waits while it is held, and no other topic's lock is taken.
    state: Mutex<State>,
}

struct State {
    newest: Offset,
    history: History,
    presence: Option<Box<Presence>>,
    interests: Vec<Interest>,
    /// Sessions subscribed by name.
    named: usize,
    rule: Arc<Rule>,
    /// The configuration's generation that `rule` is of.
    generation: u64,
    used_at: Moment,
    published_at: Moment,
    /// Whether expiry has it in its queue.
    awaited: bool,
    /// Taken out of the registry; whoever still holds it must look its name up again.
    gone: bool,
}

/// An outlet with subscribers: one count for each session by name and one for each pattern.
struct Interest {
    id: OutletId,
    outlet: Arc<dyn Outlet>,
    count: u32,
}

/// The topic has died meanwhile; its name is to be looked up again.
#[derive(Debug)]
pub struct Gone;

/// What came of an attempt to publish.
pub enum Published {
    /// It has its position, under this rule.
    At(Position, RuleId),
    /// This outlet has no room, so no offset was assigned.
    NoRoom(Arc<dyn Outlet>),
}

/// How a subscriber begins on a topic.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// The topic's newest position as it begins; what comes later is live.
    pub position: Position,
    /// The first offset to replay; `None`: nothing is.
    pub replay_from: Option<Offset>,
    /// Whether `since` was kept, where it was asked for.
    pub recovered: Option<bool>,
}

/// What a subscriber asks to have replayed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// The epoch and offset that it says it has.
    pub since: Option<(&'a str, Offset)>,
    /// The newest messages; the rule's `last` where it says nothing.
    pub last: Option<usize>,
}

/// A piece of history on its way to one session.
#[derive(Debug, Default)]
pub struct ReplayPiece {
    /// Offsets that history no longer has: from, to.
    pub gap: Option<(Offset, Offset)>,
    /// The messages after the gap.
    pub messages: Vec<Message>,
    /// All is read; what is published from now on is live.
    pub caught_up: bool,
}

/// What a topic's look after itself has found.
pub enum Upkeep {
    /// It is to be looked after again then.
    Again(Moment),
    /// It needs no looking after until something happens to it.
    Rests,
    /// Nobody needs it, and it is marked as gone.
    Dead,
}

impl Topic {
    /// A new life, with the outlets of the patterns that match it.
    pub fn new(name: TopicName, live: &Live, histories_bytes: &Arc<AtomicUsize>, now: Moment) -> Self {
        let generation = live.generation();
        let rule = Arc::clone(live.load().rules.of(&name));
        let state = State {
            newest: Offset(0),
            history: History::default(),
            presence: None,
            interests: Vec::new(),
            named: 0,
            rule,
            generation,
            used_at: now,
            published_at: now,
            awaited: true,
            gone: false,
        };
        Self { name, epoch: Epoch::random(), histories_bytes: Arc::clone(histories_bytes), state: Mutex::new(state) }
    }

    /// Its name.
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// Gives `publication` the next offset and offers it to every outlet.
    /// Each outlet hears offsets in order because both happen under this lock. The payload is copied here too: a message is one
    /// piece of memory, and knows its position from the beginning.
    pub fn publish(&self, publication: &Publication<'_>, live: &Live, clock: &Clock) -> Result<Published, Gone> {
        self.with(|state| self.publish_in(state, publication, live, clock))
    }

    fn publish_in(&self, state: &mut State, publication: &Publication<'_>, live: &Live, clock: &Clock) -> Result<Published, Gone> {
        if state.gone {
            return Err(Gone);
        }
        state.follow(live, &self.name);
        if let Some(full) = state.interests.iter().find(|interest| !interest.outlet.has_room()) {
            return Ok(Published::NoRoom(Arc::clone(&full.outlet)));
        }
        let moment = clock.moment();
        state.newest = state.newest.next();
        (state.used_at, state.published_at) = (moment, moment);
        let about = About {
            topic: self.name.clone(),
            position: self.position(state),
            published_at: clock.now(),
            moment,
            kind: publication.kind,
            except: publication.except,
            rule: Arc::clone(&state.rule),
        };
        let message = Message::new(about, publication.payload);
        state.history.keep(&message);
        state.interests.iter().for_each(|interest| interest.outlet.offer(&message));
        Ok(Published::At(message.position, message.rule.id))
    }

    /// Whether expiry is to be told of it now; it is told once until it has looked.
    pub fn begins_to_be_awaited(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().awaited, true)
    }

    /// Seats a subscriber by name on `outlet`. The flag: its rule knows presence.
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
            let start = self.start(state, wanted, now);
            state.named += 1;
            if state.rule.presence && state.presence.get_or_insert_default().join(member) {
                self.tell(state, member.clone(), true);
            }
            state.count_in(id, outlet);
            Ok((start, state.rule.presence))
        })
    }

    /// Takes a subscriber by name away again.
    pub fn unsubscribe(&self, id: OutletId, session: SessionId, now: Moment) {
        let mut state = self.state.lock();
        state.named = state.named.saturating_sub(1);
        state.used_at = now;
        state.count_out(id);
        let left = state.presence.as_mut().and_then(|presence| presence.leave(session));
        if let Some(member) = left {
            self.tell(&state, member, false);
        }
    }

    /// A member goes by another name from now on: a leave, then a join.
    pub fn rename(&self, member: &Member) {
        let mut state = self.state.lock();
        let Some(presence) = state.presence.as_mut() else { return };
        let Some(before) = presence.leave(member.session) else { return };
        presence.join(member);
        self.tell(&state, before, false);
        self.tell(&state, member.clone(), true);
    }

    /// A subscriber by name from before presence was turned on is a member from now on. Nobody came, so no join is told.
    pub fn enter(&self, member: &Member, live: &Live) {
        let mut state = self.state.lock();
        state.follow(live, &self.name);
        if state.rule.presence {
            state.presence.get_or_insert_default().join(member);
        }
    }

    /// Adds a pattern's count for `outlet`.
    pub fn pattern_in(&self, id: OutletId, outlet: &Arc<dyn Outlet>) {
        self.state.lock().count_in(id, outlet);
    }

    /// Takes a pattern's count for an outlet away.
    pub fn pattern_out(&self, id: OutletId) {
        self.state.lock().count_out(id);
    }

    /// How a subscriber by pattern begins here; `None` if the topic has died.
    pub fn start_by_pattern(&self, wanted: Wanted<'_>, live: &Live, now: Moment) -> Option<Start> {
        self.with(|state| {
            state.follow(live, &self.name);
            (!state.gone).then(|| self.start(state, wanted, now))
        })
    }

    /// Reads on from `offset`, at most `messages` and about `bytes`.
    pub fn replay(&self, offset: Offset, messages: usize, bytes: usize, now: Moment) -> ReplayPiece {
        self.with(|state| {
            state.expire(now);
            state.piece(offset, messages, bytes)
        })
    }

    /// A part of the history: after `since`, or the newest `limit`; at most about `bytes`. The flag: more follow.
    pub fn history(&self, since: Option<Offset>, limit: usize, bytes: usize, live: &Live, now: Moment) -> Option<(Vec<Message>, bool)> {
        self.with(|state| {
            state.follow(live, &self.name);
            state.expire(now);
            (state.rule.history > 0).then(|| state.page(since, limit, bytes))
        })
    }

    /// Who is there; `None` where the rule has presence off.
    pub fn members(&self, live: &Live) -> Option<Vec<Member>> {
        let mut state = self.state.lock();
        state.follow(live, &self.name);
        state.rule.presence.then(|| state.presence.as_ref().map(|presence| presence.members()).unwrap_or_default())
    }

    /// Its newest position, its subscribers by name, and its rule.
    pub fn view(&self) -> (Position, usize, Arc<Rule>) {
        let state = self.state.lock();
        (self.position(&state), state.named, Arc::clone(&state.rule))
    }

    /// When it was last used, if no session is subscribed by name: then it may give way to others.
    pub fn idle_since(&self) -> Option<Moment> {
        let state = self.state.lock();
        (state.named == 0 && !state.gone).then_some(state.used_at)
    }

    /// When it was last published to, if it has a history.
    pub fn history_since(&self) -> Option<Moment> {
        let state = self.state.lock();
        (!state.history.is_empty()).then_some(state.published_at)
    }

    /// Gives up its oldest messages until `bytes` are freed or none is left; what was freed.
    pub fn give_up_history(&self, bytes: usize) -> usize {
        self.with(|state| {
            let mut freed = 0;
            while freed < bytes && !state.history.is_empty() {
                freed += state.history.give_up_oldest();
            }
            freed
        })
    }

    /// Marks it as gone if it is still unused since `moment`.
    pub fn give_way(&self, moment: Moment) -> bool {
        self.with(|state| {
            let gives_way = state.named == 0 && !state.gone && state.used_at == moment;
            if gives_way {
                state.die();
            }
            gives_way
        })
    }

    /// Lets old messages go, and the topic itself once it has had neither message nor named subscriber for `grace`.
    pub fn look_after(&self, grace: Duration, now: Moment) -> Upkeep {
        self.with(|state| {
            state.expire(now);
            match state.history.oldest_moment() {
                Some(oldest) => Upkeep::Again(oldest + state.rule.history_ttl),
                None if state.named > 0 => {
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

    /// Runs `act` under the lock and accounts for what it did to the history's bytes.
    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let before = state.history.bytes();
        let result = act(&mut state);
        let after = state.history.bytes();
        if after > before {
            self.histories_bytes.fetch_add(after - before, Ordering::Relaxed);
        } else if before > after {
            self.histories_bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
        result
    }

    fn position(&self, state: &State) -> Position {
        Position { epoch: self.epoch, offset: state.newest }
    }

    fn start(&self, state: &mut State, wanted: Wanted<'_>, now: Moment) -> Start {
        state.expire(now);
        let newest = state.newest;
        let first = state.history.first().unwrap_or(newest.next());
        let recovered = wanted.since.map(|(epoch, offset)| epoch == self.epoch.as_str() && offset <= newest && offset.next() >= first);
        let replay_from = match wanted.since {
            Some((_, offset)) if recovered == Some(true) => offset.next(),
            _ => {
                let last = wanted.last.unwrap_or(state.rule.last).min(state.history.len());
                Offset(newest.0 - last as u64).next()
            }
        };
        Start { position: self.position(state), replay_from: (replay_from <= newest).then_some(replay_from), recovered }
    }

    fn tell(&self, state: &State, member: Member, joined: bool) {
        let change = Arc::new(PresenceChange { topic: self.name.clone(), member, joined });
        state.interests.iter().for_each(|interest| interest.outlet.tell(&change));
    }
}

impl State {
    /// Takes the rule of the configuration in force.
    fn follow(&mut self, live: &Live, name: &TopicName) {
        let generation = live.generation();
        if self.generation != generation {
            self.generation = generation;
            self.rule = Arc::clone(live.load().rules.of(name));
        }
    }

    fn piece(&self, offset: Offset, messages: usize, mut bytes: usize) -> ReplayPiece {
        let newest = self.newest;
        let first = self.history.first().unwrap_or(newest.next());
        let mut piece = ReplayPiece::default();
        if first > offset {
            piece.gap = Some((offset, Offset(first.0 - 1)));
        }
        let mut reached = offset.max(first);
        for message in self.history.from(reached).take(messages) {
            if bytes == 0 {
                break;
            }
            bytes = bytes.saturating_sub(message.payload().len());
            reached = message.position.offset.next();
            piece.messages.push(message.clone());
        }
        piece.caught_up = reached > newest;
        piece
    }

    fn page(&self, since: Option<Offset>, limit: usize, mut bytes: usize) -> (Vec<Message>, bool) {
        let first = match since {
            Some(offset) => offset.next(),
            None => Offset(self.newest.0.saturating_sub(limit as u64) + 1),
        };
        let mut messages: Vec<Message> = Vec::new();
        for message in self.history.from(first).take(limit) {
            if message.payload().len() > bytes && !messages.is_empty() {
                break;
            }
            bytes = bytes.saturating_sub(message.payload().len());
            messages.push(message.clone());
        }
        let more = messages.last().is_some_and(|last| last.position.offset < self.newest);
        (messages, more)
    }

    fn expire(&mut self, now: Moment) {
        let Self { history, rule, .. } = self;
        history.expire(rule, now);
    }

    fn count_in(&mut self, id: OutletId, outlet: &Arc<dyn Outlet>) {
        match self.interests.iter_mut().find(|interest| interest.id == id) {
            Some(interest) => interest.count += 1,
            None => self.interests.push(Interest { id, outlet: Arc::clone(outlet), count: 1 }),
        }
    }

    fn count_out(&mut self, id: OutletId) {
        let Some(index) = self.interests.iter().position(|interest| interest.id == id) else { return };
        self.interests[index].count -= 1;
        if self.interests[index].count == 0 {
            self.interests.swap_remove(index);
        }
    }

    fn die(&mut self) {
        self.gone = true;
        self.history.clear();
    }
}
