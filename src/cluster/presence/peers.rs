//! The members of the other gateways: what these say goes in, what is to be done comes out. No network, and no time but what is handed in.
//!
//! Each gateway numbers its changes. Who has missed one asks for all members, a page after the other; changes that come meanwhile wait, and
//! are applied behind the last page. A page is newer than some of them, so a change may be applied to what has it already.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem::take;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::wire::{GatewayId, Page, Said, Seat};
use crate::hub::PresenceChange;

/// Gateways that are heard, at most.
const PEERS_MAX: usize = 256;
/// Gateways that are asked at a time, at most.
const ASKED_MAX: usize = 4;
/// How long an answer is awaited.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two times that one gateway is asked for all members: the least, and the most, which is reached by asking often.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// A gateway that needed no asking for so long is asked after the least pause again.
const CALM: Duration = Duration::from_secs(30);
/// Changes of one gateway that wait for the end of its pages, in bytes.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// What a member takes beside its change, in bytes.
const SEAT_BYTES: usize = 128;

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// A member of another gateway joined or left.
    Change(Arc<PresenceChange>),
    /// A gateway is to be asked for its members behind a seat.
    Ask(GatewayId, Option<Seat>),
}

/// What is kept of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// Gateways.
    pub peers: usize,
    /// Members.
    pub members: usize,
    /// What these take, in bytes.
    pub bytes: usize,
}

/// All other gateways.
#[derive(Debug)]
pub struct Peers {
    peers: HashMap<GatewayId, Peer>,
    seats: Seats,
    /// A gateway that says nothing for so long is dead.
    timeout: Duration,
    /// What is to be done, until it is taken.
    actions: Vec<Action>,
}

/// What all gateways' members share: their account.
#[derive(Debug)]
struct Seats {
    members: usize,
    bytes: usize,
    bytes_max: usize,
    /// Members that had no room.
    refused: u64,
}

#[derive(Debug)]
struct Peer {
    name: Box<str>,
    heard_at: Instant,
    /// The newest change that its members have in them.
    n: u64,
    /// Each as its join.
    members: BTreeMap<Seat, Arc<PresenceChange>>,
    /// Some of its members had no room.
    is_incomplete: bool,
    step: Step,
    /// When it was last to be asked for all members, and the pause behind that.
    asked: Option<(Instant, Duration)>,
}

/// How a gateway is followed.
#[derive(Debug)]
enum Step {
    /// Its members are known.
    In,
    /// Something was missed; it is to be asked then.
    Out { ask_at: Instant },
    /// It was asked.
    Asking(Asking),
}

#[derive(Debug)]
struct Asking {
    /// Behind which member.
    after: Option<Seat>,
    asked_at: Instant,
    /// The number of the first page.
    n: Option<u64>,
    /// Changes that came meanwhile, each with its number.
    waiting: VecDeque<(u64, Arc<PresenceChange>)>,
    waiting_bytes: usize,
}

impl Peers {
    /// Nobody was heard yet. A gateway that is silent for `timeout` is dead; members take `bytes_max` at most.
    pub fn new(timeout: Duration, bytes_max: usize) -> Self {
        let seats = Seats { members: 0, bytes: 0, bytes_max, refused: 0 };
        Self { peers: HashMap::new(), seats, timeout, actions: Vec::new() }
    }

    /// Takes other settings.
    pub fn set_limits(&mut self, timeout: Duration, bytes_max: usize) {
        (self.timeout, self.seats.bytes_max) = (timeout, bytes_max);
    }

    /// What is kept, and how many members had no room since the last call.
    pub fn account(&mut self) -> (Kept, u64) {
        let kept = Kept { peers: self.peers.len(), members: self.seats.members, bytes: self.seats.bytes };
        (kept, take(&mut self.seats.refused))
    }

    /// What is to be done by now.
    pub fn take_actions(&mut self) -> Vec<Action> {
        take(&mut self.actions)
    }

