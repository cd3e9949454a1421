//! Catching up: the topics that sessions still read from history, and the position from which each topic is live.

mod expansion;
mod replays;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::HashMap;

pub use expansion::{Expanded, Expansion};
use replays::Replays;

use crate::clock::Moment;
use crate::hub::{Hub, Message, ReplayPiece, Topic};
use crate::position::Position;
use crate::shard::pattern_set::PatternSet;
use crate::topic_name::{Pattern, TopicName};

/// The replays of a shard's sessions.
#[derive(Default)]
pub struct CatchUp {
    /// The replays by slot, of sessions that read history, search for topics, have messages withheld, or have a subscribe
    /// that waits for its next turn.
    replays: HashMap<u32, Replays>,
    /// Slots of sessions that want a share of history, in the order in which they get it.
    queue: VecDeque<u32>,
    /// Slots to look at again, each with the number of items that the shard has to process before. A watermark may go
    /// then, an expansion may continue, or nothing may be left of the session's replays.
    revisits: Vec<(u64, u32)>,
    /// The replays of sessions that have ended.
    ended: VecDeque<Replays>,
}

impl CatchUp {
    /// Whether the session in `slot` reads history, searches for topics, has messages withheld, or has a subscribe that
    /// waits for its next turn.
    pub fn has(&self, slot: u32) -> bool {
        self.replays.contains_key(&slot)
    }

    /// Whether a live message is withheld from the session in `slot`. The message is the last of `processed` items,
    /// which include the one in hand.
    pub fn withholds(&mut self, slot: u32, message: &Message, processed: u64) -> bool {
        let Some(replays) = self.replays.get_mut(&slot) else { return false };
        replays.withholds(&message.topic, message.position)
            || replays.expansion().is_some_and(|expansion| expansion.withholds(message, processed))
    }

    /// Whether the session in `slot` has history left to read.
    pub fn is_replaying(&self, slot: u32) -> bool {
        self.replays.get(&slot).is_some_and(Replays::has_more)
    }

    /// Whether `topic` is still read from history for the session in `slot`.
    pub fn is_replaying_topic(&self, slot: u32, topic: &TopicName) -> bool {
        self.replays.get(&slot).is_some_and(|replays| replays.is_replaying(topic))
    }

    /// Has the session in `slot` read `topic` from `next` on, after the topics that it reads already.
    pub fn read_from(&mut self, slot: u32, topic: Arc<Topic>, next: Position) {
        self.replays.entry(slot).or_default().add(topic, next);
    }

    /// Has the session in `slot`, which has received `topic` up to `after`, continue in the topic's new log.
    pub fn switch_log(&mut self, slot: u32, topic: &Arc<Topic>, after: Position) {
        let replays = self.replays.entry(slot).or_default();
        if !replays.is_unanswered(topic.name())
            && !replays.expansion().is_some_and(|expansion| expansion.defers_switch(topic.name(), after))
        {
            replays.switch_log(topic, after);
        }
    }

    /// Keeps the subscriptions that the session in `slot` had before a subscribe, until the next turn of the subscribe.
    /// With `withholds_new`, messages that none of them matches are withheld.
    pub fn keep_before(&mut self, slot: u32, before: PatternSet, withholds_new: bool) {
        self.replays.entry(slot).or_default().keep_before(before, withholds_new);
    }

    /// Takes the subscriptions that were kept, without those that have ended. The shard has processed `processed`
    /// items.
    pub fn take_before(&mut self, slot: u32, processed: u64) -> Option<PatternSet> {
        let before = self.replays.get_mut(&slot)?.take_before();
        if before.is_some() {
            self.revisits.push((processed, slot)); // the session may have nothing else to replay
        }
        before
    }

    /// Notes that the subscription to `pattern` of the session in `slot` has ended.
    pub fn note_ended(&mut self, slot: u32, pattern: &Pattern) {
        self.replays.get_mut(&slot).into_iter().for_each(|replays| replays.note_ended(pattern));
    }

    /// Begins an expansion: the session in `slot` receives messages by new patterns from now on, when the inbox has had
    /// `pushed` items. `searches` says whether the topics that match may have something to replay. Returns `false` if
    /// there is nothing to search or to wait for.
    pub fn expand(&mut self, slot: u32, mut expansion: Expansion, searches: bool, pushed: u64, processed: u64) -> bool {
        expansion.begin(pushed, searches);
        let begins = expansion.searches() || pushed > processed;
        if begins {
            self.replays.entry(slot).or_default().expand(Box::new(expansion));
        }
        begins
    }

    /// Whether the search for topics of the session in `slot` is under way.
    pub fn is_expanding(&mut self, slot: u32) -> bool {
        self.replays.get_mut(&slot).is_some_and(|replays| replays.expansion().is_some())
    }

    /// Takes `topic` out of the expansion of the session in `slot`, because the topic begins by name.
    pub fn exclude(&mut self, slot: u32, topic: &TopicName) {
        if let Some(expansion) = self.replays.get_mut(&slot).and_then(Replays::expansion) {
            expansion.exclude(topic);
        }
    }

