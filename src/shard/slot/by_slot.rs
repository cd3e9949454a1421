//! What is kept of each session, by the number of its slot, in pieces that stay where they are.

/// Slots in a piece, a power of two. One growing array would be copied whole, for milliseconds, whenever it is full, and for a
/// while be there twice.
const PIECE_SLOTS: usize = 64;

/// Values by the numbers of their slots.
pub struct BySlot<T> {
    pieces: Vec<Box<[Option<T>]>>,
}

impl<T> Default for BySlot<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T> BySlot<T> {
    /// One more than the highest number that there is room for.
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

    /// Gives `slot` a value.
    pub fn put(&mut self, slot: u32, value: T) {
        while self.end() <= slot {
            self.pieces.push(std::iter::repeat_with(|| None).take(PIECE_SLOTS).collect());
        }
        self.pieces[slot as usize / PIECE_SLOTS][slot as usize % PIECE_SLOTS] = Some(value);
    }

    /// Takes the value of `slot` out.
    pub fn take(&mut self, slot: u32) -> Option<T> {
        self.pieces.get_mut(slot as usize / PIECE_SLOTS)?[slot as usize % PIECE_SLOTS].take()
    }

    /// All values with their slots, in the order of these.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = self.pieces.iter().flat_map(|piece| piece.iter());
        slots.enumerate().filter_map(|(slot, value)| Some((slot as u32, value.as_ref()?)))
    }
}
