//! The reads of history: sessions that replay get a share each, in turn.

use super::shard_state::ShardState;
use crate::dialect::Event;
use crate::topic_name::TopicName;

/// The most pieces of history that a session gets before it is the next session's turn.
const PIECES_PER_SHARE: usize = 4;

impl ShardState {
    /// Reads at most `pieces` pieces of history for sessions that replay. A session that the write batch still has
    /// frames for is skipped, so that its `subscribed` goes out before the replay.
    pub fn serve_history(&mut self, mut pieces: usize) {
        let mut awaiting = self.catch_up.take_queue();
        awaiting.retain(|&slot| {
            if pieces == 0 || !self.delivery.owes_nothing(slot) {
                return true;
            }
            self.catch_up.dequeue(slot);
            pieces -= self.serve_share(slot, pieces.min(PIECES_PER_SHARE));
            false
        });
        self.catch_up.requeue(awaiting);
    }

    /// Gives a session at most `pieces` pieces of history, and stops when its socket is full. Returns the number of
    /// pieces it was given.
    fn serve_share(&mut self, slot: u32, pieces: usize) -> usize {
        let mut given = 0;
        while given < pieces && self.empty_outbox(slot) && self.catch_up.is_replaying(slot) {
            self.pull_replay(slot);
            given += 1;
        }
        self.write_outbox(slot);
        given
    }

    /// Reads the next piece of history into the outbox.
    fn pull_replay(&mut self, slot: u32) {
        if self.run_expansion_slice(slot).is_some() {
            return;
        }
        let Self { table, delivery, catch_up, pacing, env, .. } = self;
        let Some(id) = table.get(slot).map(|connection| connection.id()) else { return };
        let Some((topic, piece)) = catch_up.pull(slot, env.now, || env.pushed()) else { return };
        if delivery.queue_replayed(slot, &topic, piece, id, env) {
            pacing.begin_interval(slot, &topic, env.now);
        }
        self.end_lapsed();
    }

    /// Continues to search the topics that the session's patterns match. Returns the work, in topics; `None` if no
    /// search can continue now.
    pub fn run_expansion_slice(&mut self, slot: u32) -> Option<usize> {
        let Self { table, delivery, catch_up, env, .. } = self;
        let subscribers = &delivery.subscribers;
        let takes = |topic: &TopicName| subscribers.covers(slot, topic);
        let expanded = catch_up.run_expansion_slice(slot, env.hub(), env.processed(), || env.pushed(), takes)?;
        if expanded.ended {
            table.schedule(slot); // a subscribe may have waited for the end of the search
        }
        for (topic, withheld) in expanded.lost {
            self.queue_event(slot, &Event::Gap { topic: &topic, from: withheld.first.offset, to: withheld.last, epoch: None });
        }
        self.uncharged.add(slot, expanded.work);
        Some(expanded.work)
    }
}
