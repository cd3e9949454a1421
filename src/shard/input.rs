//! What sessions have sent and is not done yet: messages that are not whole, commands that wait. And how much of it one address may hold.

use std::net::IpAddr;
use std::sync::Arc;

use foldhash::HashMap;
use parking_lot::Mutex;

use crate::config::Limits;
use crate::hub::counted_as;

/// What a session's reader holds of what its client has sent, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeldInput {
    /// As it came: a message that is not whole, commands that are not read yet.
    pub unfinished: usize,
    /// A command that waits or is being done, about.
    pub command: usize,
}

/// What the sessions of each address hold of unfinished messages beyond the `message_bytes` that each may have
/// (`limits.unfinished_bytes_per_address`). All shards share it.
#[derive(Debug, Default)]
pub struct UnfinishedBytes {
    /// Held for one look-up.
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// One session's bytes in the account; given back when dropped.
#[derive(Debug)]
pub struct UnfinishedShare {
    account: Arc<UnfinishedBytes>,
    address: IpAddr,
    bytes: usize,
}

/// What all sessions of a shard have sent and is not done yet, and what is known of each.
#[derive(Debug, Default)]
pub struct Inputs {
    account: Arc<UnfinishedBytes>,
    bytes: usize,
}

/// What one session has in [`Inputs`].
#[derive(Debug, Default)]
pub struct Input {
    bytes: usize,
    /// Only while more of its messages is unfinished than each session may have; nearly no session has one, and all are to be small.
    share: Option<Box<UnfinishedShare>>,
}

impl Inputs {
    /// Nothing yet, with an account that all shards share.
    pub fn new(account: Arc<UnfinishedBytes>) -> Self {
        Self { account, bytes: 0 }
    }

    /// The session of `input`, which comes from `address`, holds this much now, and `unread` bytes were read ahead of it; `false`: of what
    /// is unfinished its address would hold too much.
    pub fn count(&mut self, input: &mut Input, held: HeldInput, unread: usize, address: IpAddr, limits: &Limits) -> bool {
        let bytes = held.unfinished + held.command + unread;
        if bytes == 0 && input.bytes == 0 {
            return true;
        }
        self.bytes = self.bytes - input.bytes + bytes;
        input.bytes = bytes;
        let beyond = held.unfinished.saturating_sub(limits.message_bytes);
        if beyond == 0 {
            input.share = None;
            return true;
        }
        input.share.get_or_insert_with(|| Box::new(self.account.share(address))).set(beyond, limits.unfinished_bytes_per_address)
    }

    /// A session has ended.
    pub fn forget(&mut self, input: &Input) {
        self.bytes -= input.bytes;
    }

    /// All bytes of the shard.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl UnfinishedBytes {
    /// A share of nothing, of a session of `address`.
    pub fn share(self: &Arc<Self>, address: IpAddr) -> UnfinishedShare {
        UnfinishedShare { account: Arc::clone(self), address: counted_as(address), bytes: 0 }
    }
}

impl UnfinishedShare {
    /// It is `bytes` from now on; `false`: its address would hold more than `most`, and it stays what it was.
    pub fn set(&mut self, bytes: usize, most: usize) -> bool {
        let mut by_address = self.account.by_address.lock();
        let of_address = by_address.entry(self.address).or_default();
        let others = *of_address - self.bytes;
        let fits = bytes <= self.bytes || others.saturating_add(bytes) <= most;
        if fits {
            *of_address = others + bytes;
            self.bytes = bytes;
        }
        if *of_address == 0 {
            by_address.remove(&self.address);
        }
        fits
    }
}

impl Drop for UnfinishedShare {
    fn drop(&mut self) {
        self.set(0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 14: what the sessions of one address hold of unfinished messages is bounded together, and given back.
    #[test]
    fn an_address_holds_a_bounded_part_of_what_is_not_whole() {
        let account = Arc::new(UnfinishedBytes::default());
        let [mut first, mut second] = [1, 1].map(|last| account.share([192, 0, 2, last].into()));
        let mut other = account.share([192, 0, 2, 2].into());
        assert!(first.set(60, 100) && second.set(40, 100) && !second.set(41, 100));
        assert!(other.set(100, 100), "another address has its own");
        assert!(first.set(50, 10), "less is never refused");
        assert!(second.set(50, 100));
        drop((first, second, other));
        assert!(account.by_address.lock().is_empty());
    }
}
