//! A map from topic names to values, in pieces. A map that grows moves all its entries; with pieces, one tick moves
//! few.

use std::hash::BuildHasher;

use foldhash::HashMap;
use foldhash::fast::RandomState;

use crate::topic_name::TopicName;

/// With a million names, about 4,000 are moved at once: some tenths of a millisecond.
const PIECES: usize = 256;

/// A map from topic names to values that grows one piece at a time.
pub struct NameMap<V> {
    pieces: Box<[HashMap<TopicName, V>]>,
    /// Selects the piece of a name. The pieces have hashers of their own.
    hasher: RandomState,
}

impl<V> Default for NameMap<V> {
    fn default() -> Self {
        Self { pieces: (0..PIECES).map(|_| HashMap::default()).collect(), hasher: RandomState::default() }
    }
}

impl<V> NameMap<V> {
    /// The value of `name`.
    pub fn get(&self, name: &TopicName) -> Option<&V> {
        self.pieces[self.piece_of(name)].get(name)
    }

    /// The value of `name`, mutable.
    pub fn get_mut(&mut self, name: &TopicName) -> Option<&mut V> {
        self.pieces[self.piece_of(name)].get_mut(name)
    }

    /// The value of `name`, mutable. A missing value is created.
    pub fn get_or_insert_default(&mut self, name: TopicName) -> &mut V
    where
        V: Default,
    {
        self.pieces[self.piece_of(&name)].entry(name).or_default()
    }

    /// Removes and returns the value of `name`.
    pub fn remove(&mut self, name: &TopicName) -> Option<V> {
        self.pieces[self.piece_of(name)].remove(name)
    }

    fn piece_of(&self, name: &TopicName) -> usize {
        self.hasher.hash_one(name) as usize % PIECES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If 100,000 names are added one after the other, no addition moves more than a few hundred others. (With one
    /// table, the name after 57,344 moved all of them, which took its shard 10 ms.)
    #[test]
    fn adding_a_name_moves_few_others() {
        let mut map = NameMap::<usize>::default();
        let names: Vec<TopicName> = (0..100_000).map(|number| TopicName::parse(&format!("chat.s.t{number}")).unwrap()).collect();
        let mut most_moved = 0;
        for (number, name) in names.iter().enumerate() {
            let piece = map.piece_of(name);
            let before = (map.pieces[piece].len(), map.pieces[piece].capacity());
            *map.get_or_insert_default(name.clone()) = number;
            if map.pieces[piece].capacity() > before.1 {
                most_moved = most_moved.max(before.0);
            }
        }
        assert!((1..1_000).contains(&most_moved), "{most_moved} were moved at once");
        assert!(names.iter().enumerate().all(|(number, name)| map.get(name) == Some(&number)));
        assert!(names.iter().all(|name| map.remove(name).is_some() && map.get_mut(name).is_none()));
    }
}
