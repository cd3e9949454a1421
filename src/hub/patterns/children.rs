//! The nodes below one node of a trie, by token.

use foldhash::HashMap;

/// The most children that are kept in a list. A hash map of one entry takes the memory of four, in an allocation of its
/// own.
const LISTED_MAX: usize = 4;

/// A hash map with a larger capacity than this shrinks once less than a quarter of it is in use.
const CAPACITY_KEPT: usize = 64;

/// Nodes by token: a list of a few, else a hash map. A look-up in a sorted map took six times as long among 100,000
/// nodes as in a map of one.
#[derive(Debug)]
pub enum Children<T> {
    /// At most [`LISTED_MAX`] nodes, in no order.
    Few(Vec<(Box<str>, T)>),
    /// More nodes than that, or what removals have left of them.
    #[allow(clippy::box_collection, reason = "nearly all nodes have one child, and are to be small")]
    Many(Box<HashMap<Box<str>, T>>),
}

impl<T> Default for Children<T> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<T> Children<T> {
    /// Whether the node has no children.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Few(list) => list.is_empty(),
            Self::Many(map) => map.is_empty(),
        }
    }

    /// The child for `token`.
    pub fn get(&self, token: &str) -> Option<&T> {
        match self {
            Self::Few(list) => list.iter().find(|(known, _)| **known == *token).map(|(_, child)| child),
            Self::Many(map) => map.get(token),
        }
    }

    /// The child for `token`, to be changed.
    pub fn get_mut(&mut self, token: &str) -> Option<&mut T> {
        match self {
            Self::Few(list) => list.iter_mut().find(|(known, _)| **known == *token).map(|(_, child)| child),
            Self::Many(map) => map.get_mut(token),
        }
    }

    /// Adds the child for `token`, which has none.
    pub fn insert(&mut self, token: &str, child: T) {
        match self {
            Self::Few(list) if list.len() < LISTED_MAX => {
                list.reserve_exact(1);
                list.push((token.into(), child));
            }
            Self::Few(list) => {
                let all = list.drain(..).chain([(token.into(), child)]);
                *self = Self::Many(Box::new(all.collect()));
            }
            Self::Many(map) => {
                map.insert(token.into(), child);
            }
        }
    }

    /// Removes the child for `token`.
    pub fn remove(&mut self, token: &str) {
        match self {
            Self::Few(list) => {
                list.retain(|(known, _)| **known != *token);
                list.shrink_to_fit();
            }
            Self::Many(map) => {
                map.remove(token);
                if map.len() <= 1 {
                    *self = Self::Few(map.drain().collect());
                } else if map.capacity() > CAPACITY_KEPT && map.len() < map.capacity() / 4 {
                    map.shrink_to_fit();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This holds after any number of insertions and removals. A removed child is not found.
    #[test]
    fn children_are_found_by_token() {
        let mut children = Children::default();
        for most in [3, 4, 5, 200, 2] {
            for number in 0..most {
                children.insert(&number.to_string(), number);
            }
            for number in 0..most {
                assert_eq!(children.get(&number.to_string()), Some(&number));
                assert_eq!(children.get_mut(&(most + number).to_string()), None);
            }
            for number in 0..most {
                children.remove(&number.to_string());
                assert_eq!((children.get(&number.to_string()), children.is_empty()), (None, number == most - 1));
            }
        }
        assert!(matches!(children, Children::Few(list) if list.capacity() == 0));
    }
}
