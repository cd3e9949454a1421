//! Work that was done for sessions beside their commands, and that they have not paid for yet.

use foldhash::HashMap;

/// By slot, in topics that were looked at.
#[derive(Debug, Default)]
pub struct Unpaid {
    by_slot: HashMap<u32, usize>,
    /// Slots that work was done for since this was last asked.
    grown: Vec<u32>,
}

impl Unpaid {
    /// So many topics were looked at for the session in `slot`.
    pub fn add(&mut self, slot: u32, topics: usize) {
        if topics > 0 {
            *self.by_slot.entry(slot).or_default() += topics;
            if self.grown.last() != Some(&slot) {
                self.grown.push(slot);
            }
        }
    }

    /// Takes what the session in `slot` has to pay for, in whole units of `per_unit` topics; the rest stays.
    pub fn take(&mut self, slot: u32, per_unit: usize) -> usize {
        let Some(topics) = self.by_slot.get_mut(&slot) else { return 0 };
        let units = *topics / per_unit;
        *topics %= per_unit;
        if *topics == 0 {
            self.by_slot.remove(&slot);
        }
        units
    }

    /// Takes the slots that work was done for since this was last asked; one may be named more than once.
    pub fn take_grown(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.grown)
    }

    /// The session in `slot` ends.
    pub fn forget(&mut self, slot: u32) {
        self.by_slot.remove(&slot);
    }
}
