//! A map from slots to values, in pieces that do not move when the map grows.

/// Slots in a piece, a power of two. A single array would be copied whole whenever it grows: that takes milliseconds,
/// and twice the memory for a while.
const PIECE_SLOTS: usize = 64;

/// Values by slot.
pub struct SlotMap<T> {
    pieces: Vec<Box<[Option<T>]>>,
}

impl<T> Default for SlotMap<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T> SlotMap<T> {
    /// The number of slots that there is room for.
    pub fn end(&self) -> u32 {
        (self.pieces.len() * PIECE_SLOTS) as u32
    }

    /// The value of `slot`, if it has one.
    pub fn get(&self, slot: u32) -> Option<&T> {
        self.pieces.get(slot as usize / PIECE_SLOTS)?[slot as usize % PIECE_SLOTS].as_ref()
    }

    /// The value of `slot`, if it has one.
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.pieces.get_mut(slot as usize / PIECE_SLOTS)?[slot as usize % PIECE_SLOTS].as_mut()
    }

    /// Sets the value of `slot`.
    pub fn put(&mut self, slot: u32, value: T) {
        while self.end() <= slot {
            self.pieces.push(std::iter::repeat_with(|| None).take(PIECE_SLOTS).collect());
        }
        self.pieces[slot as usize / PIECE_SLOTS][slot as usize % PIECE_SLOTS] = Some(value);
    }

    /// Removes and returns the value of `slot`.
    pub fn take(&mut self, slot: u32) -> Option<T> {
        self.pieces.get_mut(slot as usize / PIECE_SLOTS)?[slot as usize % PIECE_SLOTS].take()
    }

    /// All values with their slots, in ascending order of the slots.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = self.pieces.iter().flat_map(|piece| piece.iter());
        slots.enumerate().filter_map(|(slot, value)| Some((slot as u32, value.as_ref()?)))
    }
}
