//! The subscribes of a session that has one for each topic, until all are acknowledged.

/// The `id` of the first subscribe, after the command that opens the session.
const FIRST_ID: u64 = 2;

/// The ids of the newest subscribes, and how many acknowledgements have come.
#[derive(Debug, Clone, Copy)]
pub struct PendingSubscribes {
    first_id: u64,
    acknowledged: usize,
}

impl Default for PendingSubscribes {
    /// The subscribes of a new connection, on which nothing was acknowledged.
    fn default() -> Self {
        Self { first_id: FIRST_ID, acknowledged: 0 }
    }
}

impl PendingSubscribes {
    /// The `id` of the subscribe to the first topic.
    pub fn first_id(&self) -> u64 {
        self.first_id
    }

    /// Replaces the subscribes to `topics` topics by others. The session itself stays acknowledged.
    pub fn replace(&mut self, topics: usize) {
        *self = Self { first_id: self.first_id + topics as u64, acknowledged: 1 };
    }

    /// The index of the topic whose subscribe has this `id`; `None` for one that was replaced.
    pub fn topic_index(&self, id: u64) -> Option<usize> {
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
    fn replaced_subscribes_have_no_topic() {
        let mut subscribes = PendingSubscribes::default();
        assert_eq!([0, 1, 2].map(|_| subscribes.acknowledge(2)), [false, false, true]);
        subscribes.replace(2);
        assert_eq!([3, 4, 5].map(|id| subscribes.topic_index(id)), [None, Some(0), Some(1)]);
        assert_eq!([0, 1].map(|_| subscribes.acknowledge(1)), [true, false]);
    }
}
