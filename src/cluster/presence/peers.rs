//! The members of the other gateways (*peers*): the messages of these go in, actions come out. This file does not use the network, and is given
//! the time.
//!
//! Each gateway numbers its changes. A gateway that has missed one fetches all members, one page after the other. Changes that arrive during
//! the fetch are queued, and applied after the last page. A page may include such a change already, so a change may be applied twice.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem::take;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::gateway_id::GatewayId;
use super::wire::{Announcement, MemberKey, Page};
use crate::hub::PresenceChange;

/// The most gateways that are followed.
const PEERS_MAX: usize = 256;
/// The most gateways whose members are fetched at the same time.
const FETCHES_MAX: usize = 4;
/// How long the answer to a request may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The shortest and the longest pause between two fetches from one gateway. The pause doubles with each fetch.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// The pause is the shortest again for a gateway from which nothing was fetched for this long.
const PAUSE_RESET: Duration = Duration::from_secs(30);
/// The most bytes of changes of one gateway that are queued during a fetch.
const QUEUED_BYTES_MAX: usize = 16 << 20;
/// The estimated bytes that a member takes in addition to its change.
const KEY_BYTES: usize = 128;

/// What the caller has to do.
#[derive(Debug)]
pub enum Action {
    /// Tell the hub that a member of another gateway joined or left.
    Change(Arc<PresenceChange>),
    /// Request a page of a gateway's members after this key.
    RequestPage(GatewayId, Option<MemberKey>),
}

/// How much is kept of the other gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    pub peers: usize,
    pub members: usize,
    pub bytes: usize,
}

/// All other gateways.
#[derive(Debug)]
pub struct Peers {
    peers: HashMap<GatewayId, Peer>,
    shared: Shared,
    /// A gateway that is silent for this long is gone.
    timeout: Duration,
}

/// What all peers share: the limit on their memory, and the list of actions.
#[derive(Debug)]
struct Shared {
    members: usize,
    bytes: usize,
    bytes_max: usize,
    /// The number of members for which there was no room.
    refused: u64,
    actions: Vec<Action>,
}

#[derive(Debug)]
struct Peer {
    name: Box<str>,
    last_heard: Instant,
    /// The number of the newest change that `members` includes.
    newest: u64,
    /// The joins of all members.
    members: BTreeMap<MemberKey, Arc<PresenceChange>>,
    /// There was no room for some members.
    is_incomplete: bool,
    sync: SyncState,
    /// When the last fetch was due, and the pause after it.
    last_fetch: Option<(Instant, Duration)>,
}

/// Whether the members of a peer are up to date.
#[derive(Debug)]
enum SyncState {
    /// All changes were applied.
    Current,
    /// A change was missed. All members will be fetched.
    Stale { fetch_at: Instant },
    /// All members are being fetched.
    Fetching(Fetch),
}

#[derive(Debug)]
struct Fetch {
    /// The requested page begins after this member.
    after: Option<MemberKey>,
    requested_at: Instant,
    /// The number of changes that the first page includes.
    newest: Option<u64>,
    /// The changes that arrived during the fetch, with their numbers.
    queued: VecDeque<(u64, Arc<PresenceChange>)>,
    queued_bytes: usize,
}

impl Peers {
    /// No peers yet. A gateway that is silent for `timeout` is gone. All members together take at most `bytes_max`.
    pub fn new(timeout: Duration, bytes_max: usize) -> Self {
        let shared = Shared { members: 0, bytes: 0, bytes_max, refused: 0, actions: Vec::new() };
        Self { peers: HashMap::new(), shared, timeout }
    }

    /// Changes the limits.
    pub fn set_limits(&mut self, timeout: Duration, bytes_max: usize) {
        (self.timeout, self.shared.bytes_max) = (timeout, bytes_max);
    }

    /// The totals, and the number of members without room since the last call.
    pub fn totals(&mut self) -> (Totals, u64) {
        let totals = Totals { peers: self.peers.len(), members: self.shared.members, bytes: self.shared.bytes };
        (totals, take(&mut self.shared.refused))
    }

    /// Removes and returns all actions.
    pub fn take_actions(&mut self) -> Vec<Action> {
        take(&mut self.shared.actions)
    }

