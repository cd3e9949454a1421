//! The slots of a shard's sessions, in pieces that stay where they are.

use super::slot::Slot;

/// Slots in a piece, a power of two: about 15 KiB. One growing array would be copied whole, for milliseconds, whenever it is
/// full, and for a while be there twice.
const PIECE_SLOTS: usize = 64;

/// Sessions by the numbers of their slots.
#[derive(Default)]
pub struct Slots {
    pieces: Vec<Box<[Option<Slot>]>>,
    /// How many slots are in use.
    taken: usize,
    free: Vec<u32>,
    /// They become free at the pass's end: none is reused while the pass may still name it.
    freed: Vec<u32>,
}

impl Slots {
    /// Whether no session is left.
    pub fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// One more than the highest number there has been.
    pub fn end(&self) -> u32 {
        (self.pieces.len() * PIECE_SLOTS) as u32
    }

    /// The session in `slot`, if there is one.
    pub fn get(&self, slot: u32) -> Option<&Slot> {
        self.pieces.get(slot as usize / PIECE_SLOTS)?[slot as usize % PIECE_SLOTS].as_ref()
    }

    /// The session in `slot`, if there is one.
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.pieces.get_mut(slot as usize / PIECE_SLOTS)?[slot as usize % PIECE_SLOTS].as_mut()
    }

    /// Seats a session in a free slot, whose number it is made with.
    pub fn seat(&mut self, make: impl FnOnce(u32) -> Slot) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            let first = self.end();
            self.pieces.push(std::iter::repeat_with(|| None).take(PIECE_SLOTS).collect());
            self.free.extend((first + 1..self.end()).rev());
            first
        });
        self.pieces[slot as usize / PIECE_SLOTS][slot as usize % PIECE_SLOTS] = Some(make(slot));
        self.taken += 1;
        slot
    }

    /// Takes a session out; its slot may be used again after [`Slots::end_pass`].
    pub fn take(&mut self, slot: u32) -> Option<Slot> {
        let session = self.pieces.get_mut(slot as usize / PIECE_SLOTS)?[slot as usize % PIECE_SLOTS].take()?;
        self.taken -= 1;
        self.freed.push(slot);
        Some(session)
    }

    /// The slots that were freed in this pass may be used again.
    pub fn end_pass(&mut self) {
        self.free.append(&mut self.freed);
    }

    /// All sessions with their slots, in the order of these.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Slot)> {
        let slots = self.pieces.iter().flat_map(|piece| piece.iter());
        slots.enumerate().filter_map(|(slot, session)| Some((slot as u32, session.as_ref()?)))
    }
}
