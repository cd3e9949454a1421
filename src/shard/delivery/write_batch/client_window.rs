//! The deflate window of one session's client (RFC 7692 §7.1.1): the newest message of each topic that later ones may
//! refer to.

use crate::metrics::NoReference;

/// A message in the client's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// The message's number in this shard.
    pub number: u64,
    /// The number of bytes that the client has inflated since the message began, the message included.
    pub inflated: u64,
}

/// The window of a session whose client keeps it. It takes eight bytes until there is a message to refer to.
#[derive(Debug, Default)]
pub struct ClientWindow(Option<Box<Ring>>);

#[derive(Debug, Default)]
struct Ring {
    /// The number of bytes that the client has inflated. Only differences count, so it begins at zero with the ring.
    /// The ring is cleared before the number would exceed its bound.
    position: u32,
    entries: Vec<Entry>,
}

/// The newest message of one topic that the client has.
#[derive(Debug)]
struct Entry {
    topic: u32,
    /// The position at which the message begins.
    position: u32,
    /// The message's number in this shard; [`NOT_KNOWN`] if the ring was cleared since.
    number: u64,
}

/// The number of a cleared entry. Messages are numbered from 1.
const NOT_KNOWN: u64 = 0;

/// The growth of `entries`. An entry takes 16 bytes, and a session has few topics.
const ENTRIES_STEP: usize = 2;

#[cfg(test)]
thread_local! {
    /// Added to each advance of a position, so that a test can check that it finds an error.
    pub static PLANTED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

impl ClientWindow {
    /// The message of `topic` in the client's window. The error says why there is none.
    pub fn find(&self, topic: u32) -> Result<Reference, NoReference> {
        let Some(ring) = &self.0 else { return Err(NoReference::First) };
        let entry = ring.entries.iter().find(|entry| entry.topic == topic).ok_or(NoReference::First)?;
        if entry.number == NOT_KNOWN {
            return Err(NoReference::Cleared);
        }
        Ok(Reference { number: entry.number, inflated: u64::from(ring.position - entry.position) })
    }

    /// Notes that the client was sent the message of `topic` with `number`, which begins `offset` bytes behind the
    /// position. With more than `topics_max` topics, the topic gives way whose message lies farthest back.
    pub fn put(&mut self, topic: u32, number: u64, offset: u32, topics_max: usize) {
        let ring = self.0.get_or_insert_default();
        let position = ring.position.saturating_add(offset);
        let Ring { entries, .. } = &mut **ring;
        let place = match entries.iter().position(|entry| entry.topic == topic) {
            Some(place) => place,
            None if entries.len() < topics_max => {
                if entries.len() == entries.capacity() {
                    entries.reserve_exact(ENTRIES_STEP);
                }
                entries.push(Entry { topic, position, number });
                return;
            }
            None => {
                let oldest = (0..entries.len()).min_by_key(|&place| (entries[place].number != NOT_KNOWN, entries[place].position));
                let Some(oldest) = oldest else { return };
                oldest
            }
        };
        entries[place] = Entry { topic, position, number };
    }

    /// Notes that the client was sent `bytes` bytes, counted inflated.
    pub fn advance(&mut self, bytes: u64) {
        #[cfg(test)]
        let bytes = bytes + PLANTED.get();
        let Some(ring) = &mut self.0 else { return };
        match u64::from(ring.position).checked_add(bytes).and_then(|position| u32::try_from(position).ok()) {
            Some(position) => ring.position = position,
            None => {
                self.clear();
                if let Some(ring) = &mut self.0 {
                    ring.position = 0;
                }
            }
        }
    }

    /// Whether `bytes` more bytes exceed the bound of the position. A message that begins within them can't be noted.
    pub fn overflows(&self, bytes: u64) -> bool {
        self.0.as_ref().is_some_and(|ring| u64::from(ring.position) + bytes > u64::from(u32::MAX))
    }

    /// Forgets the messages, because the client's window is not known any more. A topic is referred to again once one
    /// of its messages was sent.
    pub fn clear(&mut self) {
        if let Some(ring) = &mut self.0 {
            ring.entries.iter_mut().for_each(|entry| entry.number = NOT_KNOWN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(number: u64, inflated: u64) -> Result<Reference, NoReference> {
        Ok(Reference { number, inflated })
    }

    /// The position and the entries, from the first message on.
    #[test]
    fn distances_grow_by_what_is_inflated() {
        let mut window = ClientWindow::default();
        window.advance(1_000); // there is no message to refer to yet
        assert_eq!(window.find(7), Err(NoReference::First));
        window.put(7, 1, 0, 4);
        window.advance(100);
        window.put(8, 2, 50, 4);
        window.advance(80);
        assert_eq!((window.find(7), window.find(8), window.find(9)), (reference(1, 180), reference(2, 30), Err(NoReference::First)));
        window.clear();
        assert_eq!((window.find(7), window.find(9)), (Err(NoReference::Cleared), Err(NoReference::First)));
        window.put(7, 3, 0, 4);
        window.advance(10);
        assert_eq!((window.find(7), window.find(8)), (reference(3, 10), Err(NoReference::Cleared)));
    }

    /// The topic whose message lies farthest back gives way, cleared topics first.
    #[test]
    fn topics_give_way() {
        let mut window = ClientWindow::default();
        for topic in 0..3 {
            window.put(topic, u64::from(topic) + 1, 0, 2);
            window.advance(10);
        }
        assert_eq!((window.find(0), window.find(1), window.find(2)), (Err(NoReference::First), reference(2, 20), reference(3, 10)));
        window.clear();
        window.put(2, 4, 0, 2);
        window.put(5, 5, 0, 2);
        assert_eq!((window.find(1), window.find(2), window.find(5)), (Err(NoReference::First), reference(4, 0), reference(5, 0)));
    }

    /// A position that would exceed 4 GiB begins anew with no message known. A distance is never taken modulo 2^32.
    #[test]
    fn the_position_never_wraps() {
        let mut window = ClientWindow::default();
        window.put(1, 1, 0, 4);
        window.advance(u64::from(u32::MAX) - 10);
        assert!(!window.overflows(10) && window.overflows(11));
        assert_eq!(window.find(1), reference(1, u64::from(u32::MAX) - 10));
        window.advance(11);
        assert_eq!(window.find(1), Err(NoReference::Cleared));
        window.put(1, 2, 0, 4);
        window.advance(20);
        assert_eq!(window.find(1), reference(2, 20));
    }

    /// A session of 10 topics takes at most 200 bytes, and an idle session takes a pointer.
    #[test]
    fn ten_topics_are_small() {
        let mut window = ClientWindow::default();
        (0..10).for_each(|topic| window.put(topic, 1, 0, 64));
        let entries = window.0.as_ref().map_or(0, |ring| ring.entries.capacity());
        assert_eq!(entries, 10);
        assert!(size_of::<ClientWindow>() + size_of::<Ring>() + entries * size_of::<Entry>() <= 200);
        assert_eq!(size_of::<ClientWindow>(), 8);
    }
}