    /// Handles an announcement of the gateway `from`.
    pub fn receive(&mut self, from: GatewayId, announcement: Announcement, now: Instant) {
        if matches!(announcement, Announcement::Leaving {}) {
            return self.remove(from, "it has ended");
        }
        if !self.peers.contains_key(&from) {
            if self.peers.len() >= PEERS_MAX {
                return tracing::debug!(gateway = ?from, PEERS_MAX, "the most gateways are followed already; members of this gateway are not shown");
            }
            tracing::info!(gateway = ?from, "the first heartbeat of another gateway has arrived");
        }
        let peer = self.peers.entry(from).or_insert_with(|| Peer::new(now));
        peer.last_heard = now;
        match announcement {
            Announcement::Heartbeat { newest, members, name } => {
                peer.name = name;
                let differs = !peer.is_incomplete && members.is_some_and(|members| members != peer.members.len() as u64);
                // A lower number was sent before a new connection was made, and arrives late.
                if matches!(peer.sync, SyncState::Current) && (newest > peer.newest || newest == peer.newest && differs) {
                    peer.schedule_fetch(now);
                }
            }
            Announcement::Changes { after, changes } => {
                for (index, change) in changes.into_iter().enumerate() {
                    peer.receive(after + 1 + index as u64, change, &mut self.shared, now);
                }
            }
            Announcement::Leaving {} => {}
        }
        self.start_fetches(now);
    }

    /// Handles a page of the gateway `from`.
    pub fn receive_page(&mut self, from: GatewayId, page: Page, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.last_heard = now;
            peer.receive_page(from, page, &mut self.shared, now);
        }
        self.start_fetches(now);
    }

    /// Removes gateways that are silent, and repeats fetches that were not answered.
    pub fn check_timeouts(&mut self, now: Instant) {
        let dead: Vec<GatewayId> =
            self.peers.iter().filter(|(_, peer)| now.duration_since(peer.last_heard) >= self.timeout).map(|(&id, _)| id).collect();
        dead.into_iter().for_each(|id| self.remove(id, "nothing was received from it for cluster.presence_timeout"));
        let has_room = self.shared.bytes < self.shared.bytes_max / 4 * 3;
        for peer in self.peers.values_mut() {
            match &peer.sync {
                SyncState::Fetching(fetch) if now.duration_since(fetch.requested_at) >= ANSWER_TIMEOUT => peer.schedule_fetch(now),
                SyncState::Current if peer.is_incomplete && has_room => peer.schedule_fetch(now),
                _ => {}
            }
        }
        self.start_fetches(now);
    }

    /// Starts the fetches that are due, up to `FETCHES_MAX`.
    fn start_fetches(&mut self, now: Instant) {
        let running = self.peers.values().filter(|peer| matches!(peer.sync, SyncState::Fetching(_))).count();
        let due = self.peers.iter_mut().filter(|(_, peer)| matches!(peer.sync, SyncState::Stale { fetch_at } if fetch_at <= now));
        for (&id, peer) in due.take(FETCHES_MAX.saturating_sub(running)) {
            peer.sync =
                SyncState::Fetching(Fetch { after: None, requested_at: now, newest: None, queued: VecDeque::new(), queued_bytes: 0 });
            self.shared.actions.push(Action::RequestPage(id, None));
        }
    }

    fn remove(&mut self, id: GatewayId, reason: &str) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        tracing::info!(gateway = ?id, name = peer.name, members = peer.members.len(), reason, "another gateway is gone, and its members with it");
        while let Some((_, joined)) = peer.members.pop_first() {
            self.shared.remove(&joined);
        }
    }
}

impl Shared {
    fn add(&mut self, joined: &Arc<PresenceChange>) {
        self.members += 1;
        self.bytes += joined.bytes() + KEY_BYTES;
        self.actions.push(Action::Change(Arc::clone(joined)));
    }

    fn remove(&mut self, joined: &Arc<PresenceChange>) {
        self.members -= 1;
        self.bytes -= joined.bytes() + KEY_BYTES;
        let PresenceChange { topic, member, .. } = &**joined;
        self.actions.push(Action::Change(Arc::new(PresenceChange { topic: topic.clone(), member: member.clone(), joined: false })));
    }

    fn has_room(&mut self, joined: &PresenceChange) -> bool {
        let has_room = self.bytes + joined.bytes() + KEY_BYTES <= self.bytes_max;
        self.refused += u64::from(!has_room);
        has_room
    }
}

impl Peer {
    fn new(now: Instant) -> Self {
        Self {
            name: Box::default(),
            last_heard: now,
            newest: 0,
            members: BTreeMap::new(),
            is_incomplete: false,
            sync: SyncState::Current,
            last_fetch: None,
        }
    }

