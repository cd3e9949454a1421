//! What has waited longer than its rule's `max_age` allows.

use std::time::Duration;

use foldhash::HashSet;

use super::end::End;
use super::queued::What;
use super::stable_queue::StableQueue;
use crate::clock::Moment;
use crate::config::OnSlow;
use crate::metrics::DropReason;

/// What a look through a queue found.
pub struct Aged {
    /// The places of what is too old, in order, and how it ends.
    pub ends: Vec<(i64, End)>,
    /// Until then nothing more is too old.
    pub until: Option<Moment>,
    /// A `conflate` topic's newest message is too old: it goes out, unless another comes.
    pub holds_newest: bool,
}

/// What is too old in `queue` at `now`, but for the frame at `pinned`, which has begun: conflated where a newer one of the same
/// subscription waits, else dropped.
pub fn look_for_aged(queue: &StableQueue, pinned: Option<i64>, now: Moment) -> Aged {
    let (mut aged, mut newer) = (Aged { ends: Vec::new(), until: None, holds_newest: false }, HashSet::default());
    for (place, queued) in queue.iter().rev() {
        let (message, leaving) = match &queued.what {
            What::Message(message) => (message, None),
            What::Left(message, leaving) => (message, Some(*leaving)),
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
pub fn earlier(next: Option<Moment>, moment: Moment, max_age: Duration) -> Option<Moment> {
    let at = moment + max_age;
    Some(next.map_or(at, |next| next.min(at)))
}
