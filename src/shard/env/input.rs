//! Input that sessions hold: unfinished messages and commands that wait. Its sum is bounded for each address.

use std::net::IpAddr;
use std::sync::Arc;

use foldhash::HashMap;
use parking_lot::Mutex;

use crate::client_address::counting_unit;
use crate::config::Limits;

/// Input that a session's reader holds, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeldInput {
    /// The bytes of an unfinished message.
    pub unfinished: usize,
    /// Whole commands that wait for their turns or answers: bytes as received, or the approximate size once decoded.
    pub command: usize,
}

/// Bytes of unfinished messages that the sessions of each address hold beyond the `message_bytes` that each session may
/// have (`limits.unfinished_bytes_per_address`). All shards share this account.
#[derive(Debug, Default)]
pub struct UnfinishedBytes {
    /// Held for one look-up.
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// The bytes of one session in [`UnfinishedBytes`]. They are given back on drop.
#[derive(Debug)]
pub struct UnfinishedShare {
    account: Arc<UnfinishedBytes>,
    address: IpAddr,
    bytes: usize,
}

/// The input that all sessions of a shard hold.
#[derive(Debug, Default)]
pub struct InputAccount {
    account: Arc<UnfinishedBytes>,
    bytes: usize,
}

/// The part of one session in [`InputAccount`].
#[derive(Debug, Default)]
pub struct SessionInput {
    bytes: usize,
    /// Present only while the session's unfinished message exceeds `message_bytes`. Boxed, because nearly no session
    /// has one and this struct is kept for every session.
    share: Option<Box<UnfinishedShare>>,
}

impl InputAccount {
    /// An empty sum, with the account that all shards share.
    pub fn new(account: Arc<UnfinishedBytes>) -> Self {
        Self { account, bytes: 0 }
    }

    /// Notes that the session of `input` holds `held` now, plus `unread` bytes that its reader has not used. Returns
    /// `false` if the sessions of `address` would hold more unfinished bytes than `limits` allow.
    pub fn count(&mut self, input: &mut SessionInput, held: HeldInput, unread: usize, address: IpAddr, limits: &Limits) -> bool {
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

    /// Subtracts the input of a session that has ended.
    pub fn forget(&mut self, input: &SessionInput) {
        self.bytes -= input.bytes;
    }

    /// The bytes of input that all sessions of the shard hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl UnfinishedBytes {
    /// A share of zero bytes for a session that comes from `address`.
    pub fn share(self: &Arc<Self>, address: IpAddr) -> UnfinishedShare {
        UnfinishedShare { account: Arc::clone(self), address: counting_unit(address), bytes: 0 }
    }
}

impl UnfinishedShare {
    /// Sets the share to `bytes`. Returns `false`, and changes nothing, if the share grows and its address would hold
    /// more than `most` bytes.
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

    /// The unfinished bytes of all sessions of one address have one bound, and are given back.
    #[test]
    fn unfinished_bytes_are_bounded_for_each_address() {
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