    /// Schedules a fetch of all members, after a pause that is longer the more often this happens.
    fn schedule_fetch(&mut self, now: Instant) {
        let (least, most) = PAUSE;
        let (fetch_at, pause) = match self.last_fetch {
            Some((at, pause)) if now.saturating_duration_since(at) < PAUSE_RESET => (now.max(at + pause), (pause * 2).min(most)),
            _ => (now, least),
        };
        self.last_fetch = Some((fetch_at, pause));
        self.sync = SyncState::Stale { fetch_at };
    }

    /// Handles the change with this `number`.
    fn receive(&mut self, number: u64, change: Arc<PresenceChange>, shared: &mut Shared, now: Instant) {
        match &mut self.sync {
            SyncState::Stale { .. } => {}
            SyncState::Fetching(fetch) => {
                fetch.queued_bytes += change.bytes();
                fetch.queued.push_back((number, change));
                if fetch.queued_bytes > QUEUED_BYTES_MAX {
                    self.schedule_fetch(now);
                }
            }
            SyncState::Current if number <= self.newest => {}
            SyncState::Current if number > self.newest + 1 => self.schedule_fetch(now),
            SyncState::Current => {
                self.newest = number;
                self.apply(change, shared);
            }
        }
    }

    fn apply(&mut self, change: Arc<PresenceChange>, shared: &mut Shared) {
        let key = MemberKey::of(&change);
        match self.members.get(&key) {
            Some(known) if change.joined && known.member == change.member => return,
            Some(known) => {
                shared.remove(known);
                self.members.remove(&key);
            }
            None => {}
        }
        if !change.joined {
            return;
        }
        if !shared.has_room(&change) {
            self.is_incomplete = true;
            return;
        }
        shared.add(&change);
        self.members.insert(key, change);
    }

    /// Handles a page. After the last one, the queued changes are applied.
    fn receive_page(&mut self, id: GatewayId, page: Page, shared: &mut Shared, now: Instant) {
        let SyncState::Fetching(fetch) = &mut self.sync else { return };
        if page.after != fetch.after {
            return; // the answer to an earlier request
        }
        if fetch.newest.is_none() {
            fetch.newest = Some(page.newest);
            self.is_incomplete = false;
        }
        let last = page.members.last().map(|joined| MemberKey::of(joined));
        let is_in_order = page.members.windows(2).all(|pair| MemberKey::of(&pair[0]) < MemberKey::of(&pair[1]))
            && page.members.first().is_none_or(|first| page.after.as_ref() < Some(&MemberKey::of(first)));
        if !is_in_order || page.more && last.is_none() {
            tracing::debug!(gateway = ?id, "a page of members is out of order");
            return self.schedule_fetch(now);
        }
        let next = page.more.then_some(last).flatten();
        fetch.after.clone_from(&next);
        fetch.requested_at = now;
        self.replace(page, next.as_ref(), shared);
        match next {
            Some(next) => shared.actions.push(Action::RequestPage(id, Some(next))),
            None => self.finish_fetch(shared, now),
        }
    }

    /// Replaces the members from the beginning of `page` to `end`, or to the last member, with those of the page.
    fn replace(&mut self, page: Page, end: Option<&MemberKey>, shared: &mut Shared) {
        let from = page.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let known = self.members.range::<MemberKey, _>((from, end.map_or(Bound::Unbounded, Bound::Included))).map(|(key, _)| key.clone());
        let mut listed = page.members.iter().map(|joined| MemberKey::of(joined)).peekable();
        let gone: Vec<MemberKey> = known
            .filter(|key| {
                while listed.next_if(|listed| listed < key).is_some() {}
                listed.peek() != Some(key)
            })
            .collect();
        for key in gone {
            if let Some(joined) = self.members.remove(&key) {
                shared.remove(&joined);
            }
        }
        page.members.into_iter().for_each(|joined| self.apply(joined, shared));
    }

    /// Ends the fetch, and applies the queued changes that the first page does not include.
    fn finish_fetch(&mut self, shared: &mut Shared, now: Instant) {
        let SyncState::Fetching(Fetch { newest: Some(newest), queued, .. }) = std::mem::replace(&mut self.sync, SyncState::Current) else {
            return;
        };
        self.newest = newest;
        for (number, change) in queued {
            self.receive(number, change, shared, now);
        }
    }
}

#[cfg(test)]
mod tests;
