//! The lifetime of a topic: its last use, its upkeep and its end.

use std::time::Duration;

use super::rank::{RankBy, late_rank_of, rank_of};
use crate::clock::Moment;

/// The state that decides when one life of a topic ends.
pub struct Lifetime {
    /// The last use. The moment is in the future for a restored topic, which is kept for its subscribers until then.
    used_at: Moment,
    /// Whether a feed publishes to the topic.
    is_fed: bool,
    /// Whether the topic's upkeep is scheduled.
    awaits_upkeep: bool,
    /// Whether the life is over, so that the topic's name has to be looked up again.
    is_over: bool,
}

/// The outcome of a topic's upkeep.
pub enum Upkeep {
    /// The next upkeep is due at this moment.
    DueAt(Moment),
    /// No upkeep is due before the next use of the topic.
    AfterNextUse,
    /// The topic is unused, and its life is to end.
    Dead,
}

impl Lifetime {
    /// A life that begins at `now`. Whoever makes the topic schedules its upkeep.
    pub fn new(now: Moment) -> Self {
        Self { used_at: now, is_fed: false, awaits_upkeep: true, is_over: false }
    }

    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The life is over from now on.
    pub fn end(&mut self) {
        self.is_over = true;
    }

    /// The topic is used at `moment`.
    pub fn use_at(&mut self, moment: Moment) {
        self.used_at = moment;
    }

    /// A feed publishes to the topic.
    pub fn feed(&mut self) {
        self.is_fed = true;
    }

    /// Whether the topic's upkeep is to be scheduled now. Upkeep is scheduled once until it is done.
    pub fn begins_to_await_upkeep(&mut self) -> bool {
        !std::mem::replace(&mut self.awaits_upkeep, true)
    }

    /// The rank of a topic with `named` subscribers by name. `newest_at`: the moment of its newest message, if any message is kept.
    pub fn rank(&self, by: RankBy, named: usize, newest_at: Option<Moment>) -> u64 {
        match by {
            _ if self.is_over => 0,
            RankBy::LastUse if named > 0 => 0,
            RankBy::LastUse if self.is_fed || newest_at.is_some() => late_rank_of(self.used_at),
            RankBy::LastUse => rank_of(self.used_at),
            RankBy::LastPublish => newest_at.map_or(0, rank_of),
        }
    }

    /// The outcome of the upkeep. The life continues until `kept_until`, when its oldest message expires; while sessions are subscribed by name;
    /// and for `grace` after the last use.
    pub fn upkeep(&mut self, kept_until: Option<Moment>, named: usize, grace: Duration, now: Moment) -> Upkeep {
        match kept_until {
            Some(until) => Upkeep::DueAt(until),
            None if named > 0 => {
                self.awaits_upkeep = false;
                Upkeep::AfterNextUse
            }
            None if now.since(self.used_at) < grace => Upkeep::DueAt(self.used_at + grace),
            None => Upkeep::Dead,
        }
    }
}
