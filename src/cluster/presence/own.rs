//! The members of this gateway, and the changes that were not announced to other gateways yet. This file uses neither the network nor the
//! time.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::wire::{self, MemberKey};
use crate::hub::PresenceChange;

/// The most bytes of queued changes. Beyond it the queue is emptied: the other gateways notice a gap, and ask for all members.
const QUEUED_BYTES_MAX: usize = 16 << 20;
const PAGE_MEMBERS_MAX: usize = 4_096;

/// The members of this gateway, and their queued changes.
#[derive(Debug, Default)]
pub struct OwnMembers {
    /// The joins of all members.
    members: BTreeMap<MemberKey, Arc<PresenceChange>>,
    /// The number of the newest change.
    newest: u64,
    /// The newest changes, which were not announced yet.
    queued: VecDeque<Arc<PresenceChange>>,
    queued_bytes: usize,
    connected: bool,
}

impl OwnMembers {
    /// Adds a change: a member of this gateway joined or left.
    pub fn change(&mut self, change: &Arc<PresenceChange>) {
        let key = MemberKey::of(change);
        if change.joined {
            self.members.insert(key, Arc::clone(change));
        } else {
            self.members.remove(&key);
        }
        self.newest += 1;
        if !self.connected {
            return;
        }
        self.queued_bytes += change.bytes();
        self.queued.push_back(Arc::clone(change));
        if self.queued_bytes > QUEUED_BYTES_MAX {
            self.forget_queued();
        }
    }

    /// Notes whether the connection is up. Without one, changes are not queued: the other gateways notice the gap.
    pub fn set_connected(&mut self, connected: bool) {
        self.connected = connected;
        if !connected {
            self.forget_queued();
        }
    }

    /// Removes and returns at most `most` queued changes, and the number before the first.
    pub fn take_changes(&mut self, most: usize) -> (u64, Vec<Arc<PresenceChange>>) {
        let (after, _) = self.announced();
        let changes: Vec<_> = self.queued.drain(..most.min(self.queued.len())).collect();
        self.queued_bytes -= changes.iter().map(|change| change.bytes()).sum::<usize>();
        (after, changes)
    }

    /// The number of the last change that was announced, and the number of members after it unless there are newer changes.
    pub fn announced(&self) -> (u64, Option<u64>) {
        let members = self.queued.is_empty().then_some(self.members.len() as u64);
        (self.newest - self.queued.len() as u64, members)
    }

    /// The number of the newest change, a page of the members after `after`, and whether there are more.
    pub fn page(&self, after: Option<&MemberKey>) -> (u64, Vec<Arc<PresenceChange>>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut behind = self.members.range::<MemberKey, _>((from, Bound::Unbounded)).map(|(_, joined)| Arc::clone(joined));
        let members = behind.by_ref().take(PAGE_MEMBERS_MAX).collect();
        (self.newest, members, behind.next().is_some())
    }

    fn forget_queued(&mut self) {
        self.queued = VecDeque::new();
        self.queued_bytes = 0;
    }
}

/// Writes a page of members for the gateway that asked, in at most `most` bytes.
pub fn write_page(after: Option<&MemberKey>, (newest, members, more): (u64, Vec<Arc<PresenceChange>>, bool), most: usize) -> Vec<u8> {
    wire::page(after, newest, &members, most, |count| more || count < members.len())
}
