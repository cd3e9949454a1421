//! The acknowledgements of a session that has one subscribe for each topic.

/// The `id` of the first subscribe, after the command that opens the session.
const FIRST_ID: u64 = 2;

/// The ids of the newest subscribes, and how many acknowledgements have come.
#[derive(Debug, Clone, Copy)]
pub struct Joins {
    first_id: u64,
    acknowledged: usize,
}

impl Joins {
    /// Those of a new connection, on which nothing was acknowledged.
    pub const NONE: Self = Self { first_id: FIRST_ID, acknowledged: 0 };

    /// The `id` of the subscribe to the first topic.
    pub fn first_id(&self) -> u64 {
        self.first_id
    }

    /// Replaces the subscribes to `topics` topics by others. The session itself stays acknowledged.
    pub fn replace(&mut self, topics: usize) {
        *self = Self { first_id: self.first_id + topics as u64, acknowledged: 1 };
    }

    /// The index of the topic whose subscribe has this `id`; `None` for one that was replaced.
    pub fn place(&self, id: u64) -> Option<usize> {
        usize::try_from(id.checked_sub(self.first_id)?).ok()
    }

    /// Notes an acknowledgement. Returns whether it is the last one that a session with `topics` topics waits for: one for
    /// each topic, and one for the session itself.
    pub fn acknowledge(&mut self, topics: usize) -> bool {
        self.acknowledged += 1;
        self.acknowledged == topics + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscribes_that_were_replaced_have_no_place() {
        let mut joins = Joins::NONE;
        assert_eq!([0, 1, 2].map(|_| joins.acknowledge(2)), [false, false, true]);
        joins.replace(2);
        assert_eq!([3, 4, 5].map(|id| joins.place(id)), [None, Some(0), Some(1)]);
        assert_eq!([0, 1].map(|_| joins.acknowledge(1)), [true, false]);
    }
}
