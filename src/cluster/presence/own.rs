//! The members of this gateway, as the others are told of them. No time, no network.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::wire::{self, Seat};
use crate::hub::PresenceChange;

/// Changes that wait to be told, in bytes. Past it they are given up: the others notice, and ask for all members.
const QUEUED_BYTES_MAX: usize = 16 << 20;
/// Members that are looked at for one page.
const PAGE_MEMBERS_MAX: usize = 4_096;

/// This gateway's members and what is still to be told of them.
#[derive(Debug, Default)]
pub struct Own {
    /// Each as its join.
    members: BTreeMap<Seat, Arc<PresenceChange>>,
    /// The number of the newest change.
    n: u64,
    /// The newest changes, which nobody was told of.
    queued: VecDeque<Arc<PresenceChange>>,
    queued_bytes: usize,
    /// Whether there is somebody to tell.
    connected: bool,
}

impl Own {
    /// A member of this gateway joined or left.
    pub fn change(&mut self, change: &Arc<PresenceChange>) {
        let seat = Seat::of(change);
        if change.joined {
            self.members.insert(seat, Arc::clone(change));
        } else {
            self.members.remove(&seat);
        }
        self.n += 1;
        if !self.connected {
            return;
        }
        self.queued_bytes += change.bytes();
        self.queued.push_back(Arc::clone(change));
        if self.queued_bytes > QUEUED_BYTES_MAX {
            self.forget_queued();
        }
    }

    /// The connection came or went. What happens without one is not queued: the others see that they have missed it.
    pub fn set_connected(&mut self, connected: bool) {
        self.connected = connected;
        if !connected {
            self.forget_queued();
        }
    }

    /// At most `most` changes that are to be told now, and the number before them.
    pub fn tell(&mut self, most: usize) -> (u64, Vec<Arc<PresenceChange>>) {
        let (after, _) = self.told();
        let changes: Vec<_> = self.queued.drain(..most.min(self.queued.len())).collect();
        self.queued_bytes -= changes.iter().map(|change| change.bytes()).sum::<usize>();
        (after, changes)
    }

    /// So many changes were told; and so many members are left by them, unless there are newer changes.
    pub fn told(&self) -> (u64, Option<u64>) {
        let members = self.queued.is_empty().then_some(self.members.len() as u64);
        (self.n - self.queued.len() as u64, members)
    }

    /// The members behind `after`, for one page, and whether there are more; and the number of the newest change.
    pub fn page(&self, after: Option<&Seat>) -> (u64, Vec<Arc<PresenceChange>>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut behind = self.members.range::<Seat, _>((from, Bound::Unbounded)).map(|(_, joined)| Arc::clone(joined));
        let members = behind.by_ref().take(PAGE_MEMBERS_MAX).collect();
        (self.n, members, behind.next().is_some())
    }

    fn forget_queued(&mut self) {
        self.queued = VecDeque::new();
        self.queued_bytes = 0;
    }
}

/// Written answer to who asks for the members behind `after`, of `most` bytes at most.
pub fn written_page(after: Option<&Seat>, (n, members, more): (u64, Vec<Arc<PresenceChange>>, bool), most: usize) -> Vec<u8> {
    wire::page(after, n, &members, most, |count| more || count < members.len())
}