    /// `from` said something.
    pub fn hear(&mut self, from: GatewayId, said: Said, now: Instant) {
        if matches!(said, Said::Bye) {
            return self.end(from, "it has ended");
        }
        if !self.peers.contains_key(&from) {
            if self.peers.len() >= PEERS_MAX {
                return tracing::debug!(gateway = ?from, PEERS_MAX, "more gateways than are followed; this one's members are not shown");
            }
            tracing::info!(gateway = ?from, "another gateway is heard");
        }
        let peer = self.peers.entry(from).or_insert_with(|| Peer::new(now));
        peer.heard_at = now;
        match said {
            Said::Beat { n, members, name } => {
                peer.name = name;
                let differs = !peer.is_incomplete && members.is_some_and(|members| members != peer.members.len() as u64);
                // A lower one has been on its way since before the connection was made anew.
                if matches!(peer.step, Step::In) && (n > peer.n || n == peer.n && differs) {
                    peer.fall_out(now);
                }
            }
            Said::Changes { after, changes } => {
                for (index, change) in changes.into_iter().enumerate() {
                    peer.take(after + 1 + index as u64, change, &mut self.seats, &mut self.actions, now);
                }
            }
            Said::Bye => {}
        }
        self.ask(now);
    }

    /// `from` has answered.
    pub fn answer(&mut self, from: GatewayId, page: Page, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.heard_at = now;
            peer.take_page(from, page, &mut self.seats, &mut self.actions, now);
        }
        self.ask(now);
    }

    /// Time has passed: who is silent is dead, and who has not answered is asked again.
    pub fn look(&mut self, now: Instant) {
        let dead: Vec<GatewayId> =
            self.peers.iter().filter(|(_, peer)| now.duration_since(peer.heard_at) >= self.timeout).map(|(&id, _)| id).collect();
        dead.into_iter().for_each(|id| self.end(id, "nothing was heard of it for cluster.presence_timeout"));
        let has_room = self.seats.bytes < self.seats.bytes_max / 4 * 3;
        for peer in self.peers.values_mut() {
            match &peer.step {
                Step::Asking(asking) if now.duration_since(asking.asked_at) >= ANSWER_TIMEOUT => peer.fall_out(now),
                Step::In if peer.is_incomplete && has_room => peer.fall_out(now),
                _ => {}
            }
        }
        self.ask(now);
    }

    /// Asks those that are due, as many as may be asked at a time.
    fn ask(&mut self, now: Instant) {
        let asked = self.peers.values().filter(|peer| matches!(peer.step, Step::Asking(_))).count();
        let due = self.peers.iter_mut().filter(|(_, peer)| matches!(peer.step, Step::Out { ask_at } if ask_at <= now));
        for (&id, peer) in due.take(ASKED_MAX.saturating_sub(asked)) {
            peer.step = Step::Asking(Asking { after: None, asked_at: now, n: None, waiting: VecDeque::new(), waiting_bytes: 0 });
            self.actions.push(Action::Ask(id, None));
        }
    }

    fn end(&mut self, id: GatewayId, reason: &str) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        tracing::info!(gateway = ?id, name = peer.name, members = peer.members.len(), reason, "another gateway is gone, and its members with it");
        while let Some((_, joined)) = peer.members.pop_first() {
            self.seats.left(&joined, &mut self.actions);
        }
    }
}

impl Seats {
    fn joined(&mut self, joined: &Arc<PresenceChange>, actions: &mut Vec<Action>) {
        self.members += 1;
        self.bytes += joined.bytes() + SEAT_BYTES;
        actions.push(Action::Change(Arc::clone(joined)));
    }

    fn left(&mut self, joined: &Arc<PresenceChange>, actions: &mut Vec<Action>) {
        self.members -= 1;
        self.bytes -= joined.bytes() + SEAT_BYTES;
        let PresenceChange { topic, member, .. } = &**joined;
        actions.push(Action::Change(Arc::new(PresenceChange { topic: topic.clone(), member: member.clone(), joined: false })));
    }

    fn has_room(&mut self, joined: &PresenceChange) -> bool {
        let has_room = self.bytes + joined.bytes() + SEAT_BYTES <= self.bytes_max;
        self.refused += u64::from(!has_room);
        has_room
    }
}

impl Peer {
    fn new(now: Instant) -> Self {
        Self { name: Box::default(), heard_at: now, n: 0, members: BTreeMap::new(), is_incomplete: false, step: Step::In, asked: None }
    }

