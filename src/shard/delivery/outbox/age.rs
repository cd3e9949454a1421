//! Messages that have waited longer than their rule's `max_age`.

use std::time::Duration;

use foldhash::HashSet;

use super::end::End;
use super::queued::{FrameKind, QueuedMessage};
use super::stable_queue::StableQueue;
use crate::clock::Moment;
use crate::config::OnSlow;
use crate::metrics::DropReason;

/// The ages of the messages in one queue.
#[derive(Default)]
pub struct Ages {
    /// The moment up to which no message is too old; `None`: no message can be.
    next: Option<Moment>,
    /// Whether the newest message of a `conflate` topic waits although it is too old. It goes out unless a newer one
    /// comes.
    holds_newest: bool,
}

/// The result of a pass over the queue.
struct Aged {
    /// The places of messages that are too old, in order, each with its end.
    ends: Vec<(i64, End)>,
    /// The moment up to which no other message is too old.
    until: Option<Moment>,
    /// Whether the newest message of a `conflate` topic is too old. It goes out unless a newer one comes.
    holds_newest: bool,
}

impl Ages {
    /// Notes a queued message.
    pub fn note(&mut self, message: &QueuedMessage) {
        let Some(max_age) = message.rule.max_age else { return };
        let replaces_held = self.holds_newest && message.rule.on_slow == OnSlow::Conflate;
        self.next = if replaces_held { Some(Moment::default()) } else { earlier(self.next, message.moment, max_age) };
    }

    /// The places of messages in `queue` that are too old by `now`, in order, each with its end. The partly written
    /// frame at `pinned` is never too old.
    pub fn take_aged(&mut self, queue: &StableQueue, pinned: Option<i64>, now: Moment) -> Vec<(i64, End)> {
        if self.next.is_none_or(|at| now <= at) {
            return Vec::new();
        }
        let aged = look_for_aged(queue, pinned, now);
        (self.next, self.holds_newest) = (aged.until, aged.holds_newest);
        aged.ends
    }
}

/// Finds the messages in `queue` that are too old at `now`, except the partly written frame at `pinned`. A `conflate`
/// message is conflated if a newer one of the same subscription waits; others are dropped.
fn look_for_aged(queue: &StableQueue, pinned: Option<i64>, now: Moment) -> Aged {
    let (mut aged, mut newer) = (Aged { ends: Vec::new(), until: None, holds_newest: false }, HashSet::default());
    for (place, queued) in queue.iter().rev() {
        let (message, unsubscribe) = match &queued.kind {
            FrameKind::Message(message) => (message, None),
            FrameKind::Unsubscribed(message, unsubscribe) => (message, Some(*unsubscribe)),
            _ => continue,
        };
        let has_newer = !newer.insert((&message.topic, unsubscribe));
        let Some(max_age) = message.rule.max_age.filter(|_| Some(place) != pinned) else { continue };
        match (now.since(message.moment) > max_age, message.rule.on_slow == OnSlow::Conflate) {
            (false, _) => aged.until = earlier(aged.until, message.moment, max_age),
            (true, false) => aged.ends.push((place, End::Dropped(DropReason::Age))),
            (true, true) if has_newer => aged.ends.push((place, End::Conflated)),
            (true, true) => aged.holds_newest = true,
        }
    }
    aged.ends.reverse();
    aged
}

/// The earlier of `next` and the moment at which a message published at `moment` is too old.
fn earlier(next: Option<Moment>, moment: Moment, max_age: Duration) -> Option<Moment> {
    let at = moment + max_age;
    Some(next.map_or(at, |next| next.min(at)))
}
