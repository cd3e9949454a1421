//! Places under two limits: one for all holders together, and one for those of each address.

use std::net::IpAddr;

use foldhash::HashMap;

/// The places that are taken.
#[derive(Debug, Default)]
pub struct Places {
    all: usize,
    /// By address. No count is zero.
    by_address: HashMap<IpAddr, usize>,
}

/// The limit that leaves no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The limit for all holders.
    All,
    /// The limit for one address.
    Address,
}

impl Places {
    /// Takes a place, if fewer than `all_max` are taken, and fewer than `each_max` for `address`. Without an address only the first limit holds.
    pub fn take(&mut self, address: Option<IpAddr>, all_max: usize, each_max: usize) -> Result<(), Full> {
        if self.all >= all_max {
            return Err(Full::All);
        }
        if let Some(address) = address {
            let taken = self.by_address.get(&address).copied().unwrap_or(0);
            if taken >= each_max {
                return Err(Full::Address);
            }
            self.by_address.insert(address, taken + 1);
        }
        self.all += 1;
        Ok(())
    }

    /// Releases a place that was taken for `address`.
    pub fn release(&mut self, address: Option<IpAddr>) {
        self.all -= 1;
        let Some(address) = address else { return };
        if let Some(taken) = self.by_address.get_mut(&address) {
            *taken -= 1;
            if *taken == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    /// Whether no place is taken.
    pub fn is_empty(&self) -> bool {
        self.all == 0
    }

    /// The number of addresses that have a place.
    pub fn addresses(&self) -> usize {
        self.by_address.len()
    }
}