    /// Continues the search for topics that the patterns of the session in `slot` match. `covers` says whether a
    /// subscription of the session matches a topic. Returns `None` if no search can continue now.
    pub fn run_expansion_slice(
        &mut self,
        slot: u32,
        hub: &Hub,
        processed: u64,
        pushed: impl FnOnce() -> u64,
        covers: impl Fn(&TopicName) -> bool,
    ) -> Option<Expanded> {
        let replays = self.replays.get_mut(&slot)?;
        let expansion = replays.runnable_expansion()?;
        let mut work = 0;
        let expanded = expansion.run_slice(hub, processed, pushed, covers, &mut work);
        let Some(mut expanded) = expanded else {
            self.revisits.push((replays.wait_to_expand(), slot));
            return Some(Expanded { work, ..Expanded::default() });
        };
        expanded.work = work;
        expanded.cursors.drain(..).for_each(|(topic, next)| replays.add(topic, next));
        if expanded.ended {
            replays.end_expansion();
            self.revisits.push((processed, slot));
        }
        Some(expanded)
    }

    /// Withholds live messages of `topic` at or below `position` from the session in `slot`, until the shard has
    /// processed `until_processed` items.
    pub fn set_watermark(&mut self, slot: u32, topic: TopicName, position: Position, until_processed: u64) {
        self.replays.entry(slot).or_default().set_watermark(topic, position, until_processed);
        if self.revisits.last() != Some(&(until_processed, slot)) {
            self.revisits.push((until_processed, slot));
        }
    }

    /// Queues the session in `slot`, whose outbox is empty, for its next share of history.
    pub fn queue_for_history(&mut self, slot: u32) {
        if self.replays.get_mut(&slot).is_some_and(Replays::enqueue) {
            self.queue.push_back(slot);
        }
    }

    /// Whether a session wants a share of history.
    pub fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Takes the slots of the sessions that want a share of history, longest waiting first. Those that get no share
    /// have to be put back.
    pub fn take_queue(&mut self) -> VecDeque<u32> {
        let mut queue = std::mem::take(&mut self.queue);
        queue.retain(|slot| self.replays.get(slot).is_some_and(Replays::is_queued));
        queue
    }

    /// Puts back sessions that got no share, before those queued since.
    pub fn requeue(&mut self, mut queue: VecDeque<u32>) {
        queue.append(&mut self.queue);
        self.queue = queue;
    }

    /// Notes that the session in `slot` has got its share.
    pub fn dequeue(&mut self, slot: u32) {
        if let Some(replays) = self.replays.get_mut(&slot) {
            replays.dequeue();
        }
    }

    /// Reads the next piece of history for the session in `slot`. Returns the topic's name and the piece. `pushed` is
    /// called once a topic has caught up; it returns the number of items that the inbox has had by then.
    pub fn pull(&mut self, slot: u32, now: Moment, pushed: impl FnOnce() -> u64) -> Option<(TopicName, ReplayPiece)> {
        let (topic, piece, reached) = self.replays.get_mut(&slot)?.pull(now)?;
        if let Some(position) = reached {
            self.set_watermark(slot, topic.clone(), position, pushed());
        }
        Some((topic, piece))
    }

    /// Notes that subscriptions of the session in `slot` have ended. No history is read for the session until
    /// [`CatchUp::prune`] has examined all its topics.
    pub fn begin_pruning(&mut self, slot: u32) {
        self.replays.get_mut(&slot).into_iter().for_each(Replays::begin_pruning);
    }

    /// Examines at most `most` topics that the session in `slot` reads, and ends the replays of those for which
    /// `is_gone` holds. Returns how many were examined; fewer than `most` means that all were.
    pub fn prune(&mut self, slot: u32, most: usize, is_gone: impl Fn(&TopicName) -> bool) -> usize {
        self.replays.get_mut(&slot).map_or(0, |replays| replays.prune(most, is_gone))
    }

    /// The slots of sessions that read history, each with the bytes of its cursors.
    pub fn cursor_bytes(&self) -> impl Iterator<Item = (u32, usize)> {
        self.replays.iter().map(|(&slot, replays)| (slot, replays.bytes()))
    }

    /// Ends the replays of the session in `slot`. [`CatchUp::release_ended`] has to follow.
    pub fn forget(&mut self, slot: u32) {
        self.ended.extend(self.replays.remove(&slot));
    }

    /// Releases at most `most` topics of ended sessions. Returns the number of topics.
    pub fn release_ended(&mut self, most: usize) -> usize {
        let mut released = 0;
        while released < most
            && let Some(replays) = self.ended.front_mut()
        {
            let part = replays.release(most - released);
            released += part;
            if part == 0 {
                self.ended.pop_front();
            }
        }
        released
    }

    /// The number of topics that are left for [`CatchUp::release_ended`].
    pub fn ended(&self) -> usize {
        self.ended.iter().map(Replays::topics).sum()
    }

    /// Whether [`CatchUp::release_ended`] has something left.
    pub fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Forgets the watermarks that no message can come under any more, now that the shard has processed `processed`
    /// items. Expansions that waited for these items continue.
    pub fn forget_passed(&mut self, processed: u64) {
        let Self { revisits, replays, queue, .. } = self;
        revisits.retain(|&(until_processed, slot)| {
            let passed = until_processed <= processed;
            if passed && let Some(of_slot) = replays.get_mut(&slot) {
                if !of_slot.forget_passed(processed) {
                    replays.remove(&slot);
                } else if of_slot.enqueue() {
                    queue.push_back(slot);
                }
            }
            !passed
        });
    }

    /// The slots of the sessions that want a share of history.
    #[cfg(test)]
    pub fn queue(&self) -> Vec<u32> {
        self.queue.iter().copied().collect()
    }
}
