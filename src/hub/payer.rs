//! Payers: the credential or address whose `limits.topics_per_address` a topic counts against.

use std::net::IpAddr;
use std::sync::Arc;

use foldhash::HashMap;
use parking_lot::Mutex;

use crate::client_address::counting_unit;

/// The credential whose publish or subscribe made a topic, or the address where there was none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Payer {
    /// An API key, by its name.
    ApiKey(Arc<str>),
    /// The user of a token. A renewed token is the same payer.
    User(Arc<str>),
    /// An address, as limits per address count it.
    Address(IpAddr),
}

impl Payer {
    /// The payer for a request from `address` without a credential.
    pub fn of_address(address: IpAddr) -> Self {
        Self::Address(counting_unit(address))
    }
}

/// How many living topics each payer has made. A payer without living topics takes no memory.
#[derive(Debug, Default)]
pub struct TopicAccounts {
    /// Locked for one look-up.
    topics: Mutex<HashMap<Payer, usize>>,
}

impl TopicAccounts {
    /// Counts one more topic of `payer`; `false`: the payer has `most` topics already.
    pub fn take(&self, payer: &Payer, most: usize) -> bool {
        let mut topics = self.topics.lock();
        match topics.get_mut(payer) {
            Some(count) if *count >= most => return false,
            Some(count) => *count += 1,
            None => _ = topics.insert(payer.clone(), 1),
        }
        true
    }

    /// How many payers have living topics.
    pub fn len(&self) -> usize {
        self.topics.lock().len()
    }

    /// Counts one topic less of `payer`.
    pub fn release(&self, payer: &Payer) {
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
