//! Work that was done for sessions beside their commands, and is not charged to their rates yet.

use foldhash::HashMap;

/// The uncharged work by slot, in examined topics.
#[derive(Debug, Default)]
pub struct UnchargedWork {
    by_slot: HashMap<u32, usize>,
    /// Slots whose work has grown since the last [`UnchargedWork::take_grown`].
    grown: Vec<u32>,
}

impl UnchargedWork {
    /// Adds `topics` that were examined for the session in `slot`.
    pub fn add(&mut self, slot: u32, topics: usize) {
        if topics > 0 {
            *self.by_slot.entry(slot).or_default() += topics;
            if self.grown.last() != Some(&slot) {
                self.grown.push(slot);
            }
        }
    }

    /// Takes the work of the session in `slot`, in whole units of `per_unit` topics. The remainder stays.
    pub fn take(&mut self, slot: u32, per_unit: usize) -> usize {
        let Some(topics) = self.by_slot.get_mut(&slot) else { return 0 };
        let units = *topics / per_unit;
        *topics %= per_unit;
        if *topics == 0 {
            self.by_slot.remove(&slot);
        }
        units
    }

    /// Takes the slots whose work has grown since the last call. A slot may be named more than once.
    pub fn take_grown(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.grown)
    }

    /// Forgets the work of the session in `slot`, which ends.
    pub fn forget(&mut self, slot: u32) {
        self.by_slot.remove(&slot);
    }
}
