//! What has waited longer than its rule's `max_age` allows.

use std::time::Duration;

use foldhash::HashSet;

use super::end::End;
use super::queued::{Routed, What};
use super::stable_queue::StableQueue;
use crate::clock::Moment;
use crate::config::OnSlow;
use crate::metrics::DropReason;

/// When the messages of one queue are too old.
#[derive(Default)]
pub struct Ages {
    /// Until then nothing is too old.
    next: Option<Moment>,
    /// A `conflate` topic's newest message waits that is too old: it goes out, unless another comes.
    holds_newest: bool,
}

/// What a look through a queue found.
struct Aged {
    /// The places of what is too old, in order, and how it ends.
    ends: Vec<(i64, End)>,
    /// Until then nothing more is too old.
    until: Option<Moment>,
    /// A `conflate` topic's newest message is too old: it goes out, unless another comes.
    holds_newest: bool,
}

impl Ages {
    /// A message was queued.
    pub fn note(&mut self, message: &Routed) {
        let Some(max_age) = message.rule.max_age else { return };
        let replaces_held = self.holds_newest && message.rule.on_slow == OnSlow::Conflate;
        self.next = if replaces_held { Some(Moment::default()) } else { earlier(self.next, message.moment, max_age) };
    }

    /// The places of what is too old in `queue` by `now`, in order, and how it ends; the frame at `pinned` has begun and is never too old.
    pub fn take_aged(&mut self, queue: &StableQueue, pinned: Option<i64>, now: Moment) -> Vec<(i64, End)> {
        if self.next.is_none_or(|at| now <= at) {
            return Vec::new();
        }
        let aged = look_for_aged(queue, pinned, now);
        (self.next, self.holds_newest) = (aged.until, aged.holds_newest);
        aged.ends
    }
}

/// What is too old in `queue` at `now`, but for the frame at `pinned`, which has begun: conflated where a newer one of the same
/// subscription waits, else dropped.
fn look_for_aged(queue: &StableQueue, pinned: Option<i64>, now: Moment) -> Aged {
    let (mut aged, mut newer) = (Aged { ends: Vec::new(), until: None, holds_newest: false }, HashSet::default());
    for (place, queued) in queue.iter().rev() {
        let (message, leaving) = match &queued.what {
            What::Message(message) => (message, None),
            What::Unsubscribed(message, leaving) => (message, Some(*leaving)),
            _ => continue,
        };
        let has_newer = !newer.insert((&message.topic, leaving));
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

/// The earlier of `next` and the moment that a message of `moment` is too old.
fn earlier(next: Option<Moment>, moment: Moment, max_age: Duration) -> Option<Moment> {
    let at = moment + max_age;
    Some(next.map_or(at, |next| next.min(at)))
}