    /// Something was missed: all members are to be asked for, with longer pauses the more often it happens.
    fn fall_out(&mut self, now: Instant) {
        let (least, most) = PAUSE;
        let (ask_at, pause) = match self.asked {
            Some((at, pause)) if now.saturating_duration_since(at) < CALM => (now.max(at + pause), (pause * 2).min(most)),
            _ => (now, least),
        };
        self.asked = Some((ask_at, pause));
        self.step = Step::Out { ask_at };
    }

    /// Takes the change with this number.
    fn take(&mut self, n: u64, change: Arc<PresenceChange>, seats: &mut Seats, actions: &mut Vec<Action>, now: Instant) {
        match &mut self.step {
            Step::Out { .. } => {}
            Step::Asking(asking) => {
                asking.waiting_bytes += change.bytes();
                asking.waiting.push_back((n, change));
                if asking.waiting_bytes > WAITING_BYTES_MAX {
                    self.fall_out(now);
                }
            }
            Step::In if n <= self.n => {}
            Step::In if n > self.n + 1 => self.fall_out(now),
            Step::In => {
                self.n = n;
                self.apply(change, seats, actions);
            }
        }
    }

    fn apply(&mut self, change: Arc<PresenceChange>, seats: &mut Seats, actions: &mut Vec<Action>) {
        let seat = Seat::of(&change);
        match self.members.get(&seat) {
            Some(known) if change.joined && known.member == change.member => return,
            Some(known) => {
                seats.left(known, actions);
                self.members.remove(&seat);
            }
            None => {}
        }
        if !change.joined {
            return;
        }
        if !seats.has_room(&change) {
            self.is_incomplete = true;
            return;
        }
        seats.joined(&change, actions);
        self.members.insert(seat, change);
    }

    /// Takes a page: who it should have and has not is gone. Behind the last one, the changes that came meanwhile.
    fn take_page(&mut self, id: GatewayId, page: Page, seats: &mut Seats, actions: &mut Vec<Action>, now: Instant) {
        let Step::Asking(asking) = &mut self.step else { return };
        if page.after != asking.after {
            return; // the answer to an earlier question
        }
        if asking.n.is_none() {
            asking.n = Some(page.n);
            self.is_incomplete = false;
        }
        let last = page.members.last().map(|joined| Seat::of(joined));
        let is_in_order = page.members.windows(2).all(|pair| Seat::of(&pair[0]) < Seat::of(&pair[1]))
            && page.members.first().is_none_or(|first| page.after.as_ref() < Some(&Seat::of(first)));
        if !is_in_order || page.more && last.is_none() {
            tracing::debug!(gateway = ?id, "a page of members is out of order");
            return self.fall_out(now);
        }
        let next = page.more.then_some(last).flatten();
        asking.after.clone_from(&next);
        asking.asked_at = now;
        self.replace(page, next.as_ref(), seats, actions);
        match next {
            Some(next) => actions.push(Action::Ask(id, Some(next))),
            None => self.step_in(seats, actions, now),
        }
    }

    /// Has what `page` has in the place of what was known behind its beginning, to `end` or the last.
    fn replace(&mut self, page: Page, end: Option<&Seat>, seats: &mut Seats, actions: &mut Vec<Action>) {
        let from = page.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let known = self.members.range::<Seat, _>((from, end.map_or(Bound::Unbounded, Bound::Included))).map(|(seat, _)| seat.clone());
        let mut listed = page.members.iter().map(|joined| Seat::of(joined)).peekable();
        let gone: Vec<Seat> = known
            .filter(|seat| {
                while listed.next_if(|listed| listed < seat).is_some() {}
                listed.peek() != Some(seat)
            })
            .collect();
        for seat in gone {
            if let Some(joined) = self.members.remove(&seat) {
                seats.left(&joined, actions);
            }
        }
        page.members.into_iter().for_each(|joined| self.apply(joined, seats, actions));
    }

    /// All pages are there: the changes behind the first one's number follow.
    fn step_in(&mut self, seats: &mut Seats, actions: &mut Vec<Action>, now: Instant) {
        let Step::Asking(Asking { n: Some(n), waiting, .. }) = std::mem::replace(&mut self.step, Step::In) else { return };
        self.n = n;
        for (number, change) in waiting {
            self.take(number, change, seats, actions, now);
        }
    }
}

#[cfg(test)]
mod tests;
