//! Values by topic name, in pieces: a table that grows moves all that is in it, and no tick is to be as long as that takes for all topics.

use std::hash::BuildHasher;

use foldhash::HashMap;
use foldhash::fast::RandomState;

use crate::topic_name::TopicName;

/// Among a million names, 4,000 are moved at once: some tenths of a millisecond.
const PIECES: usize = 256;

/// A map that grows a piece at a time.
pub struct ByName<V> {
    pieces: Box<[HashMap<TopicName, V>]>,
    /// Says which piece a name is in; the pieces have their own.
    hasher: RandomState,
}

impl<V> Default for ByName<V> {
    fn default() -> Self {
        Self { pieces: (0..PIECES).map(|_| HashMap::default()).collect(), hasher: RandomState::default() }
    }
}

impl<V> ByName<V> {
    /// The value of `name`.
    pub fn get(&self, name: &TopicName) -> Option<&V> {
        self.pieces[self.piece_of(name)].get(name)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, name: &TopicName) -> Option<&mut V> {
        self.pieces[self.piece_of(name)].get_mut(name)
    }

    /// The same; if there is none, one is made.
    pub fn get_or_insert_default(&mut self, name: TopicName) -> &mut V
    where
        V: Default,
    {
        self.pieces[self.piece_of(&name)].entry(name).or_default()
    }

    /// Takes the value of `name` out.
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

    /// Where 100,000 names come one after the other, none of them has more than a few hundred others moved. (With one
    /// table, the name after 57,344 had all of them moved, which took its shard 10 ms.)
    #[test]
    fn no_name_has_many_others_moved() {
        let mut map = ByName::<usize>::default();
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
