//! Who answers for the topics that a publish or a subscribe brings to life.

use std::net::IpAddr;
use std::sync::Arc;

use foldhash::HashMap;
use parking_lot::Mutex;

use super::address::counted_as;

/// A credential, or an address without any.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Payer {
    /// An API key, by its name.
    ApiKey(Arc<str>),
    /// A token's user. A renewed token is the same payer.
    User(Arc<str>),
    /// An address, as limits count it.
    Address(IpAddr),
}

impl Payer {
    /// The payer that `address` is counted as.
    pub fn of_address(address: IpAddr) -> Self {
        Self::Address(counted_as(address))
    }
}

/// How many living topics each payer has brought to life. A payer without any takes no memory.
#[derive(Debug, Default)]
pub struct TopicAccounts {
    /// Held for one look-up.
    topics: Mutex<HashMap<Payer, usize>>,
}

impl TopicAccounts {
    /// Counts a topic of `payer`; `false`: it has `most` already.
    pub fn take(&self, payer: &Payer, most: usize) -> bool {
        let mut topics = self.topics.lock();
        match topics.get_mut(payer) {
            Some(count) if *count >= most => return false,
            Some(count) => *count += 1,
            None => _ = topics.insert(payer.clone(), 1),
        }
        true
    }

    /// How many payers have one.
    pub fn len(&self) -> usize {
        self.topics.lock().len()
    }

    /// A topic of `payer` lives no more.
    pub fn give_back(&self, payer: &Payer) {
        let mut topics = self.topics.lock();
        let Some(count) = topics.get_mut(payer) else { return };
        *count -= 1;
        if *count == 0 {
            topics.remove(payer);
            if topics.capacity() > 64 && topics.len() < topics.capacity() / 4 {
                topics.shrink_to_fit();
            }
        }
    }
}
